/** Which keys of a store belong to a configuration and may be sealed (docs/contract.md). */
import type { Naming } from '../area/naming.ts'

const UUID = '[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}'
const FLAT = new RegExp(`^${UUID}\\.(?:dcm|json|dcm\\.head|unk)\\.enc$`)
const LEGACY = new RegExp(`^[0-9a-fA-F]{2}/[0-9a-fA-F]{2}/${UUID}$`)

export interface SealedNames {
  /** What to list. */
  readonly prefix: string
  /** Whatever else lies in the bucket is not ours to rewrite. */
  mayBeSealed(key: string): boolean
  /** Whether a plain object may have the same name. */
  readonly mayBePlain: boolean
  /**
   * How much of the store comes before this key, from 0 to 1. UUIDs are random and a listing comes in their order: so a
   * key's own digits tell, without counting the objects first.
   */
  shareBefore(key: string): number
}

export function sealedNames({ rootPath, structure }: Naming): SealedNames {
  const prefix = rootPath === '' ? '' : `${rootPath}/`
  const pattern = structure === 'legacy' ? LEGACY : FLAT
  const nameOf = (key: string) => (key.startsWith(prefix) ? key.slice(prefix.length) : '')
  return {
    prefix,
    mayBePlain: structure === 'legacy',
    mayBeSealed: key => pattern.test(nameOf(key)),
    shareBefore: key => {
      const digits = nameOf(key).replaceAll('/', '').slice(0, 4)
      return /^[0-9a-fA-F]{4}$/.test(digits) ? Number.parseInt(digits, 16) / 0x10000 : 0
    },
  }
}
