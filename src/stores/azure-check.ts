import { Fault } from '../fault.ts'
import { type Check, notTheStore, probing } from './check.ts'
import type { Dialect, Draft } from './dialect.ts'

export interface AzureCheckOptions {
  readonly container: string
  readonly containerPath: string
  readonly createContainer: boolean
}

/** Only Orthanc's start makes a missing container: one that was deleted since may be about to be restored under its name. */
export function azureCheck(
  { name, get, put, remove }: Pick<Dialect, 'name' | 'get' | 'put' | 'remove'>,
  key: string,
  { container, containerPath, createContainer }: AzureCheckOptions,
): Check {
  const probe = probing({
    name,
    key,
    read: get(key, undefined),
    put,
    remove: remove(key),
    removeNothing: remove(key),
    isAbsence: ({ code }) => code === 'NotFound',
    isReceipt: ({ headers }) => typeof headers['etag'] === 'string',
    isPlaceMissing: fault => isAbout(fault, 'ContainerNotFound'),
  })
  const create: Draft = { method: 'PUT', path: containerPath, query: [['restype', 'container']] }

  return async (ask, options) => {
    try {
      return await probe(ask, options)
    } catch (error) {
      const mayBeMade = createContainer && options.writes && options.purpose !== 'status'
      if (!mayBeMade || !isAbout(error, 'ContainerNotFound')) throw error
    }
    if (options.purpose === 'look')
      return options.warn(`there is no container '${container}' yet: Orthanc makes it when it starts`)
    const made = await ask('create the container', create)
    if (!(made instanceof Fault)) {
      if (made.headers['etag'] === undefined) throw notTheStore('to the making of a container')
      options.warn(`the container '${container}' was missing and is now made: check in Azure that it is private`)
    } else if (!isAbout(made, 'ContainerAlreadyExists')) throw made // else another Orthanc was faster
    await probe(ask, options)
  }
}

function isAbout(error: unknown, code: string): boolean {
  return error instanceof Fault && error.message.startsWith(code)
}
