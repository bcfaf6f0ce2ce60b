/** The shards of a work in this process and in all others that run the same command. */
import { randomUUID } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Outcome, Progress } from '../bulk/alone.ts'
import { add, type BulkWork, type ShardTally, type Tally } from '../bulk/work.ts'
import { Fault } from '../fault.ts'
import type { Settings } from '../orthanc-index/postgresql-session.ts'
import { Beats } from './beats.ts'
import { type Claim, Claims } from './claims.ts'
import { Database, type Patience } from './database.ts'
import { Held } from './held.ts'
import { Jobs } from './jobs.ts'
import { type Joined, Runs } from './runs.ts'
import { failuresOf, linesOf, type Status, shareOf, type Worker } from './status.ts'
import { ensureTables } from './tables.ts'

/** As on one machine: several keep the connections busy. */
const AT_ONCE = 16
/** While nothing is left to take: somebody may give a shard back, or die. */
const LOOK_MS = 500
/** While another process prints the report. */
const END_LOOK_MS = 250
/** With so many shards in a row that fail here, the fault is most probably that of this machine. */
const MOST_FAILED = 4

export interface ManyOptions {
  readonly work: BulkWork<ShardTally>
  readonly settings: Settings
  /** How long a process may be silent before others take its shards: 10 or more; 30. Of a run, its first process says it. */
  readonly heartbeatSeconds?: number
  /** For tests. */
  readonly patience?: Patience
  /** Pieces done, for the rate. */
  pieces(tally: Tally): number
  /** Of an object. */
  onFailure(fault: Fault): void
  /** What people should know of the run. */
  onNote(line: string): void
}

export interface SharedProgress extends Progress {
  /** Pieces a second, of all processes. */
  readonly rate: number
  readonly workers: number
}

export class Many {
  readonly joined: Joined
  readonly #options: ManyOptions
  readonly #database: Database
  readonly #jobs: Jobs
  readonly #claims: Claims
  readonly #beats: Beats
  readonly #folder = mkdtempSync(join(tmpdir(), 'orthanc-cloud-storage-'))
  readonly #held = new Map<Held, Promise<void>>()
  readonly #failed = new Set<number>()
  #own: Tally = { failures: 0 }
  #shards = 0
  #files = 0
  /** As of the last shard that was taken, or of the last beat. */
  #waiting = 0
  #known: Status | undefined
  #ended: Fault | undefined

  private constructor(
    options: ManyOptions,
    database: Database,
    jobs: Jobs,
    joined: Joined,
    claims: Claims,
    beats: Beats,
  ) {
    this.#options = options
    this.#database = database
    this.#jobs = jobs
    this.joined = joined
    this.#claims = claims
    this.#beats = beats
  }

