/** Which keys of a store belong to a configuration and may be sealed (docs/contract.md). */
import { keyFromTrash, type Naming, parseKey, prefixOf, trashKeyOf } from '../area/naming.ts'
import { prefixesOf } from '../bulk/shards.ts'

export interface SealedNames {
  /** Of all of them. */
  readonly prefix: string
  /**
   * What to list for a shard. The trash comes last: what is put aside meanwhile was seen under its old name, or is seen
   * there.
   */
  prefixes(shard: number): readonly string[]
  /** Other objects in the bucket are not ours, and are never rewritten. */
  mayBeSealed(key: string): boolean
  /** Whether a plain object may have the same name. */
  readonly mayBePlain: boolean
}

export function sealedNames(naming: Naming): SealedNames {
  const mayBePlain = naming.structure === 'legacy'
  return {
    prefix: prefixOf(naming),
    prefixes: shard => {
      const own = prefixesOf(naming, shard)
      return [...own, ...own.map(prefix => trashKeyOf(naming, prefix))]
    },
    mayBePlain,
    // What is in the trash may be needed again, so its key must stay readable, too.
    mayBeSealed: key => {
      const found = parseKey(naming, keyFromTrash(naming, key) ?? key)
      return found !== undefined && (found.sealed ?? mayBePlain)
    },
  }
}
