/** All shards of a work in this process. */
import { setMaxListeners } from 'node:events'
import pLimit from 'p-limit'
import { Fault } from '../fault.ts'
import type { State } from './state.ts'
import { AFTER, add, BEFORE, type BulkWork, isShard, type Line, SHARDS, type ShardTally, type Tally } from './work.ts'

/** A shard of a small store has few files: several of them keep the connections busy. */
const AT_ONCE = 16

export interface Progress {
  /** From 0 to 1. */
  readonly share: number
  /** Of this run and of those before it, as far as shards are at their end; and of what is under way. */
  readonly tally: Tally
}

export interface Outcome {
  readonly tally: Tally
  /** Whether every shard is at its end, without failures. */
  readonly complete: boolean
  /** All lines of the report. */
  lines(): Iterable<Line> | AsyncIterable<Line>
}

/** What this machine has in its own file. */
export interface OwnOutcome extends Outcome {
  lines(): Iterable<Line>
}

export interface AloneOptions {
  readonly work: BulkWork<ShardTally>
  readonly state: State
  onFailure(fault: Fault): void
}

export class Alone {
  readonly #options: AloneOptions
  /** Of the runs before this one. */
  readonly #before: ReadonlyMap<number, ShardTally>
  /** With the steps before and after all shards. */
  readonly #ended: Map<number, ShardTally>
  #isOver = false

  constructor(options: AloneOptions) {
    this.#options = options
    this.#before = options.state.done()
    this.#ended = new Map(this.#before)
  }

  get progress(): Progress {
    const { underWay } = this.#options.work
    return { share: [...this.#ended.keys()].filter(isShard).length / SHARDS, tally: add(this.#tally, underWay) }
  }

  get outcome(): OwnOutcome {
    const { state } = this.#options
    const complete = this.#isOver && this.#tally['failures'] === 0
    return { tally: this.progress.tally, complete, lines: () => state.lines() }
  }

  /** Rejects when a shard could not be done, or `signal` is aborted. All others have ended then. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      if (!this.#before.has(BEFORE)) await this.#first(signal)
      await this.#shards(signal)
      if (!this.#before.has(AFTER)) await this.#last(signal)
    } catch (error) {
      throw signal.aborted ? Fault.ofAbort(signal) : Fault.from(error)
    }
    this.#isOver = true
  }

  async #first(signal: AbortSignal): Promise<void> {
    const { work, state } = this.#options
    if (!work.before) return
    state.begin(BEFORE)
    const tally = await work.before({ give: async parts => state.give(parts) }, signal)
    state.finish(BEFORE, tally)
    this.#ended.set(BEFORE, tally)
  }

  async #last(signal: AbortSignal): Promise<void> {
    const { work, state, onFailure } = this.#options
    if (!work.after) return
    state.begin(AFTER)
    const tally = await work.after(
      {
        line: line => state.line(AFTER, line),
        failed: onFailure,
        tally: async () => this.#tally,
        async *lines() {
          yield* state.linesOfShards()
        },
      },
      signal,
    )
    this.#ended.set(AFTER, tally)
    // When shards have failed, they are done again, and this with them.
    state.finish(AFTER, this.#tally['failures'] === 0 ? tally : undefined)
  }

  async #shards(signal: AbortSignal): Promise<void> {
    const failed = new AbortController()
    const joined = AbortSignal.any([signal, failed.signal])
    setMaxListeners(0, joined)
    const shards = Array.from({ length: SHARDS }, (_, shard) => shard)
    const limit = pLimit(AT_ONCE)
    let first: unknown
    const all = shards.map(shard =>
      limit(async () => {
        try {
          if (!joined.aborted && !(await this.#isDone(shard, joined))) await this.#shard(shard, joined)
        } catch (error) {
          first ??= error
          failed.abort(new Fault('Canceled', 'another shard could not be done'))
        }
      }),
    )
    await Promise.all(all)
    if (signal.aborted) throw Fault.ofAbort(signal)
    if (first !== undefined) throw first
  }

  /** Of an earlier run. What it did may be undone: a disk that was exchanged, a bucket that was made anew. */
  async #isDone(shard: number, signal: AbortSignal): Promise<boolean> {
    const { work, state } = this.#options
    const tally = this.#before.get(shard)
    if (!tally) return false
    if (!work.holds || (await work.holds(shard, tally, signal))) return true
    state.finish(shard, undefined)
    this.#ended.delete(shard)
    return false
  }

  async #shard(number: number, signal: AbortSignal): Promise<void> {
    const { work, state, onFailure } = this.#options
    const remembered = state.begin(number)
    const tally = await work.shard(
      {
        number,
        remembered,
        remember: value => state.remember(number, value),
        line: line => state.line(number, line),
        failed: onFailure,
        async *given() {
          yield* state.given(number)
        },
      },
      signal,
    )
    state.finish(number, tally.failures === 0 ? tally : undefined, work.keepsRemembered)
    this.#ended.set(number, tally)
  }

  get #tally(): Tally {
    return [...this.#ended.values()].reduce<Tally>(add, { failures: 0 })
  }
}
