/** The steps of a run in the database: when one of them begins, and what the first one gives to the shards. */
import { AFTER, BEFORE, isShard, SHARDS } from '../bulk/work.ts'
import type { Database, Transaction } from './database.ts'
import type { Jobs } from './jobs.ts'
import { SCHEMA } from './tables.ts'

const all = Array.from({ length: SHARDS }, (_, shard) => shard)
const PARTS_AT_ONCE = 16

/** All 256, unless `shards` says which. */
export async function addShards(run: string, jobs: Jobs, { rows, db }: Transaction, shards = all): Promise<void> {
  await rows(`INSERT INTO ${SCHEMA}.shards (run, shard) SELECT $1, number FROM unnest($2::int[]) AS number`, [
    run,
    shards,
  ])
  await jobs.add(run, shards, db)
}

/**
 * The step after all shards begins in the transaction that ends the last of them. False: not yet, or it did already, or
 * shards have failed for good. It locks the run.
 */
export async function beginAfter(run: string, jobs: Jobs, { rows, db }: Transaction): Promise<boolean> {
  await rows(`SELECT 1 FROM ${SCHEMA}.runs WHERE id = $1 FOR NO KEY UPDATE`, [run])
  const [row] = await rows(
    `INSERT INTO ${SCHEMA}.shards (run, shard) SELECT $1, ${AFTER}
     WHERE NOT EXISTS (SELECT 1 FROM ${SCHEMA}.shards WHERE run = $1 AND state <> 'done')
     ON CONFLICT DO NOTHING RETURNING 1`,
    [run],
  )
  if (row) await jobs.add(run, [AFTER], db)
  return row !== undefined
}

/** What follows from the end of a shard: those after the first step, and that nobody needs what was given to it. */
export async function afterEnd(
  run: string,
  { shard, token }: { readonly shard: number; readonly token: string },
  jobs: Jobs,
  transaction: Transaction,
): Promise<void> {
  const { rows } = transaction
  if (shard === BEFORE) {
    await rows(`DELETE FROM ${SCHEMA}.given WHERE run = $1 AND token <> $2`, [run, token])
    await addShards(run, jobs, transaction)
  } else if (isShard(shard)) {
    await rows(`DELETE FROM ${SCHEMA}.given WHERE run = $1 AND shard = $2`, [run, shard])
  }
}

/** False: this attempt has lost the first step. When an answer was lost, a part may be there twice. */
export async function give(
  run: string,
  { shard, token }: { readonly shard: number; readonly token: string },
  parts: ReadonlyMap<number, Uint8Array>,
  database: Database,
): Promise<boolean> {
  const kept = await database.transaction(async ({ rows }) => {
    const [mine] = await rows(
      `SELECT 1 FROM ${SCHEMA}.shards WHERE run = $1 AND shard = $2 AND token = $3 AND state = 'taken' FOR SHARE`,
      [run, shard, token],
    )
    if (!mine) return undefined
    await rows(
      `INSERT INTO ${SCHEMA}.given (run, shard, token, part)
       SELECT $1, number, $2, part FROM unnest($3::int[], $4::bytea[]) AS given (number, part)`,
      [run, token, [...parts.keys()], [...parts.values()]],
    )
    return true
  })
  return kept === true
}

export async function* givenTo(run: string, shard: number, database: Database): AsyncGenerator<Uint8Array> {
  for (let id = '0'; ; ) {
    const rows = await database.rows(
      `SELECT id::text AS place, part FROM ${SCHEMA}.given
       WHERE run = $1 AND shard = $2 AND id > $3::bigint ORDER BY id LIMIT ${PARTS_AT_ONCE}`,
      [run, shard, id],
    )
    for (const { part } of rows) yield part as Uint8Array
    const last = rows.at(-1)
    if (!last) return
    id = String(last['place'])
  }
}
