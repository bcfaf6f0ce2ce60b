/** A shard while this process has it: its lines and what it remembers are on their way to the database. */
import { setTimeout as sleep } from 'node:timers/promises'
import { AFTER, BEFORE, type BulkWork, type Shard, type ShardTally } from '../bulk/work.ts'
import { Fault } from '../fault.ts'
import type { Claim, Claims, Part } from './claims.ts'
import { Spool } from './spool.ts'

/** Between two parts of one shard. */
const PAUSE_MS = 2_000
/** Of objects that failed, for the whole report. */
const MOST_FAILURES = 20

export interface HeldOptions {
  readonly claims: Claims
  readonly claim: Claim
  /** A file for its lines, which does not exist yet. */
  readonly spool: string
  onFailure(fault: Fault): void
}

export class Held {
  readonly claim: Claim
  readonly #claims: Claims
  readonly #spool: Spool
  readonly #onFailure: (fault: Fault) => void
  readonly #abort = new AbortController()
  readonly #ending = new AbortController()
  readonly #failures: string[] = []
  #next: { readonly value: string; readonly end: number } | undefined
  #writing: Promise<void> | undefined
  #written = 0
  #parts = 0
  #lost = false
  #broken: Fault | undefined

  constructor({ claims, claim, spool, onFailure }: HeldOptions) {
    this.claim = claim
    this.#claims = claims
    this.#spool = new Spool(spool)
    this.#onFailure = onFailure
  }

  /** Another process has it, or may take it. */
  get lost(): boolean {
    return this.#lost
  }

  /** The database was away for too long. */
  get broken(): Fault | undefined {
    return this.#broken
  }

  /** Aborted when the work is to end here. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** Rejects as the work does. */
  async do(work: BulkWork<ShardTally>): Promise<ShardTally> {
    const { shard } = this.claim
    if (shard === BEFORE && work.before) return await work.before({ give: parts => this.#give(parts) }, this.signal)
    if (shard !== AFTER || !work.after) return await work.shard(this.shard, this.signal)
    const { line, failed } = this.shard
    const tally = async () => (await this.#claims.status()).tally
    return await work.after({ line, failed, tally, lines: () => this.#claims.lines() }, this.signal)
  }

  get shard(): Shard {
    return {
      number: this.claim.shard,
      remembered: this.claim.remembered,
      line: line => this.#spool.append(JSON.stringify(line)),
      remember: value => {
        this.#next = { value: JSON.stringify(value), end: this.#spool.end }
        this.#writing ??= this.#writeAll()
      },
      failed: fault => {
        if (this.#failures.length < MOST_FAILURES) this.#failures.push(fault.describe())
        this.#onFailure(fault)
      },
      given: () => this.#claims.given(this.claim.shard),
    }
  }

  end(reason: Fault): void {
    this.#abort.abort(reason)
  }

  lose(): void {
    this.#lost = true
    this.end(new Fault('Canceled', 'another process takes this shard'))
  }

  /** What was last remembered is in the database afterwards, unless it cannot be. Never rejects. */
  async settle(): Promise<void> {
    this.#ending.abort()
    await this.#writing
  }

  /** False: its result does not count, because the shard was lost. */
  async finish(tally: ShardTally): Promise<boolean> {
    await this.settle()
    if (this.#broken) throw this.#broken
    if (this.#lost) return false
    return await this.#claims.finish(this.claim, tally, this.#failures, this.#part(this.#spool.end))
  }

  /** To be called when nothing of it runs any more. */
  close(): void {
    this.#spool.remove()
  }

  async #give(parts: ReadonlyMap<number, Uint8Array>): Promise<void> {
    if (!(await this.#claims.give(this.claim, parts))) this.lose()
    if (this.signal.aborted) throw Fault.ofAbort(this.signal)
  }

  async #writeAll(): Promise<void> {
    try {
      for (let next = this.#next; next && !this.#lost; next = this.#next) {
        this.#next = undefined
        const kept = await this.#claims.remember(this.claim, next.value, this.#part(next.end))
        if (!kept) return this.lose()
        this.#written = next.end
        this.#parts++
        await sleep(PAUSE_MS, undefined, { signal: this.#ending.signal }).catch(() => {})
      }
    } catch (error) {
      this.#broken = Fault.from(error)
      this.end(this.#broken)
    } finally {
      this.#writing = undefined
    }
  }

  #part(end: number): Part {
    const start = this.#written
    return { number: this.#parts + 1, lines: () => this.#spool.between(start, end) }
  }
}
