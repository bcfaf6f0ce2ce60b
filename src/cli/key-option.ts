import { InvalidArgumentError } from 'commander'
import { loadMasterKey } from '../config/key-file.ts'
import { isKey } from '../config/values.ts'
import { errnoOf, Fault } from '../fault.ts'
import type { MasterKey } from '../seal/keyring.ts'
import { fileFault } from './file-fault.ts'
import { warn } from './terminal.ts'

/** A key's id, as the configuration takes it. */
export function keyId(text: string): number {
  const id = Number(text)
  if (!/^\d{1,10}$/.test(text) || id > 0xffff_ffff)
    throw new InvalidArgumentError('The id of a key is a number from 0 to 4294967295.')
  return id
}

export interface KeyOption {
  readonly id: number
  readonly path: string
}

/** `ID:FILE`: the key itself is never in a command, which every user of the machine can see. */
export function keyOption(text: string): KeyOption {
  const colon = text.indexOf(':')
  if (isKey(text.slice(colon + 1)))
    throw new InvalidArgumentError('It holds a key; it must be ID:FILE, with the path of the file that holds the key.')
  if (colon < 1 || colon === text.length - 1)
    throw new InvalidArgumentError("It must be ID:FILE, a key's number and its file, such as 1:/etc/orthanc/key1.")
  return { id: keyId(text.slice(0, colon)), path: text.slice(colon + 1) }
}

export function loadKey({ id, path }: KeyOption): MasterKey {
  try {
    return loadMasterKey({ id, path, option: '--master-key' }, warn)
  } catch (error) {
    const { code, message, cause } = Fault.from(error)
    if (!(cause instanceof Fault) && errnoOf(cause) !== '') {
      const fault = fileFault('read', path, cause)
      throw fault.with({}, `--master-key ${id}: ${fault.message}`)
    }
    throw new Fault(code, message, { cause: error }) // without the remedy, which is about Orthanc's start
  }
}
