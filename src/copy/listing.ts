/**
 * The objects of both sides whose UUID begins with the same digits. They are in memory together, so the order of a
 * listing does not matter. Where there are too many for that, the digits get one more. A small store is listed by one
 * digit, which takes 22 listings in place of 484.
 */
import { prefixOf } from '../area/naming.ts'
import { type Item, itemOf, keyPrefix, type Side } from './side.ts'

/** Of each side. Twice so many objects are in memory in each shard that is under way, of some 300 bytes each. */
export const MOST_LISTED = 10_000
/** Of a UUID's first group. No more of them can be the same by chance. */
const MOST_DIGITS = 8
/** Several shards begin with the same digit, and follow each other. */
const MOST_KEPT = 3

export interface Listing {
  /** By key. */
  readonly items: ReadonlyMap<string, Item>
  /** How many keys no file of Orthanc's has, by the two characters with which their names begin. */
  readonly strangers: ReadonlyMap<string, number>
}

/** Of the source and of the target. */
export type Listings = readonly [Listing, Listing]

/** Undefined: there are more than `most`. */
export async function listingOf(
  side: Side,
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
export async function countIn(side: Side, digits: string, signal: AbortSignal): Promise<number> {
  let count = 0
  for await (const stat of side.store.list(keyPrefix(side.naming, digits), signal))
    if (itemOf(side, stat)?.uuid.startsWith(digits)) count++
  return count
}

/** Both have ended when it settles. */
export async function listingsOf(
  sides: readonly [Side, Side],
  digits: string,
  most: number,
  signal: AbortSignal,
): Promise<Listings | undefined> {
  const both = sides.map(side => listingOf(side, digits, most, signal))
  for (const ended of await Promise.allSettled(both)) if (ended.status === 'rejected') throw ended.reason
  const [source, target] = await Promise.all(both)
  return source && target && [source, target]
}

/** The first listings of shards, by one digit where that is not too much. */
export class FirstListings {
  readonly #sides: readonly [Side, Side]
  readonly #most: number
  readonly #kept = new Map<string, Promise<Listings | undefined>>()

  constructor(sides: readonly [Side, Side], most: number) {
    this.#sides = sides
    this.#most = most
  }

  /** Undefined: there is too much below one digit. `digits`: two. */
  async of(digits: string, signal: AbortSignal): Promise<Listings | undefined> {
    const digit = digits.slice(0, 1)
    const known = this.#kept.get(digit) ?? listingsOf(this.#sides, digit, this.#most, signal)
    this.#kept.set(digit, known)
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > MOST_KEPT && oldest !== undefined) this.#kept.delete(oldest)
    const all = await known
    const part = ({ items, strangers }: Listing): Listing => ({
      items: new Map([...items].filter(([, { uuid }]) => uuid.startsWith(digits))),
      strangers,
    })
    return all && [part(all[0]), part(all[1])]
  }
}

export const strangersIn = ({ strangers }: Listing, digits: string): number => strangers.get(digits.slice(0, 2)) ?? 0

/** Ten digits, and six letters in both cases. */
export const DIGITS = [...'0123456789abcdefABCDEF']
