/** Takes shards of a run while there are any, and does them, several at a time. */
import { join } from 'node:path'
import { add, type BulkWork, isShard, type ShardTally, type Tally } from '../bulk/work.ts'
import { Fault } from '../fault.ts'
import type { Beats } from './beats.ts'
import type { Claim, Claims } from './claims.ts'
import { Held } from './held.ts'
import { type Status, titleOf } from './status.ts'

/** As on one machine: several keep the connections busy. */
const AT_ONCE = 16
/** While nothing is left to take: somebody may give a shard back, or die. */
const LOOK_MS = 500
/** While another process prints the report. */
const END_LOOK_MS = 250
/** With so many shards in a row that fail here, the fault is most probably that of this machine. */
const MOST_FAILED = 4

export interface TakingOptions {
  readonly work: BulkWork<ShardTally>
  readonly claims: Claims
  readonly beats: Beats
  /** For lines that are not in the database yet. */
  readonly folder: string
  onFailure(fault: Fault): void
  onNote(line: string): void
  /** The process is to leave before the end of the run. */
  onEnd(): void
}

export class Taking {
  readonly #options: TakingOptions
  readonly #held = new Map<Held, Promise<void>>()
  readonly #failed = new Set<number>()
  #tally: Tally = { failures: 0 }
  #shards = 0
  #files = 0
  /** As of the last shards that were taken, or of the last beat. */
  #waiting = 0
  #known: Status | undefined
  #ended: Fault | undefined
  #wake = () => {}

  constructor(options: TakingOptions) {
    this.#options = options
  }

  /** Why it has ended before the end of the run. */
  get ended(): Fault | undefined {
    return this.#ended
  }

  get held(): readonly Held[] {
    return [...this.#held.keys()]
  }

  /** What this process has done. */
  get done(): { readonly shards: number; readonly tally: Tally } {
    return { shards: this.#shards, tally: this.#tally }
  }

  /**
   * Resolves when the run is over and somebody has printed the report, or this process is to print it; and after end().
   * Nothing of it runs then. Never rejects: see `ended`.
   */
  async run(): Promise<void> {
    try {
      await this.#takeAll()
    } catch (error) {
      this.end(Fault.from(error))
    }
    await Promise.all(this.#held.values())
  }

  /** What it has is given back. */
  end(fault: Fault): void {
    this.#ended ??= fault
    this.#options.onEnd()
    for (const held of this.#held.keys()) held.end(fault)
    this.#wake()
  }

  async #takeAll(): Promise<void> {
    for (;;) {
      if (this.#ended) return
      if (this.#options.beats.status.state !== 'running') {
        if (await this.#isReported()) return
      } else if (this.#held.size < this.#most) {
        const { claims, waiting } = await this.#options.claims.take(this.#most - this.#held.size)
        this.#waiting = waiting
        for (const claim of claims) this.#hold(claim)
        if (claims.length > 0) continue
      }
      await this.#something()
      if (this.#held.size === 0 && !this.#ended) await this.#options.beats.look()
    }
  }

  /** Near the end a process takes fewer, so that all end at the same time. */
  get #most(): number {
    const { status, alive } = this.#options.beats
    if (status !== this.#known) this.#waiting = status.shards.waiting
    this.#known = status
    const share = Math.ceil(this.#waiting / (2 * Math.max(1, alive.length)))
    return Math.min(AT_ONCE, Math.max(1, share))
  }

  async #isReported(): Promise<boolean> {
    const { claims, beats } = this.#options
    const { reporter, reported } = beats.status
    if (reporter === claims.worker || reported) return true
    if (reporter === undefined || beats.alive.some(({ id }) => id === reporter)) return false
    const mine = await claims.takeReport(reporter)
    await beats.look()
    return mine
  }

  /** One of the shards is at its end, or it is time for a look. */
  async #something(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const pause = new Promise<void>(resolve => {
      timer = setTimeout(resolve, this.#options.beats.status.state === 'running' ? LOOK_MS : END_LOOK_MS)
      this.#wake = resolve
    })
    await Promise.race([pause, ...this.#held.values()])
    clearTimeout(timer)
  }

  #hold(claim: Claim): void {
    const { claims, folder, onFailure } = this.#options
    const held = new Held({ claims, claim, spool: join(folder, String(this.#files++)), onFailure })
    if (this.#ended) held.end(this.#ended) // it was on its way meanwhile
    const work = this.#work(held)
      .catch(error => this.end(Fault.from(error)))
      .finally(() => {
        held.close()
        this.#held.delete(held)
      })
    this.#held.set(held, work)
  }

  async #work(held: Held): Promise<void> {
    let tally: ShardTally
    try {
      tally = await held.do(this.#options.work)
    } catch (error) {
      return await this.#notDone(held, Fault.from(error))
    }
    if (!(await held.finish(tally))) return this.#sayLost(held)
    if (isShard(held.claim.shard)) this.#shards++
    this.#tally = add(this.#tally, tally)
    this.#failed.clear()
  }

  async #notDone(held: Held, fault: Fault): Promise<void> {
    await held.settle()
    if (held.broken) throw held.broken
    if (held.lost) return this.#sayLost(held)
    if (held.signal.aborted) return await this.#options.claims.giveBack(held.claim)
    const how = await this.#options.claims.fail(held.claim, fault)
    if (how === 'lost') return this.#sayLost(held)
    const what = how === 'again' ? 'failed and is tried again' : 'failed for good'
    this.#options.onNote(`${titleOf(held.claim.shard)} ${what}: ${fault.describe()}`)
    this.#failed.add(held.claim.shard)
    if (this.#failed.size < MOST_FAILED) return
    this.end(
      new Fault(fault.code, `${MOST_FAILED} shards failed here, one after the other`, {
        cause: fault,
        retryable: false,
        remedy: 'Remove the cause that the lines above name, then run the same command again.',
      }),
    )
  }

  #sayLost({ claim }: Held): void {
    this.#options.onNote(`${titleOf(claim.shard)} was taken from this process, which was silent for too long`)
  }
}
