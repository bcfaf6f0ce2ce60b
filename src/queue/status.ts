/** How far a run is, and who works on it. */
import { add, BEFORE, isShard, type Line, SHARDS, type Tally } from '../bulk/work.ts'
import type { Database, Row, Transaction } from './database.ts'
import { SCHEMA } from './tables.ts'

/** What a process tells of itself, every few seconds. */
export interface Beat {
  readonly host: string
  readonly pid: number
  /** Pieces a second. */
  readonly rate: number
  readonly underWay: Tally
}

export interface Worker {
  readonly id: string
  readonly host: string
  readonly pid: number
  /** Seconds since its last heartbeat, by the clock of the database. */
  readonly seen: number
  readonly ended: boolean
  readonly rate: number
  readonly underWay: Tally
  readonly done: number
}

export interface Status {
  readonly state: 'running' | 'complete' | 'incomplete'
  readonly reporter: string | undefined
  readonly reported: boolean
  /** Since its beginning, or until its end; by the clock of the database. */
  readonly seconds: number
  readonly shards: { readonly waiting: number; readonly taken: number; readonly done: number; readonly failed: number }
  /** Of the shards that are done. */
  readonly tally: Tally
  readonly workers: readonly Worker[]
  readonly failed: readonly { readonly shard: number; readonly fault: string }[]
}

/** Of shards that are done in all processes. */
const MOST_FAULTS = 20

export async function statusOf(database: Database, run: string): Promise<Status | undefined> {
  const [row] = await database.rows(
    `SELECT state, reporter, reported IS NOT NULL AS reported,
       extract(epoch FROM coalesce(ended, now()) - begun)::float8 AS seconds
     FROM ${SCHEMA}.runs WHERE id = $1`,
    [run],
  )
  if (!row) return undefined
  const shards = await database.rows(`SELECT shard, state, worker, tally, fault FROM ${SCHEMA}.shards WHERE run = $1`, [
    run,
  ])
  const workers = await database.rows(
    `SELECT id, host, pid, extract(epoch FROM now() - seen)::float8 AS seen, ended IS NOT NULL AS ended, rate, under_way
     FROM ${SCHEMA}.workers WHERE run = $1 ORDER BY begun, id`,
    [run],
  )
  const count = (wanted: string) =>
    shards.filter(({ shard, state }) => state === wanted && isShard(Number(shard))).length
  const done = shards.filter(({ state }) => state === 'done')
  return {
    state: row['state'] as Status['state'],
    reporter: row['reporter'] === null ? undefined : String(row['reporter']),
    reported: row['reported'] === true,
    seconds: Number(row['seconds']),
    shards: { waiting: count('waiting'), taken: count('taken'), done: count('done'), failed: count('failed') },
    tally: done.reduce<Tally>((sum, { tally }) => add(sum, JSON.parse(String(tally)) as Tally), { failures: 0 }),
    workers: workers.map(worker => workerOf(worker, done)),
    failed: shards
      .filter(({ state }) => state === 'failed')
      .map(({ shard, fault }) => ({ shard: Number(shard), fault: String(fault) })),
  }
}

function workerOf({ id, host, pid, seen, ended, rate, under_way }: Row, done: readonly Row[]): Worker {
  return {
    id: String(id),
    host: String(host),
    pid: Number(pid),
    seen: Number(seen),
    ended: ended === true,
    rate: Number(rate),
    underWay: JSON.parse(String(under_way)) as Tally,
    done: done.filter(({ worker, shard }) => worker === id && isShard(Number(shard))).length,
  }
}

/** Its UUIDs begin with it. */
export const nameOf = (shard: number) => shard.toString(16).padStart(2, '0')

/** For people, also of the steps before and after the shards. */
export function titleOf(shard: number): string {
  if (isShard(shard)) return `shard ${nameOf(shard)}`
  return shard === BEFORE ? 'the first step' : 'the last step'
}

/** From 0 to 1. */
export const shareOf = ({ shards }: Pick<Status, 'shards'>) => shards.done / SHARDS

/** Those that are heard of. `seconds`: how long a process may be silent. */
export const alive = ({ workers }: Status, seconds: number) =>
  workers.filter(({ ended, seen }) => !ended && seen < seconds)

/** The run ends with its last shard, whoever has it. To be called last: it locks the run. */
export async function endRun(run: string, worker: string, { rows }: Transaction): Promise<void> {
  await rows(`SELECT 1 FROM ${SCHEMA}.runs WHERE id = $1 FOR NO KEY UPDATE`, [run])
  await rows(
    `UPDATE ${SCHEMA}.runs SET ended = now(), reporter = $2,
       state = CASE WHEN EXISTS (SELECT 1 FROM ${SCHEMA}.shards WHERE run = $1 AND state = 'failed')
         THEN 'incomplete' ELSE 'complete' END
     WHERE id = $1 AND state = 'running'
       AND NOT EXISTS (SELECT 1 FROM ${SCHEMA}.shards WHERE run = $1 AND state IN ('waiting', 'taken'))`,
    [run, worker],
  )
}

const LINES_AT_ONCE = 1_000

/** In the order of the shards. `below`: only those of shards below this one. */
export async function* linesOf(database: Database, run: string, below = SHARDS + 1): AsyncGenerator<Line> {
  for (let shard = 0, id = '0'; ; ) {
    const rows = await database.rows(
      `SELECT shard, id::text AS place, line FROM ${SCHEMA}.lines
       WHERE run = $1 AND shard < $4 AND (shard, id) > ($2::smallint, $3::bigint) ORDER BY shard, id LIMIT ${LINES_AT_ONCE}`,
      [run, shard, id, below],
    )
    for (const { line } of rows) yield JSON.parse(String(line)) as Line
    const last = rows.at(-1)
    if (!last) return
    shard = Number(last['shard'])
    id = String(last['place'])
  }
}

/** What the processes of a run have said of single objects that failed: the first ones, of all but `worker`. */
export async function failuresOf(database: Database, run: string, worker: string): Promise<readonly string[]> {
  const rows = await database.rows(
    `SELECT failures FROM ${SCHEMA}.shards
     WHERE run = $1 AND state = 'done' AND worker <> $2 AND failures <> '[]' ORDER BY shard LIMIT ${MOST_FAULTS}`,
    [run, worker],
  )
  return rows.flatMap(({ failures }) => JSON.parse(String(failures)) as string[]).slice(0, MOST_FAULTS)
}
