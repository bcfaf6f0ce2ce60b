/**
 * All objects of one configuration to another, a shard at a time. Each window of a shard is listed on both sides, what
 * the target does not have is copied, and both sides are listed again: what the second listing shows is the proof.
 * What is at the target is never overwritten, and nothing is removed (extra.ts does that).
 */
import { prefixOf } from '../area/naming.ts'
import { Crew } from '../bulk/crew.ts'
import { Listings } from '../bulk/listings.ts'
import { prefixesOf } from '../bulk/shards.ts'
import { add, type BulkWork, type Json, type Shard, type Tally } from '../bulk/work.ts'
import { Comparison, type ComparisonOptions } from './compare.ts'
import { countIn, type Lists } from './listing.ts'
import type { Side } from './side.ts'
import { type CopyTally, newTally } from './tally.ts'
import type { Transfer } from './transfer.ts'
import type { TypeOf } from './types.ts'
import { Window, type WindowOptions } from './window.ts'

export interface CopyOptions extends WindowOptions, ComparisonOptions {
  readonly transfer: Transfer
  /** Objects in work at once. */
  readonly concurrency: number
  /** See BulkWork. */
  readonly identity: Readonly<Record<string, Json>>
  /** Of the files of a shard; asked only where the plan needs types. */
  typesOf(shard: number): TypeOf
}

const ANY_NAMING = { rootPath: '', structure: 'flat', legacyUnknownFiles: false } as const

export class Copy implements BulkWork<CopyTally> {
  readonly name: string
  readonly identity: Readonly<Record<string, Json>>
  readonly #options: CopyOptions
  readonly #crew: Crew
  readonly #comparison: Comparison
  /** Both sides as shards list them first. */
  readonly #first: readonly [Lists, Lists]
  readonly #active = new Set<Tally>()

  constructor(options: CopyOptions) {
    this.#options = options
    this.name = options.dryRun ? 'copy --dry-run' : 'copy'
    this.identity = options.identity
    this.#crew = new Crew(options.concurrency, () => {})
    this.#comparison = new Comparison(options)
    const first = ({ naming, envelopes, store }: Side) => {
      return { naming, envelopes, store: new Listings(store, prefixOf(naming), options.mostListed) }
    }
    this.#first = [first(options.from), first(options.to)]
  }

  /** By a listing of both sides: a target that lost objects since then is not equal. */
  async holds(shard: number, { source, target }: CopyTally, signal: AbortSignal): Promise<boolean> {
    const [from, to] = this.#first
    let [ofSource, ofTarget] = [0, 0]
    for (const digits of prefixesOf(ANY_NAMING, shard)) {
      ofSource += await countIn(from, digits, signal)
      ofTarget += await countIn(to, digits, signal)
    }
    return ofSource === source.objects && ofTarget === target.objects
  }

  get underWay(): Tally {
    return [...this.#active].reduce(add, {})
  }

  async shard(shard: Shard, signal: AbortSignal): Promise<CopyTally> {
    const { plan, typesOf } = this.#options
    const tally = newTally()
    this.#active.add(tally)
    try {
      const typeOf: TypeOf = plan.needsTypes ? typesOf(shard.number) : () => undefined
      const within = { crew: this.#crew, comparison: this.#comparison, shard, tally, typeOf, first: this.#first }
      const windows = prefixesOf(ANY_NAMING, shard.number).map(digits =>
        new Window(this.#options, within).run(digits, signal),
      )
      // All have ended before the shard ends.
      for (const ended of await Promise.allSettled(windows)) if (ended.status === 'rejected') throw ended.reason
      return tally
    } finally {
      this.#active.delete(tally)
    }
  }
}
