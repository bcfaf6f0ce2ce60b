/**
 * Work over all objects of a store, in 256 pieces that any machine may do: the shards. A shard is all UUIDs with the
 * same first two hex digits. Keys begin with the UUID, so a shard is a few prefixes of a listing.
 */
import type { Fault } from '../fault.ts'

export const SHARDS = 256
/** The steps beside the shards have numbers, too: they are kept, taken and tried again as shards are. */
export const BEFORE = -1
export const AFTER = SHARDS

export const isShard = (number: number) => number >= 0 && number < SHARDS

/** Counts, and groups of counts. What two shards have counted is added name by name. */
export interface Tally {
  readonly [name: string]: number | Tally
}

/** The count of things of which nothing is known, or that were not done. A shard with some is not done. */
export interface ShardTally extends Tally {
  readonly failures: number
}

export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json }

/** One thing for the report: something that was found or done, of which people or programs want to know the key. */
export type Line = { readonly kind: string } & { readonly [name: string]: Json }

/** What the work on one shard gets. */
export interface Shard {
  /** From 0 to 255. */
  readonly number: number
  /** What was last given to remember(), in an earlier run that did not come to the end of this shard. */
  readonly remembered: Json | undefined
  /** What it needs to go on here, if it dies now. Lines that were written before are kept then, too. */
  remember(value: Json): void
  line(line: Line): void
  /** Something could not be done. The others go on. It is told at once; the work counts it in its tally. */
  failed(fault: Fault): void
  /** What `before` has given to this shard; once more in each attempt. */
  given(): AsyncIterable<Uint8Array>
}

/** What the step before all shards gets. */
export interface Before {
  /**
   * Puts parts aside for shards, by their numbers. Resolves when they are kept. What an attempt has given that did not
   * come to its end is dropped.
   */
  give(parts: ReadonlyMap<number, Uint8Array>): Promise<void>
}

/** What the step after all shards gets. */
export interface After extends Pick<Shard, 'line' | 'failed'> {
  /** What the shards have counted. */
  tally(): Promise<Tally>
  /** What the shards have written. */
  lines(): AsyncIterable<Line>
}

export interface BulkWork<T extends ShardTally> {
  /** The command, such as `copy`. */
  readonly name: string
  /**
   * What two runs must have in common to be parts of the same work: stores, and options that change what is done. It is
   * kept in files and databases: never a secret.
   */
  readonly identity: Readonly<Record<string, Json>>
  /**
   * What was remembered of a shard stays where the shard has failures, for the run that does it again. Otherwise such a
   * shard begins anew.
   */
  readonly keepsRemembered?: boolean
  /**
   * Several at a time. It may run again after its process died in the middle, also on another machine: then it must do
   * no harm, and count what is done already. Rejects when the rest of the shard cannot be done now.
   */
  shard(shard: Shard, signal: AbortSignal): Promise<T>
  /**
   * Of a shard that an earlier run has done: whether what it has counted is still so, as far as that is cheap to know.
   * Else it is done again. Without it, the earlier run is believed.
   */
  holds?(shard: number, tally: T, signal: AbortSignal): Promise<boolean>
  /** Done before all shards, by one process for all. It may run again, as a shard. */
  before?(step: Before, signal: AbortSignal): Promise<T>
  /** Done when all shards are at their end, by one process for all. It may run again, as a shard. */
  after?(step: After, signal: AbortSignal): Promise<T>
  /** What is done in this process in shards that are not at their end, for who shows how far it is. */
  readonly underWay: Tally
}

export function add(one: Tally, other: Tally): Tally {
  const sum: Record<string, number | Tally> = { ...one }
  for (const [name, value] of Object.entries(other)) {
    const before = sum[name]
    if (typeof value === 'number') sum[name] = (typeof before === 'number' ? before : 0) + value
    else sum[name] = add(typeof before === 'object' ? before : {}, value)
  }
  return sum
}
