/**
 * What one process does with the shards of a run. Each attempt at a shard has a token of its own. Whatever it writes
 * is written in one transaction with a look at the token. So an attempt that has lost its shard can write nothing.
 * A transaction may run again after its commit, whose answer was lost: each finds what it has done itself.
 */
import { randomUUID } from 'node:crypto'
import { AFTER, type Json, type Line, type ShardTally } from '../bulk/work.ts'
import { Fault } from '../fault.ts'
import type { Database, Transaction } from './database.ts'
import type { Jobs, TakenJob } from './jobs.ts'
import { type Beat, endRun, linesOf, type Status, statusOf } from './status.ts'
import { afterEnd, beginAfter, give, givenTo } from './steps.ts'
import { SCHEMA } from './tables.ts'

export interface Claim {
  readonly shard: number
  readonly token: string
  readonly job: TakenJob
  readonly remembered: Json | undefined
}

export interface Part {
  /** Counts the parts of one attempt, from 1. */
  readonly number: number
  /** Lines that were not written yet. */
  lines(): AsyncIterable<readonly string[]>
}

export class Claims {
  readonly #database: Database
  readonly #jobs: Jobs
  readonly run: string
  readonly worker: string
  readonly #hasAfter: boolean

  /** `hasAfter`: whether the work has a step after all shards. */
  constructor(database: Database, jobs: Jobs, run: string, worker: string, hasAfter = false) {
    this.#hasAfter = hasAfter
    this.#database = database
    this.#jobs = jobs
    this.run = run
    this.worker = worker
  }

