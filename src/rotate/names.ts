/** Which keys of a store belong to a configuration and may be sealed (docs/contract.md). */
import { keyFromTrash, type Naming, parseKey, prefixOf, trashPrefixOf } from '../area/naming.ts'
import { prefixesOf } from '../bulk/shards.ts'

export interface SealedNames {
  /** Of all of them. */
  readonly prefix: string
  /** What to list for a shard. */
  prefixes(shard: number): readonly string[]
  /** Of what was put aside. */
  readonly trash: string
  /** Other objects in the bucket are not ours, and are never rewritten. */
  mayBeSealed(key: string): boolean
  /** Whether a plain object may have the same name. */
  readonly mayBePlain: boolean
}

export function sealedNames(naming: Naming): SealedNames {
  const mayBePlain = naming.structure === 'legacy'
  return {
    prefix: prefixOf(naming),
    prefixes: shard => prefixesOf(naming, shard),
    trash: trashPrefixOf(naming),
    mayBePlain,
    // What is in the trash may be needed again, so its key must stay readable, too.
    mayBeSealed: key => {
      const found = parseKey(naming, keyFromTrash(naming, key) ?? key)
      return found !== undefined && (found.sealed ?? mayBePlain)
    },
  }
}
