/**
 * The listings of all shards of a place. A large store is listed by two digits, which takes 484 listings. A smaller one
 * is listed once, or by one digit, and then shards find their objects in memory.
 *
 * So a shard may work with a listing that was made when the first shard began.
 */
import { type Naming, prefixOf } from '../area/naming.ts'
import { Fault, isCode } from '../fault.ts'
import type { Stat, Store } from '../stores/store.ts'

/** Objects of one listing that are in memory, of some 300 bytes each. */
const MOST_LISTED = 10_000
/** Of those by one digit: shards that follow each other begin with the same one, in small letters or capitals. */
const MOST_KEPT = 4

/** Undefined: there is more than `MOST_LISTED`. */
type Listing = readonly Stat[] | undefined

export type Listed<T> = T & { readonly listings: Listings }

/** A place with the listings of its shards. */
export function withListings<T extends { readonly store: Pick<Store, 'list'>; readonly naming: Naming }>(
  place: T,
): Listed<T> {
  return { ...place, listings: new Listings(place.store, prefixOf(place.naming)) }
}

export class Listings {
  readonly #store: Pick<Store, 'list'>
  readonly #root: string
  readonly #most: number
  #whole: Promise<Listing> | undefined
  readonly #byDigit = new Map<string, Promise<Listing>>()

  /** `root`: with what all keys of the shards begin. `most`: 0 = each shard is listed for itself. */
  constructor(store: Pick<Store, 'list'>, root: string, most = MOST_LISTED) {
    this.#store = store
    this.#root = root
    this.#most = most
  }

  /** As Store.list(). `prefix`: the root, and two digits. */
  async *list(prefix: string, signal: AbortSignal): AsyncIterable<Stat> {
    const digit = prefix.slice(0, this.#root.length + 1)
    const known = this.#most > 0 ? ((await this.#ofAll(signal)) ?? (await this.#ofDigit(digit, signal))) : undefined
    if (!known) return yield* this.#store.list(prefix, signal)
    for (const stat of known) {
      if (signal.aborted) throw Fault.ofAbort(signal)
      if (stat.key.startsWith(prefix)) yield stat
    }
  }

  async #ofAll(signal: AbortSignal): Promise<Listing> {
    this.#whole ??= this.#read(this.#root, signal)
    return await this.#settled(this.#whole, () => (this.#whole = undefined), signal)
  }

  async #ofDigit(prefix: string, signal: AbortSignal): Promise<Listing> {
    const listing = this.#byDigit.get(prefix) ?? this.#read(prefix, signal)
    this.#byDigit.set(prefix, listing)
    const [oldest] = this.#byDigit.keys()
    if (this.#byDigit.size > MOST_KEPT && oldest !== undefined) this.#byDigit.delete(oldest)
    return await this.#settled(listing, () => this.#byDigit.delete(prefix), signal)
  }

  /** The shard that began the listing may have been canceled: that says nothing to this one. */
  async #settled(listing: Promise<Listing>, forget: () => void, signal: AbortSignal): Promise<Listing> {
    try {
      return await listing
    } catch (error) {
      forget()
      if (signal.aborted || !isCode(error, 'Canceled')) throw error
      return undefined
    }
  }

  async #read(prefix: string, signal: AbortSignal): Promise<Listing> {
    const found: Stat[] = []
    for await (const stat of this.#store.list(prefix, signal)) if (found.push(stat) > this.#most) return undefined
    return found
  }
}
