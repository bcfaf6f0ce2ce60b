/**
 * The objects of both sides whose UUID begins with the same digits. They are in memory together, so the order of a
 * listing does not matter. Where there are too many for that, the digits get one more.
 */
import { type Item, itemOf, keyPrefix, type Side } from './side.ts'

/** Of each side. 16 shards at once have twice so many objects in memory, of some 300 bytes each. */
export const MOST_LISTED = 10_000
/** Of a UUID's first group. No more of them can be the same by chance. */
const MOST_DIGITS = 8

export interface Listing {
  /** By key. */
  readonly items: ReadonlyMap<string, Item>
  /** Keys that no file of Orthanc's has. */
  readonly strangers: number
}

/** Undefined: there are more than `most`. */
export async function listingOf(
  side: Side,
  digits: string,
  most: number,
  signal: AbortSignal,
): Promise<Listing | undefined> {
  const items = new Map<string, Item>()
  let strangers = 0
  for await (const stat of side.store.list(keyPrefix(side.naming, digits), signal)) {
    const item = itemOf(side, stat)
    if (!item) strangers++
    else if (item.uuid.startsWith(digits)) items.set(item.key, item)
    if (items.size > most && digits.length < MOST_DIGITS) return undefined
  }
  return { items, strangers }
}

/** Ten digits, and six letters in both cases. */
export const NEXT_DIGITS = [...'0123456789abcdefABCDEF']
