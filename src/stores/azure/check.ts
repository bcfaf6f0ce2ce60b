import { Fault, isCode } from '../../fault.ts'
import { worthAskingAgain } from '../check.ts'
import { isPlaceMissing, probeObject } from '../http/check.ts'
import type { DialectCheck, Draft } from '../http/dialect.ts'

export interface AzureCheckOptions {
  readonly container: string
  readonly containerPath: string
  readonly createContainer: boolean
}

/** A missing container is created only when Orthanc starts: one that was deleted later may be restored soon. */
export function azureCheck(
  key: string,
  { container, containerPath, createContainer }: AzureCheckOptions,
): DialectCheck {
  const probe = probeObject(key)
  const create: Draft = { method: 'PUT', path: containerPath, query: [['restype', 'container']] }

  return async (dialect, ask, options) => {
    const missing = await probe(dialect, ask, options).then(
      () => undefined,
      error => {
        const mayBeMade = createContainer && options.writes && options.purpose !== 'status'
        if (!mayBeMade || !isPlaceMissing(error)) throw error
        return Fault.from(error)
      },
    )
    if (!missing) return
    if (options.purpose === 'look')
      return options.warn(`there is no container '${container}' yet: Orthanc creates it when it starts`)
    const made = await ask('create the container', create)
    // Somebody may be about to create it, as with a bucket of S3.
    if (isCode(made, 'Denied'))
      throw worthAskingAgain(missing.with({}, `${missing.message}, and it may not be created: ${made.message}`))
    if (made instanceof Fault && !made.message.startsWith('ContainerAlreadyExists')) throw made // another was faster
    await probe(dialect, ask, options)
    if (!(made instanceof Fault))
      options.warn(`the container '${container}' was missing and was created: make sure in Azure that it is private`)
  }
}
