/** One of the two sides of a copy: a store, the names of its objects, and how they are sealed. */
import type { ContentType } from '../area/area.ts'
import { type Naming, parseKey, prefixOf } from '../area/naming.ts'
import { collect } from '../bytes.ts'
import { Fault } from '../fault.ts'
import { keyIdOf, OVERHEAD_BYTES } from '../seal/a1.ts'
import { isDicom, PEEK_BYTES } from '../seal/detect.ts'
import type { Envelope } from '../seal/envelope.ts'
import type { Keyring } from '../seal/keyring.ts'
import type { Stat, Store } from '../stores/store.ts'

export interface Side {
  readonly store: Store
  readonly naming: Naming
  /** Those that Orthanc reads there, the one of new objects first. */
  readonly envelopes: readonly [Envelope, ...Envelope[]]
  readonly keys: Keyring
}

/** An object of Orthanc's, as it was listed. */
export interface Item extends Pick<Stat, 'key' | 'size' | 'md5'> {
  readonly uuid: string
  /** Undefined where the name does not say it. */
  readonly type: ContentType | undefined
  /** Undefined where only its bytes say it. */
  readonly sealed: boolean | undefined
  /** When it was listed, by the time of the store where it tells one. Milliseconds. */
  readonly ageMs: number
}

/** Undefined for a key that no file of Orthanc's has. */
export function itemOf(
  { naming, envelopes }: Pick<Side, 'naming' | 'envelopes'>,
  { key, size, md5, modified, asOf }: Stat,
): Item | undefined {
  const found = parseKey(naming, key)
  if (!found) return undefined
  const [first, other] = envelopes
  return {
    key,
    size,
    md5,
    uuid: found.uuid,
    type: found.type,
    ageMs: (asOf?.getTime() ?? Date.now()) - modified.getTime(),
    sealed: found.sealed ?? (other ? undefined : isSealing(first)),
  }
}

/** Objects in the `flat` structure may have a name that Orthanc does not look for with this configuration. */
export const isRead = ({ envelopes }: Side, { sealed }: Item): boolean =>
  sealed === undefined || envelopes.some(envelope => isSealing(envelope) === sealed)

export const isSealing = ({ suffix }: Envelope): boolean => suffix !== ''

/** The prefix of all keys whose UUID begins with these digits. */
export function keyPrefix(naming: Naming, digits: string): string {
  const root = prefixOf(naming)
  if (naming.structure === 'flat' || digits.length < 2) return `${root}${digits}`
  const [first, second] = [digits.slice(0, 2), digits.slice(2, 4)]
  if (digits.length < 4) return `${root}${first}/${second}`
  return `${root}${first}/${second}/${digits.length > 4 ? digits : ''}`
}

/** Whether an object is sealed. Asks for its first bytes where nothing else says it. */
export async function sealedIn(side: Side, item: Item, signal: AbortSignal): Promise<boolean> {
  const { key, size, sealed } = item
  if (sealed !== undefined) return sealed
  if (size < OVERHEAD_BYTES) return false
  const start = await collect(await side.store.get(key, { start: 0, end: Math.min(size, PEEK_BYTES) }, signal))
  const id = keyIdOf(start)
  if (id === undefined) return false
  if (side.keys.find(id)) return true
  if (isDicom(start)) return false
  // It is one of the few plain files that begin so, or nobody can open it.
  throw new Fault('BadConfig', `the object begins as one under master key ${id}, which is not configured`, {
    remedy: `Add key ${id} to StorageEncryption.PreviousMasterKeys.`,
  })
}

export function envelopeOf({ envelopes }: Side, sealed: boolean): Envelope {
  const found = envelopes.find(envelope => isSealing(envelope) === sealed)
  if (found) return found
  throw new Fault(
    'BadConfig',
    `the object is ${sealed ? 'encrypted' : 'not encrypted'}, and Orthanc does not read it`,
    {
      remedy: sealed
        ? 'Add its key to StorageEncryption.PreviousMasterKeys of this configuration.'
        : 'If it was stored before encryption was turned on, set StorageEncryption.AllowUnencryptedRead to true.',
    },
  )
}

/**
 * Where it happened. What does not open for want of a key is the fault of one object, while the store serves others.
 */
export function located(error: unknown, side: Side, key: string): Fault {
  const where = { verb: 'read', store: side.store.name, key }
  const fault = Fault.from(error)
  if (fault.code !== 'BadConfig' || fault.where.verb !== undefined) return fault.at(where)
  return new Fault('Corrupt', fault.message, { cause: error, remedy: fault.remedy, retryable: false, where })
}
