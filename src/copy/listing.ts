/**
 * The objects of both sides whose UUID begins with the same digits. They are in memory together, so the order of a
 * listing does not matter. Where there are too many for that, the digits get one more.
 */
import { prefixOf } from '../area/naming.ts'
import type { Store } from '../stores/store.ts'
import { type Item, itemOf, keyPrefix, type Side } from './side.ts'

/** Of each side. Twice so many objects are in memory in each shard that is under way, of some 300 bytes each. */
export const MOST_LISTED = 10_000
/** Of a UUID's first group. No more of them can be the same by chance. */
const MOST_DIGITS = 8

export interface Listing {
  /** By key. */
  readonly items: ReadonlyMap<string, Item>
  /** How many keys no file of Orthanc's has, by the two characters with which their names begin. */
  readonly strangers: ReadonlyMap<string, number>
}

/** Of the source and of the target. */
export type Listings = readonly [Listing, Listing]

/** A side that is only listed. */
export type Lists = Pick<Side, 'naming' | 'envelopes'> & { readonly store: Pick<Store, 'list'> }

/** Undefined: there are more than `most`. */
export async function listingOf(
  side: Lists,
  digits: string,
  most: number,
  signal: AbortSignal,
): Promise<Listing | undefined> {
  const items = new Map<string, Item>()
  const strangers = new Map<string, number>()
  const root = prefixOf(side.naming)
  let listed = 0
  for await (const stat of side.store.list(keyPrefix(side.naming, digits), signal)) {
    const item = itemOf(side, stat)
    const start = stat.key.slice(root.length, root.length + 2)
    if (!item) strangers.set(start, (strangers.get(start) ?? 0) + 1)
    else if (item.uuid.startsWith(digits)) items.set(item.key, item)
    // More digits do not always leave strangers out.
    listed = digits.length < 2 ? listed + 1 : items.size
    if (listed > most && digits.length < MOST_DIGITS) return undefined
  }
  return { items, strangers }
}

/** How many objects of Orthanc's there are, without holding them. */
export async function countIn(side: Lists, digits: string, signal: AbortSignal): Promise<number> {
  let count = 0
  for await (const stat of side.store.list(keyPrefix(side.naming, digits), signal))
    if (itemOf(side, stat)?.uuid.startsWith(digits)) count++
  return count
}

/** Both have ended when it settles. */
export async function listingsOf(
  sides: readonly [Lists, Lists],
  digits: string,
  most: number,
  signal: AbortSignal,
): Promise<Listings | undefined> {
  const both = sides.map(side => listingOf(side, digits, most, signal))
  for (const ended of await Promise.allSettled(both)) if (ended.status === 'rejected') throw ended.reason
  const [source, target] = await Promise.all(both)
  return source && target && [source, target]
}

export const strangersIn = ({ strangers }: Listing, digits: string): number => strangers.get(digits.slice(0, 2)) ?? 0

/** Ten digits, and six letters in both cases. */
export const DIGITS = [...'0123456789abcdefABCDEF']
