/** The shards of a work in this process and in all others that run the same command. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Outcome, Progress } from '../bulk/alone.ts'
import { add, type BulkWork, isShard, type ShardTally, type Tally } from '../bulk/work.ts'
import { Fault } from '../fault.ts'
import type { Settings } from '../orthanc-index/postgresql-session.ts'
import { Beats } from './beats.ts'
import { Claims } from './claims.ts'
import { Database, type Patience } from './database.ts'
import { Jobs } from './jobs.ts'
import { type Joined, Runs } from './runs.ts'
import { failuresOf, linesOf, nameOf, type Status, shareOf, titleOf, type Worker } from './status.ts'
import { ensureTables } from './tables.ts'
import { Taking } from './taking.ts'

export interface ManyOptions {
  readonly work: BulkWork<ShardTally>
  readonly settings: Settings
  /** How long a process may be silent before others take its shards: 10 or more; 30. The first one of a run says it. */
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
  readonly #taking: Taking

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
    this.#taking = new Taking({
      ...{ work: options.work, claims, beats, folder: this.#folder },
      onFailure: options.onFailure,
      onNote: options.onNote,
      onEnd: () => database.leave(),
    })
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
      const claims = new Claims(database, jobs, joined.id, randomUUID(), work.after !== undefined)
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
    return this.#taking.done
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
   * Resolves when the run is over: every shard is done, and somebody has printed the report, or this process is to
   * print it. Rejects when shards were tried too often and the run is over without them; and when this process leaves
   * before the end, because `signal` is aborted or because it can do nothing. What it had is given back then.
   */
  async run(signal: AbortSignal): Promise<void> {
    const taking = this.#taking
    const beating = this.#beats.begin(
      () => this.#state,
      fault => taking.end(fault),
    )
    const onAbort = () => taking.end(Fault.ofAbort(signal))
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    await taking.run()
    signal.removeEventListener('abort', onAbort)
    if (this.reporter !== 'me' || taking.ended) {
      await beating.stop()
      await this.#claims.leave().catch(() => {}) // others see that it is silent
    }
    if (taking.ended) throw taking.ended
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
    const { underWay } = work
    return { held: this.#taking.held, underWay, pieces: pieces(add(this.#taking.done.tally, underWay)) }
  }
}

function incomplete(failed: Status['failed']): Fault {
  const [first] = failed
  const isStep = first && !isShard(first.shard)
  const shards = failed.length === 1 ? '1 shard' : `${failed.length} shards`
  return new Fault(
    'Unavailable',
    isStep
      ? `${titleOf(first.shard)} could not be done: ${first.fault}`
      : `${shards} could not be done; ${first && nameOf(first.shard)}: ${first?.fault}`,
    {
      retryable: false,
      remedy: 'Remove the cause, then run the same command again: it does what is left.',
    },
  )
}