  /** None: nothing is left to take, at least now. `waiting`: how many others are left. Rejects when the run is gone. */
  async take(most: number): Promise<{ readonly claims: readonly Claim[]; readonly waiting: number }> {
    const tokens = Array.from({ length: most }, () => randomUUID())
    let jobs: readonly TakenJob[] = []
    const taken = await this.#database.transaction(async ({ rows, db }) => {
      const [run] = await rows(
        `SELECT count(shard)::int AS mine
         FROM ${SCHEMA}.runs LEFT JOIN ${SCHEMA}.shards ON run = id AND token = ANY($2::uuid[])
         WHERE id = $1 GROUP BY id`,
        [this.run, tokens],
      )
      if (!run) throw removed()
      // Else the answer to an earlier commit was lost.
      if (run['mine'] === 0) jobs = await this.#jobs.take(this.run, most, db)
      if (jobs.length === 0) return undefined
      return await rows(
        `UPDATE ${SCHEMA}.shards
         SET state = 'taken', worker = $2, token = given.token, job = given.job, attempt = given.attempt, written = 0
         FROM unnest($3::int[], $4::uuid[], $5::uuid[], $6::int[]) AS given (number, token, job, attempt)
         WHERE run = $1 AND shard = given.number AND state IN ('waiting', 'taken')
         RETURNING shard, remembered,
           (SELECT count(*) FROM ${SCHEMA}.shards WHERE run = $1 AND state = 'waiting')::int AS waiting`,
        [
          ...[this.run, this.worker],
          jobs.map(({ shard }) => shard),
          tokens.slice(0, jobs.length),
          jobs.map(({ id }) => id),
          jobs.map(({ retryCount }) => retryCount),
        ],
      )
    })
    const claims = jobs.flatMap((job, i) => {
      const row = taken?.find(({ shard }) => shard === job.shard)
      const remembered = row?.['remembered'] == null ? undefined : (JSON.parse(String(row['remembered'])) as Json)
      return row ? [{ shard: job.shard, token: String(tokens[i]), job, remembered }] : []
    })
    const waiting = taken?.[0] ? Number(taken[0]['waiting']) - claims.length : 0
    return { claims, waiting: Math.max(0, waiting) }
  }

  /** What a next attempt begins with. False: the shard is lost. */
  async remember({ shard, token }: Claim, value: string, part: Part): Promise<boolean> {
    const kept = await this.#database.transaction(async transaction => {
      const { rows } = transaction
      const where = `run = $1 AND shard = $2 AND token = $3 AND state = 'taken'`
      const [row] = await rows(
        `UPDATE ${SCHEMA}.shards SET remembered = $5, written = $4 WHERE ${where} AND written = $4 - 1 RETURNING 1`,
        [this.run, shard, token, part.number, value],
      )
      if (row) await this.#write(shard, part, transaction)
      if (row) return true
      const [before] = await rows(`SELECT 1 FROM ${SCHEMA}.shards WHERE ${where} AND written = $4`, [
        this.run,
        shard,
        token,
        part.number,
      ])
      return before && true
    })
    return kept === true
  }

  /** The result, the last lines and the end of the job; of the last shard also the end of the run. False: lost. */
  async finish({ shard, token, job }: Claim, tally: ShardTally, failures: readonly string[], part: Part) {
    const kept = await this.#database.transaction(async transaction => {
      const { rows, db } = transaction
      const where = 'run = $1 AND shard = $2 AND token = $3'
      const [row] = await rows(
        `UPDATE ${SCHEMA}.shards SET state = 'done', ended = now(), tally = $4, failures = $5, remembered = NULL,
           fault = NULL
         WHERE ${where} AND state = 'taken' RETURNING 1`,
        [this.run, shard, token, JSON.stringify(tally), JSON.stringify(failures)],
      )
      if (!row) {
        const [before] = await rows(`SELECT 1 FROM ${SCHEMA}.shards WHERE ${where} AND state = 'done'`, [
          ...[this.run, shard, token],
        ])
        return before && true
      }
      await this.#write(shard, part, transaction)
      if (!(await this.#jobs.complete(this.run, job, db))) return undefined
      await afterEnd(this.run, { shard, token }, this.#jobs, transaction)
      await this.#end(transaction)
      return true
    })
    return kept === true
  }

  /** For shards, by the first step. False: lost. */
  async give(claim: Claim, parts: ReadonlyMap<number, Uint8Array>): Promise<boolean> {
    return await give(this.run, claim, parts, this.#database)
  }

  given(shard: number): AsyncIterable<Uint8Array> {
    return givenTo(this.run, shard, this.#database)
  }

  /** Of the shards. */
  lines(): AsyncIterable<Line> {
    return linesOf(this.#database, this.run, AFTER)
  }

  /** It is tried again after a pause, here or elsewhere, unless it was tried too often. */
  async fail({ shard, token, job }: Claim, fault: Fault): Promise<'again' | 'for good' | 'lost'> {
    const forGood = job.retryCount >= job.retryLimit
    const kept = await this.#database.transaction(async transaction => {
      const { rows, db } = transaction
      const [row] = await rows(
        `UPDATE ${SCHEMA}.shards SET state = $4, token = NULL, fault = $5
         WHERE run = $1 AND shard = $2 AND token = $3 AND state = 'taken' RETURNING 1`,
        [this.run, shard, token, forGood ? 'failed' : 'waiting', fault.describe()],
      )
      if (!row || !(await this.#jobs.fail(this.run, job, fault.describe(), db))) return undefined
      if (forGood) await this.#end(transaction)
      return true
    })
    if (!kept) return 'lost'
    return forGood ? 'for good' : 'again'
  }

  /** Others can take it at once. */
  async giveBack({ shard, token, job }: Claim): Promise<void> {
    await this.#database.transaction(async ({ rows, db }) => {
      const [row] = await rows(
        `UPDATE ${SCHEMA}.shards SET state = 'waiting', token = NULL, worker = NULL
         WHERE run = $1 AND shard = $2 AND token = $3 AND state = 'taken' RETURNING 1`,
        [this.run, shard, token],
      )
      return row && (await this.#jobs.giveBack(this.run, job, db)) ? true : undefined
    })
  }

  /** The heartbeat of this process and of its shards, and a look at those of others. */
  async beat(held: readonly Claim[], beat: Beat): Promise<Status & { readonly lost: readonly Claim[] }> {
    const touched = await this.#jobs.touch(
      this.run,
      held.map(({ job }) => job),
    )
    await this.#database.rows(
      `INSERT INTO ${SCHEMA}.workers (run, id, host, pid) SELECT $1, $2, $3, $4
       WHERE EXISTS (SELECT 1 FROM ${SCHEMA}.runs WHERE id = $1)
       ON CONFLICT (id) DO UPDATE SET seen = now(), rate = $5, under_way = $6`,
      [this.run, this.worker, beat.host, beat.pid, beat.rate, JSON.stringify(beat.underWay)],
    )
    await this.#jobs.watch(this.run)
    await this.#settle()
    return { ...(await this.status()), lost: held.filter(({ job }) => !touched.has(job.id)) }
  }

  async status(): Promise<Status> {
    const status = await statusOf(this.#database, this.run)
    if (!status) throw removed()
    return status
  }

  /** Whether this process prints the report, in place of `before`, which died. */
  async takeReport(before: string): Promise<boolean> {
    const [row] = await this.#database.rows(
      `UPDATE ${SCHEMA}.runs SET reporter = $2
       WHERE id = $1 AND reporter IN ($2, $3) AND reported IS NULL RETURNING 1`,
      [this.run, this.worker, before],
    )
    return row !== undefined
  }

  /** The report is printed. A complete run is closed with it. */
  async reported(): Promise<void> {
    await this.#database.rows(
      `UPDATE ${SCHEMA}.runs SET reported = coalesce(reported, now()), open = (state <> 'complete')
       WHERE id = $1 AND reporter = $2 AND state <> 'running'`,
      [this.run, this.worker],
    )
  }

  async leave(): Promise<void> {
    await this.#database.rows(`UPDATE ${SCHEMA}.workers SET ended = now(), rate = 0, under_way = '{}' WHERE id = $1`, [
      this.worker,
    ])
  }

  /** What pg-boss knows of processes that have died, for our own table. */
  async #settle(): Promise<void> {
    await this.#database.transaction(async transaction => {
      const { rows, db } = transaction
      const [run] = await rows(
        `SELECT 1 FROM ${SCHEMA}.runs WHERE id = $1 AND state = 'running' FOR NO KEY UPDATE SKIP LOCKED`,
        [this.run],
      )
      if (!run) return undefined
      const { free, failed } = await this.#jobs.lost(this.run, db)
      await rows(
        `UPDATE ${SCHEMA}.shards SET state = 'waiting', token = NULL, worker = NULL
         FROM unnest($2::uuid[], $3::int[]) AS lost (job, attempt)
         WHERE run = $1 AND shards.job = lost.job AND shards.attempt = lost.attempt AND state = 'taken'`,
        [this.run, free.map(({ id }) => id), free.map(({ retryCount }) => retryCount)],
      )
      if (failed.length === 0) return true
      await rows(
        `UPDATE ${SCHEMA}.shards SET state = 'failed', token = NULL,
           fault = coalesce(fault, 'the processes that took it have died, one after the other')
         WHERE run = $1 AND shard = ANY($2::int[]) AND state IN ('waiting', 'taken')`,
        [this.run, failed.map(({ shard }) => shard)],
      )
      await this.#end(transaction)
      return true
    })
  }

  async #end(transaction: Transaction): Promise<void> {
    if (this.#hasAfter && (await beginAfter(this.run, this.#jobs, transaction))) return
    await endRun(this.run, this.worker, transaction)
  }

  async #write(shard: number, part: Part, { rows }: Transaction): Promise<void> {
    for await (const lines of part.lines())
      await rows(
        `INSERT INTO ${SCHEMA}.lines (run, shard, line)
         SELECT $1, $2, line FROM unnest($3::text[]) WITH ORDINALITY AS given (line, place) ORDER BY place`,
        [this.run, shard, lines],
      )
  }
}

function removed(): Fault {
  return new Fault('BadRequest', 'somebody has removed this run', {
    remedy: 'Run the same command again for a new run.',
  })
}