  /** Finds or begins the run. */
  static async join(options: ManyOptions, signal: AbortSignal): Promise<Many> {
    const { heartbeatSeconds = 30, work } = options
    const database = await Database.open(options, signal)
    let jobs: Jobs | undefined
    try {
      await ensureTables(database)
      jobs = await Jobs.open(database)
      const runs = new Runs(database, jobs)
      const joined = await runs.join(work, heartbeatSeconds)
      if (joined.how === 'new') await runs.clean(joined.id)
      const claims = new Claims(database, jobs, joined.id, randomUUID())
      const beats = new Beats(claims, heartbeatSeconds, { host: hostname(), pid: process.pid })
      const many = new Many(options, database, jobs, joined, claims, beats)
      await beats.once(many.#state)
      return many
    } catch (error) {
      await jobs?.close()
      await database.close()
      throw error
    }
  }

  get progress(): SharedProgress {
    const status = this.#beats.status
    const others = this.#beats.alive.filter(({ id }) => id !== this.#claims.worker)
    const tally = [...others.map(({ underWay }) => underWay), this.#options.work.underWay].reduce(add, status.tally)
    const rate = others.reduce((sum, other) => sum + other.rate, this.#beats.rate)
    return { share: shareOf(status), tally, rate, workers: others.length + 1 }
  }

  /** Of the run, whoever has begun it. */
  get seconds(): number {
    return this.#beats.status.seconds
  }

  /** What this process has done of it. */
  get own(): { readonly shards: number; readonly tally: Tally } {
    return { shards: this.#shards, tally: this.#own }
  }

  /** Other processes that work on it now. */
  get others(): readonly Worker[] {
    return this.#beats.alive.filter(({ id }) => id !== this.#claims.worker)
  }

  /** Who prints the whole report, once the run is over; `me` is this process. */
  get reporter(): Worker | 'me' | undefined {
    const { reporter, workers } = this.#beats.status
    return reporter === this.#claims.worker ? 'me' : workers.find(({ id }) => id === reporter)
  }

  /** Of the whole run. */
  get outcome(): Outcome {
    const { tally, state } = this.#beats.status
    const complete = state === 'complete' && tally['failures'] === 0
    return { tally, complete, lines: () => linesOf(this.#database, this.#claims.run) }
  }

  /** What other processes have said of objects that failed: the first ones. */
  async failuresElsewhere(): Promise<readonly string[]> {
    return await failuresOf(this.#database, this.#claims.run, this.#claims.worker)
  }

  /**
   * Resolves when the run is over: every shard is done, and somebody has printed the report, or this process is to print
   * it. Rejects when shards were tried too often and the run is over without them; and when this process leaves before
   * the end, because `signal` is aborted or because it can do nothing. What it had is given back then.
   */
  async run(signal: AbortSignal): Promise<void> {
    setMaxListeners(0, signal)
    const beating = this.#beats.begin(
      () => this.#state,
      fault => this.#end(fault),
    )
    const onAbort = () => this.#end(Fault.ofAbort(signal))
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    try {
      await this.#takeAll()
    } catch (error) {
      this.#end(Fault.from(error))
    }
    signal.removeEventListener('abort', onAbort)
    await Promise.all(this.#held.values())
    if (this.reporter !== 'me' || this.#ended) {
      await beating.stop()
      await this.#claims.leave().catch(() => {}) // others see that it is silent
    }
    if (this.#ended) throw this.#ended
    const { state, failed } = this.#beats.status
    if (state === 'incomplete') throw incomplete(failed)
  }

  /** To be called when the whole report is printed. */
  async reported(): Promise<void> {
    await this.#claims.reported()
  }

  async close(): Promise<void> {
    this.#database.leave()
    await this.#beats.close()
    if (this.reporter === 'me') await this.#claims.leave().catch(() => {})
    await this.#jobs.close()
    await this.#database.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  get #state() {
    const { work, pieces } = this.#options
    const held = [...this.#held.keys()]
    const { underWay } = work
    return { held, underWay, pieces: pieces(add(this.#own, underWay)) }
  }

  async #takeAll(): Promise<void> {
    for (;;) {
      if (this.#ended) return
      if (this.#beats.status.state !== 'running') {
        if (await this.#isReported()) return
      } else if (this.#held.size < this.#most) {
        const { claims, waiting } = await this.#claims.take(this.#most - this.#held.size)
        this.#waiting = waiting
        for (const claim of claims) this.#hold(claim)
        if (claims.length > 0) continue
      }
      await this.#something()
      if (this.#held.size === 0 && !this.#ended) await this.#beats.look()
    }
  }

  /** Near the end a process takes fewer, so that all end at the same time. */
  get #most(): number {
    const { status, alive } = this.#beats
    if (status !== this.#known) this.#waiting = status.shards.waiting
    this.#known = status
    const share = Math.ceil(this.#waiting / (2 * Math.max(1, alive.length)))
    return Math.min(AT_ONCE, Math.max(1, share))
  }

  async #isReported(): Promise<boolean> {
    const { reporter, reported } = this.#beats.status
    if (reporter === this.#claims.worker || reported) return true
    if (reporter === undefined || this.#beats.alive.some(({ id }) => id === reporter)) return false
    const mine = await this.#claims.takeReport(reporter)
    await this.#beats.look()
    return mine
  }

  /** One of the shards is at its end, or it is time for a look. */
  async #something(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const pause = new Promise<void>(resolve => {
      timer = setTimeout(resolve, this.#beats.status.state === 'running' ? LOOK_MS : END_LOOK_MS)
      this.#wake = resolve
    })
    await Promise.race([pause, ...this.#held.values()])
    clearTimeout(timer)
  }

  #wake = () => {}

  #end(fault: Fault): void {
    this.#ended ??= fault
    this.#database.leave()
    for (const held of this.#held.keys()) held.end(fault)
    this.#wake()
  }

  #hold(claim: Claim): void {
    const spool = join(this.#folder, String(this.#files++))
    const held = new Held({ claims: this.#claims, claim, spool, onFailure: this.#options.onFailure })
    const work = this.#work(held)
      .catch(error => this.#end(Fault.from(error)))
      .finally(() => {
        held.close()
        this.#held.delete(held)
      })
    this.#held.set(held, work)
  }

  async #work(held: Held): Promise<void> {
    let tally: ShardTally
    try {
      tally = await this.#options.work.shard(held.shard, held.signal)
    } catch (error) {
      return await this.#notDone(held, Fault.from(error))
    }
    if (!(await held.finish(tally))) return this.#sayLost(held)
    this.#shards++
    this.#own = add(this.#own, tally)
    this.#failed.clear()
  }

  async #notDone(held: Held, fault: Fault): Promise<void> {
    await held.settle()
    if (held.broken) throw held.broken
    if (held.lost) return this.#sayLost(held)
    if (held.signal.aborted) return await this.#claims.giveBack(held.claim)
    const how = await this.#claims.fail(held.claim, fault)
    if (how === 'lost') return this.#sayLost(held)
    const what = how === 'again' ? 'failed and is tried again' : 'failed for good'
    this.#options.onNote(`shard ${nameOf(held.claim.shard)} ${what}: ${fault.describe()}`)
    this.#failed.add(held.claim.shard)
    if (this.#failed.size < MOST_FAILED) return
    this.#end(
      new Fault(fault.code, `${MOST_FAILED} shards failed here, one after the other`, {
        cause: fault,
        retryable: false,
        remedy: 'Remove the cause that the lines above name, then run the same command again.',
      }),
    )
  }

  #sayLost({ claim }: Held): void {
    this.#options.onNote(`shard ${nameOf(claim.shard)} was taken from this process, which was silent for too long`)
  }
}

/** Its UUIDs begin with it. */
const nameOf = (shard: number) => shard.toString(16).padStart(2, '0')

function incomplete(failed: Status['failed']): Fault {
  const [first] = failed
  const shards = failed.length === 1 ? '1 shard' : `${failed.length} shards`
  return new Fault('Unavailable', `${shards} could not be done; ${first && nameOf(first.shard)}: ${first?.fault}`, {
    retryable: false,
    remedy: 'Remove the cause, then run the same command again: it does what is left.',
  })
}
