import { createSecretKey, type KeyObject } from 'node:crypto'
import { Fault } from '../fault.ts'

/** A master key (KEK) of `StorageEncryption`. `secret` is opaque: it shows in no log, no JSON and no inspection. */
export interface MasterKey {
  /** uint32, part of every object sealed under it. */
  readonly id: number
  readonly secret: KeyObject
}

/** The master keys that an object may be sealed under, and the one that new objects are sealed under. */
export interface Keyring {
  /** undefined = nothing new is sealed; what there is can be read. */
  readonly current: MasterKey | undefined
  readonly ids: readonly number[]
  find(id: number): MasterKey | undefined
}

export const KEY_BYTES = 32

/** `text`: 32 bytes in base64, white space anywhere, as `openssl rand -base64 32` writes them. */
export function masterKey(id: number, text: string): MasterKey {
  const base64 = text.replace(/\s/g, '')
  const bytes = Buffer.from(base64, 'base64')
  try {
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64) || bytes.byteLength !== KEY_BYTES)
      throw new Fault('BadConfig', `the key is not ${KEY_BYTES} bytes in base64`, {
        remedy: 'Make one with: orthanc-cloud-storage keygen --out FILE',
      })
    return { id, secret: createSecretKey(bytes) }
  } finally {
    bytes.fill(0)
  }
}

/** The key that an object says it is sealed under; `BadConfig` when it is not configured. */
export function requireKey(keys: Keyring, id: number): MasterKey {
  const key = keys.find(id)
  if (key) return key
  throw new Fault('BadConfig', `the object is encrypted under master key ${id}, which is not configured`, {
    remedy: `Add key ${id} to StorageEncryption.PreviousMasterKeys.`,
  })
}

/** `BadConfig` when two keys have the same id: an object would not say which of them it needs. */
export function keyring(current: MasterKey | undefined, previous: readonly MasterKey[]): Keyring {
  const keys = new Map<number, MasterKey>()
  for (const key of current ? [current, ...previous] : previous) {
    if (keys.has(key.id)) throw new Fault('BadConfig', `two master keys have the id ${key.id}`)
    keys.set(key.id, key)
  }
  return { current, ids: [...keys.keys()], find: id => keys.get(id) }
}
