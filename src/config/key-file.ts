import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { Fault, messageWithoutPath } from '../fault.ts'
import { type Keyring, keyring, type MasterKey, masterKey } from '../seal/keyring.ts'
import type { EncryptionConfig, KeyFile } from './encryption.ts'

/** A key file has 45 bytes. Whatever is much larger is something else, such as a device that never ends. */
const LARGEST_BYTES = 4096
const READABLE_BY_OTHERS = 0o077

/** Reads all master keys, or throws `BadConfig`: encryption that cannot work must not become plaintext. */
export function loadKeyring(config: EncryptionConfig, warn: (line: string) => void): Keyring {
  const { enabled, masterKey, previousMasterKeys } = config
  if (!enabled)
    return keyring(
      undefined,
      [masterKey, ...previousMasterKeys].flatMap(file => (file && loadIfThere(file, warn)) ?? []),
    )
  const previous = previousMasterKeys.map(file => loadMasterKey(file, warn))
  return keyring(masterKey && loadMasterKey(masterKey, warn), previous)
}

/** Encryption is off, so nothing can become plaintext because a key is missing. */
function loadIfThere(file: KeyFile, warn: (line: string) => void): MasterKey | undefined {
  try {
    return loadMasterKey(file, warn)
  } catch (error) {
    warn(`${Fault.from(error).message}. What was encrypted with this key cannot be read`)
    return undefined
  }
}

export function loadMasterKey({ id, path, option }: KeyFile, warn: (line: string) => void): MasterKey {
  const text = readKeyFile(path, option, warn)
  try {
    return masterKey(id, text.toString('latin1'))
  } catch (error) {
    const fault = Fault.from(error)
    throw new Fault('BadConfig', `${option} names ${path}: ${fault.message}`, { cause: error, remedy: fault.remedy })
  } finally {
    text.fill(0)
  }
}

function readKeyFile(path: string, option: string, warn: (line: string) => void): Buffer {
  let file: number | undefined
  try {
    file = openSync(path, 'r')
    const { mode } = fstatSync(file)
    if ((mode & READABLE_BY_OTHERS) !== 0)
      warn(`${option} names ${path}, which other users may read or change; protect it with: chmod 600 ${path}`)
    const bytes = Buffer.alloc(LARGEST_BYTES)
    return bytes.subarray(0, readSync(file, bytes))
  } catch (cause) {
    const said = messageWithoutPath(cause)
    throw new Fault('BadConfig', `${option} names ${path}, which cannot be read: ${said}`, {
      cause,
      remedy: 'The user that runs Orthanc must be allowed to read it. Orthanc does not start without its keys.',
    })
  } finally {
    if (file !== undefined) closeSync(file)
  }
}
