/** The runs in the database of a queue: which one the same command belongs to, and what becomes of old ones. */
import { createHash, randomUUID } from 'node:crypto'
import { BEFORE, type BulkWork, type Json, type ShardTally } from '../bulk/work.ts'
import { Fault } from '../fault.ts'
import type { Database, Transaction } from './database.ts'
import type { Jobs } from './jobs.ts'
import { addShards } from './steps.ts'
import { SCHEMA } from './tables.ts'

/** Of runs that nobody works on. */
const KEPT_DAYS = 30
const KEPT_RUNS = 50

export interface Joined {
  readonly id: string
  /** `new`: by this process. `joined`: others had begun it. `again`: it had ended with shards that failed. */
  readonly how: 'new' | 'joined' | 'again'
}

/** What the same command is: its name and the identity of its work. */
export function hashOf({ name, identity }: Pick<BulkWork<ShardTally>, 'name' | 'identity'>): string {
  return createHash('sha256').update(canonical({ name, identity })).digest('hex')
}

/** The same text for the same members, in whatever order. */
function canonical(value: Json): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  const members = Object.entries(value as { readonly [name: string]: Json }).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`
}

export class Runs {
  readonly #database: Database
  readonly #jobs: Jobs

  constructor(database: Database, jobs: Jobs) {
    this.#database = database
    this.#jobs = jobs
  }

  /** The open run of this work; a new one where there is none. Of several processes at the same moment one makes it. */
  async join(work: BulkWork<ShardTally>, heartbeatSeconds: number): Promise<Joined> {
    const hash = hashOf(work)
    return (await this.#open(hash)) ?? (await this.#begin(hash, work, heartbeatSeconds))
  }

  /** Its lines and its jobs go, too. */
  async remove(run: string): Promise<void> {
    await this.#database.rows(`DELETE FROM ${SCHEMA}.runs WHERE id = $1`, [run])
    await this.#jobs.removeQueue(run)
  }

  /** Removes old runs, except `but`, and queues that a process left behind which died before it could use them. */
  async clean(but: string): Promise<void> {
    const old = await this.#database.rows(
      `SELECT id FROM (
         SELECT id, greatest(begun, reported, (SELECT max(seen) FROM ${SCHEMA}.workers WHERE run = runs.id)) AS last,
           row_number() OVER (ORDER BY open DESC, begun DESC) AS place
         FROM ${SCHEMA}.runs) AS all_runs
       WHERE id <> $1 AND (last < now() - interval '${KEPT_DAYS} days' OR place > ${KEPT_RUNS})
         AND last < now() - interval '1 day'`,
      [but],
    )
    for (const { id } of old) await this.remove(String(id))
    const known = new Set((await this.#database.rows(`SELECT id FROM ${SCHEMA}.runs`)).map(({ id }) => String(id)))
    const aDayAgo = Date.now() - 86_400_000
    for (const { name, createdOn } of await this.#jobs.queues())
      if (/^[0-9a-f]{8}-/.test(name) && !known.has(name) && createdOn.getTime() < aDayAgo)
        await this.#jobs.removeQueue(name)
  }

  async #open(hash: string): Promise<Joined | undefined> {
    return await this.#database.transaction(async transaction => {
      const { rows } = transaction
      const [row] = await rows(
        `SELECT id, state, reported FROM ${SCHEMA}.runs WHERE work = $1 AND open FOR NO KEY UPDATE`,
        [hash],
      )
      if (!row) return undefined
      const id = String(row['id'])
      if (row['state'] !== 'incomplete' || row['reported'] === null) return { id, how: 'joined' } as const
      await this.#again(id, transaction)
      return { id, how: 'again' } as const
    })
  }

  /** What failed is to be done again, with as many attempts as at first. */
  async #again(run: string, { rows, db }: Transaction): Promise<void> {
    await rows(
      `UPDATE ${SCHEMA}.runs SET state = 'running', ended = NULL, reporter = NULL, reported = NULL WHERE id = $1`,
      [run],
    )
    const { failed } = await this.#jobs.lost(run, db)
    await this.#jobs.remove(
      run,
      failed.map(({ id }) => id),
      db,
    )
    const shards = await rows(
      `UPDATE ${SCHEMA}.shards SET state = 'waiting' WHERE run = $1 AND state = 'failed' RETURNING shard`,
      [run],
    )
    await this.#jobs.add(
      run,
      shards.map(({ shard }) => Number(shard)),
      db,
    )
  }

  async #begin(hash: string, work: BulkWork<ShardTally>, heartbeatSeconds: number): Promise<Joined> {
    const run = randomUUID()
    await this.#jobs.makeQueue(run, heartbeatSeconds) // pg-boss makes it in a transaction of its own
    const begun = await this.#database.transaction(async transaction => {
      const [row] = await transaction.rows(
        `INSERT INTO ${SCHEMA}.runs (id, work, command, identity) VALUES ($1, $2, $3, $4)
         ON CONFLICT (work) WHERE open DO NOTHING RETURNING 1`,
        [run, hash, work.name, JSON.stringify(work.identity)],
      )
      if (!row) return undefined
      await addShards(run, this.#jobs, transaction, work.before ? [BEFORE] : undefined)
      return true
    })
    if (begun) return { id: run, how: 'new' }
    const other = await this.#open(hash)
    if (other?.id === run) return { ...other, how: 'new' } // the answer to our commit was lost
    await this.#jobs.removeQueue(run)
    if (other) return other
    throw new Fault('Unavailable', 'another process has begun the same run, and it has ended already', {
      remedy: 'Run the same command again for a new run.',
    })
  }
}
