/** pg-boss: a queue for each run, with a job for each shard. */
import type { JobAttempt, JobWithMetadata, PgBoss } from 'pg-boss'
import { isObject } from '../fault.ts'
import type { Database, Executor } from './database.ts'
import { JOBS_SCHEMA } from './tables.ts'

/** How often a shard is tried again that failed, or whose process died. */
export const RETRY_LIMIT = 5
/** The longest that pg-boss allows. A shard that takes longer begins again at what it has remembered. */
const A_DAY = 86_400
const MANY_YEARS = 10 * 365 * A_DAY
/** Between two looks for jobs whose process is gone, of all processes together. */
const LOOK_SECONDS = 5

export interface TakenJob extends JobAttempt {
  readonly shard: number
  /** How often it may be tried again, all in all. */
  readonly retryLimit: number
}

export class Jobs {
  readonly #boss: PgBoss
  readonly #database: Database

  private constructor(boss: PgBoss, database: Database) {
    this.#boss = boss
    this.#database = database
  }

  /** The schema must be there. */
  static async open(database: Database): Promise<Jobs> {
    const { PgBoss } = await import('pg-boss')
    const boss = new PgBoss({
      db: database.db,
      schema: JOBS_SCHEMA,
      createSchema: false,
      supervise: false, // watch() does it, right after the heartbeat of this process
      monitorIntervalSeconds: LOOK_SECONDS,
      schedule: false,
      reindex: false,
      monitorVacuum: false,
    })
    boss.on('error', () => {}) // of its own timers, which try again
    await database.again(async () => void (await boss.start()))
    return new Jobs(boss, database)
  }

  async close(): Promise<void> {
    await this.#boss.stop({ graceful: false }).catch(() => {})
  }

  async makeQueue(run: string, heartbeatSeconds: number): Promise<void> {
    await this.#database.again(() =>
      this.#boss.createQueue(run, {
        heartbeatSeconds,
        retryLimit: RETRY_LIMIT,
        retryDelay: 1,
        retryBackoff: true,
        retryDelayMax: 60,
        expireInSeconds: A_DAY,
        retentionSeconds: MANY_YEARS, // jobs go with their run, never before it
        deleteAfterSeconds: 0,
      }),
    )
  }

  async removeQueue(run: string): Promise<void> {
    await this.#database.again(() => this.#boss.deleteQueue(run))
  }

  async queues(): Promise<readonly { readonly name: string; readonly createdOn: Date }[]> {
    return await this.#database.again(() => this.#boss.getQueues())
  }

  /** Nothing but the number of the shard is in a job. */
  async add(run: string, shards: readonly number[], db: Executor): Promise<void> {
    await this.#boss.insert(
      run,
      shards.map(shard => ({ data: { shard } })),
      { db },
    )
  }

  async remove(run: string, ids: readonly string[], db: Executor): Promise<void> {
    if (ids.length > 0) await this.#boss.deleteJob(run, [...ids], { db })
  }

  async take(run: string, most: number, db: Executor): Promise<readonly TakenJob[]> {
    const jobs = await this.#boss.fetch<ShardData>(run, { db, batchSize: most, includeMetadata: true })
    return jobs.map(taken)
  }

  /** False: this attempt has not got the job any more. So are all below. */
  async complete(run: string, job: JobAttempt, db: Executor): Promise<boolean> {
    return affected(await this.#boss.complete(run, attemptOf(job), null, { db }))
  }

  async fail(run: string, job: JobAttempt, reason: string, db: Executor): Promise<boolean> {
    return affected(await this.#boss.fail(run, attemptOf(job), { message: reason }, { db }))
  }

  /** Others can take it at once, before those that nobody has begun. It does not count as an attempt. */
  async giveBack(run: string, job: TakenJob, db: Executor): Promise<boolean> {
    if (!affected(await this.#boss.deleteJob(run, attemptOf(job), { db }))) return false
    const retryLimit = job.retryLimit - job.retryCount
    await this.#boss.insert(run, [{ data: { shard: job.shard }, retryLimit, priority: 1 }], { db })
    return true
  }

  /** The heartbeat. Returns the ids of those that this process still has. */
  async touch(run: string, jobs: readonly JobAttempt[]): Promise<ReadonlySet<string>> {
    if (jobs.length === 0) return new Set()
    const answer: unknown = await this.#database.again(() => this.#boss.touch(run, jobs.map(attemptOf)))
    const ids = isObject(answer) && Array.isArray(answer['settled']) ? (answer['settled'] as string[]) : []
    return new Set(ids)
  }

  /** Jobs whose process has missed its heartbeats are waiting again afterwards, or failed. */
  async watch(run: string): Promise<void> {
    await this.#database.again(() => this.#boss.supervise(run))
  }

  /** `failed`: those that were tried too often. `free`: those that were taken, and nobody has now. */
  async lost(run: string, db: Executor): Promise<{ readonly [which in 'failed' | 'free']: readonly TakenJob[] }> {
    const jobs = await this.#boss.findJobs<ShardData>(run, { db })
    const inState = (wanted: string) => jobs.filter(({ state }) => state === wanted).map(taken)
    return { failed: inState('failed'), free: inState('retry') }
  }
}

interface ShardData {
  readonly shard: number
}

const taken = ({ id, retryCount, retryLimit, data }: JobWithMetadata<ShardData>): TakenJob => ({
  ...{ id, retryCount, retryLimit },
  shard: data.shard,
})
const attemptOf = ({ id, retryCount }: JobAttempt): JobAttempt => ({ id, retryCount })
const affected = (answer: unknown) => isObject(answer) && answer['affected'] === 1
