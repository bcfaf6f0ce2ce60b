/** What becomes of an object of one configuration in the other one. */
import type { ContentType } from '../area/area.ts'
import { keysOf, prefixOf } from '../area/naming.ts'
import { Fault } from '../fault.ts'
import type { Keyring } from '../seal/keyring.ts'
import { type Item, isSealing, type Side } from './side.ts'

export interface Plan {
  /** Objects keep their bytes: both sides seal with the same key, or not at all, and have the same structure. */
  readonly asStored: boolean
  /** Whether names at the target need a type that names at the source do not say. */
  readonly needsTypes: boolean
  /** Whether what is sealed at the source becomes plain. */
  readonly decrypts: boolean
  /** The key at the target. `type`: undefined only where it is not needed. */
  keyOf(item: Item, type: ContentType | undefined): string
  /** At the target. */
  sizeOf(item: Item, sealed: boolean): number
}

export function planOf(from: Side, to: Side): Plan {
  const asStored = from.naming.structure === to.naming.structure && keepsBytes(from, to)
  const [writing] = to.envelopes
  const sealing = from.envelopes.find(isSealing)
  const naming = { ...to.naming, legacyUnknownFiles: false }
  return {
    asStored,
    needsTypes: from.naming.structure === 'legacy' && to.naming.structure === 'flat',
    decrypts: !asStored && sealing !== undefined && !isSealing(writing),
    keyOf(item, type) {
      if (asStored) return `${prefixOf(to.naming)}${item.key.slice(prefixOf(from.naming).length)}`
      return keysOf(naming, writing.suffix, { uuid: item.uuid, type: type ?? 'unknown' })[0]
    },
    sizeOf(item, sealed) {
      if (asStored) return item.size
      return writing.sealedSize(sealed && sealing ? sealing.plainSize(item.size) : item.size)
    },
  }
}

function keepsBytes(from: Side, to: Side): boolean {
  const kinds = (side: Side) => side.envelopes.map(isSealing)
  if (kinds(from)[0] !== kinds(to)[0] || !kinds(from).every(kind => kinds(to).includes(kind))) return false
  return !kinds(from).includes(true) || (hasKeysOf(to.keys, from.keys) && from.keys.current?.id === to.keys.current?.id)
}

/** Two keys may have one number and different secrets. */
const hasKeysOf = (some: Keyring, others: Keyring) =>
  others.ids.every(id => {
    const [one, other] = [some.find(id), others.find(id)]
    return one && other && one.secret.equals(other.secret)
  })

/** Nothing becomes plain because an option was forgotten. */
export function refuseDecryption(plan: Plan, from: Side, to: Side): void {
  if (!plan.decrypts) return
  throw new Fault('BadRequest', `${from.store.name} is encrypted, and new objects in ${to.store.name} are not`, {
    remedy: 'Give the target a StorageEncryption, or say with --decrypt that its objects are to be stored in plain.',
  })
}
