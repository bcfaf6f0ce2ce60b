/** Which keys of a store belong to a configuration and may be sealed (docs/contract.md). */
import { keyFromTrash, type Naming, parseKey, prefixOf, trashPrefixOf } from '../area/naming.ts'

export interface SealedNames {
  /** What to list. */
  readonly prefix: string
  /** Other objects in the bucket are not ours, and are never rewritten. */
  mayBeSealed(key: string): boolean
  /** Whether a plain object may have the same name. */
  readonly mayBePlain: boolean
  /**
   * How much of the store comes before this key, from 0 to 1. UUIDs are random, and a listing comes in their order. So
   * the digits of a key show it, and the objects need not be counted first.
   */
  shareBefore(key: string): number
}

export function sealedNames(naming: Naming): SealedNames {
  const prefix = prefixOf(naming)
  const mayBePlain = naming.structure === 'legacy'
  return {
    prefix,
    mayBePlain,
    // What is in the trash may be needed again, so its key must stay readable, too.
    mayBeSealed: key => {
      const found = parseKey(naming, keyFromTrash(naming, key) ?? key)
      return found !== undefined && (found.sealed ?? mayBePlain)
    },
    shareBefore: key => {
      if (key.startsWith(trashPrefixOf(naming))) return 0xd0 / 0x100 // between the keys with "c" and those with "d"
      const name = key.startsWith(prefix) ? key.slice(prefix.length) : ''
      const digits = name.replaceAll('/', '').slice(0, 4)
      return /^[0-9a-fA-F]{4}$/.test(digits) ? Number.parseInt(digits, 16) / 0x10000 : 0
    },
  }
}
