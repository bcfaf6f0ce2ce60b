/**
 * All objects of one configuration to another, a shard at a time. Each window of a shard is listed on both sides, what
 * the target does not have is copied, and both sides are listed again: what the second listing shows is the proof.
 * What is at the target is never overwritten, and nothing is removed (extra.ts does that).
 */
import { Crew } from '../bulk/crew.ts'
import { prefixesOf } from '../bulk/shards.ts'
import { add, type BulkWork, type Json, type Shard, type Tally } from '../bulk/work.ts'
import { Comparison, type ComparisonOptions } from './compare.ts'
import { countIn, FirstListings, MOST_LISTED } from './listing.ts'
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
  readonly #first: FirstListings
  readonly #active = new Set<Tally>()

  constructor(options: CopyOptions) {
    this.#options = options
    this.name = options.dryRun ? 'copy --dry-run' : 'copy'
    this.identity = options.identity
    this.#crew = new Crew(options.concurrency, () => {})
    this.#comparison = new Comparison(options)
    this.#first = new FirstListings([options.from, options.to], options.mostListed ?? MOST_LISTED)
  }

  /** By a listing of both sides: a target that lost objects since then is not equal. */
  async holds(shard: number, { source, target }: CopyTally, signal: AbortSignal): Promise<boolean> {
    const { from, to } = this.#options
    let [ofSource, ofTarget] = [0, 0]
    for (const digits of prefixesOf(ANY_NAMING, shard)) {
      const listed = await this.#first.of(digits, signal)
      ofSource += listed ? listed[0].items.size : await countIn(from, digits, signal)
      ofTarget += listed ? listed[1].items.size : await countIn(to, digits, signal)
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
