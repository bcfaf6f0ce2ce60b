/** Who may write what about a shard, who reports, and what becomes of runs, over a real PostgreSQL. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'
import { until } from '../../harness/until.ts'
import { SHARDS } from '../../src/bulk/work.ts'
import { Fault } from '../../src/fault.ts'
import { settingsOfUri } from '../../src/orthanc-index/postgresql-session.ts'
import { type Claim, Claims, type Part } from '../../src/queue/claims.ts'
import { Database } from '../../src/queue/database.ts'
import { Jobs } from '../../src/queue/jobs.ts'
import { RunList } from '../../src/queue/list.ts'
import { Runs } from '../../src/queue/runs.ts'
import { ensureTables } from '../../src/queue/tables.ts'
import { Counting } from '../support/counting.ts'
import { undo } from '../support/undo.ts'
import {
  linesOf,
  member,
  never,
  objectsFolder,
  type QueueDatabase,
  queueDatabase,
  sharedDatabase,
  skip,
} from './support/queue.ts'

const settingsAt = (url: string) => settingsOfUri(url, '--queue', {})

/** Two processes of a new run, by hand. */
async function twoOf({ url }: QueueDatabase) {
  const database = await Database.open(
    { settings: settingsAt(url), patience: { maxRetries: 3, firstDelayMs: 1 } },
    never,
  )
  undo.push(() => database.close())
  await ensureTables(database)
  const jobs = await Jobs.open(database)
  undo.push(() => jobs.close())
  const work = new Counting({ folder: randomUUID() })
  const { id } = await new Runs(database, jobs).join(work, 10)
  return {
    run: id,
    one: new Claims(database, jobs, id, randomUUID()),
    other: new Claims(database, jobs, id, randomUUID()),
  }
}

function part(number: number, ...keys: readonly string[]): Part {
  return {
    number,
    async *lines() {
      if (keys.length > 0) yield keys.map(key => JSON.stringify({ kind: 'object', key }))
    },
  }
}

const takes = async (claims: Claims): Promise<Claim> =>
  (await claims.take(1)).claims[0] ?? assert.fail('nothing to take')

/** As pg-boss does it when the heartbeats of a process are missing. */
async function silent({ sql }: QueueDatabase, { job }: Claim): Promise<void> {
  await sql(
    `UPDATE orthanc_cloud_queue.job SET state = 'retry', heartbeat_on = NULL, start_after = now(), priority = 9
     WHERE id = $1`,
    [job.id],
  )
}

describe('a shard', { skip }, () => {
  it('takes nothing from an attempt that has lost it', async () => {
    const database = await sharedDatabase()
    const { run, one, other } = await twoOf(database)
    const mine = await takes(one)
    assert.ok(await one.remember(mine, '1', part(1, 'a')))
    await silent(database, mine)
    const theirs = await takes(other)
    assert.equal(theirs.shard, mine.shard)
    assert.equal(theirs.remembered, 1)
    assert.equal(await one.remember(mine, '2', part(2, 'lost')), false)
    assert.equal(await one.finish(mine, { failures: 0 }, [], part(2, 'lost')), false)
    assert.equal(await one.fail(mine, new Fault('Internal', 'late')), 'lost')
    await one.giveBack(mine)
    assert.ok(await other.finish(theirs, { objects: 2, failures: 0 }, [], part(1, 'b')))
    assert.equal(await one.finish(mine, { failures: 0 }, [], part(2, 'lost')), false)
    const lines = await database.sql('SELECT line FROM orthanc_cloud_storage.lines WHERE run = $1 ORDER BY id', [run])
    assert.deepEqual(
      lines.map(({ line }) => JSON.parse(String(line)).key),
      ['a', 'b'],
    )
    assert.deepEqual((await one.status()).tally, { objects: 2, failures: 0 })
  })

  it('takes nothing from a process that was silent, also before another has it', async () => {
    const database = await sharedDatabase()
    const { one, other } = await twoOf(database)
    const mine = await takes(one)
    await silent(database, mine)
    assert.equal(await one.finish(mine, { failures: 0 }, [], part(1, 'lost')), false)
    const { lost } = await one.beat([mine], { host: 'a', pid: 1, rate: 0, underWay: {} })
    assert.deepEqual(lost, [mine])
    assert.equal(await one.remember(mine, '2', part(1, 'lost')), false)
    assert.equal((await takes(other)).shard, mine.shard)
  })

  it('is written once when the answer to a commit is lost, and the transaction runs again', async () => {
    const database = await sharedDatabase()
    const { run, one } = await twoOf(database)
    const mine = await takes(one)
    for (let again = 0; again < 3; again++) assert.ok(await one.remember(mine, '1', part(1, 'a')))
    assert.ok(await one.remember(mine, '2', part(2, 'b')))
    for (let again = 0; again < 3; again++)
      assert.ok(await one.finish(mine, { objects: 3, failures: 0 }, [], part(3, 'c')))
    const [lines] = await database.sql('SELECT count(*)::int FROM orthanc_cloud_storage.lines WHERE run = $1', [run])
    assert.deepEqual(lines, { count: 3 })
    assert.deepEqual((await one.status()).tally, { objects: 3, failures: 0 })
  })

  it('that is given back counts as not tried, and is taken first; one that fails is tried some times', async () => {
    const { sql } = await sharedDatabase()
    const { run, one, other } = await twoOf(await sharedDatabase())
    let claim = await takes(one)
    const { shard } = claim
    for (let time = 0; time < 9; time++) {
      await one.giveBack(claim)
      claim = await takes(other)
      assert.deepEqual([claim.shard, claim.job.retryCount], [shard, 0])
      await other.giveBack(claim)
      claim = await takes(one)
    }
    for (let tries = 1; ; tries++) {
      const how = await one.fail(claim, new Fault('Unavailable', 'away'))
      if (how === 'for good') {
        assert.equal(tries, 6)
        break
      }
      assert.equal(how, 'again')
      await sql(
        `UPDATE orthanc_cloud_queue.job SET start_after = now(), priority = 9
                 WHERE name = $1 AND state = 'retry'`,
        [run],
      )
      claim = await takes(one)
      assert.equal(claim.shard, shard)
    }
    assert.match((await one.status()).failed[0]?.fault ?? '', /^away \[Unavailable\]/)
  })

  it('whose processes all die ends as failed', async () => {
    const database = await sharedDatabase()
    const { run, one, other } = await twoOf(database)
    const mine = await takes(one)
    await database.sql(`UPDATE orthanc_cloud_queue.job SET state = 'failed' WHERE id = $1`, [mine.job.id])
    await other.beat([], { host: 'b', pid: 2, rate: 0, underWay: {} })
    const [failed] = (await other.status()).failed
    assert.deepEqual(failed, { shard: mine.shard, fault: 'the processes that took it have died, one after the other' })
    assert.equal(await one.finish(mine, { failures: 0 }, [], part(1)), false)
    const { claims, waiting } = await other.take(SHARDS)
    assert.deepEqual([claims.length, waiting], [SHARDS - 1, 0])
    for (const claim of claims) assert.ok(await other.finish(claim, { failures: 0 }, [], part(1)))
    assert.equal((await other.status()).state, 'incomplete')
    assert.equal((await other.status()).reporter, other.worker)
    assert.equal(run, other.run)
  })
})

describe('the report of a run', { skip }, () => {
  it('is printed by another when the one that should do it dies, and by the next one when all die', async () => {
    const { url, sql } = await sharedDatabase()
    const { folder } = objectsFolder(300)
    const one = await member(url, new Counting({ folder }))
    await one.many.run(never)
    assert.equal(one.many.reporter, 'me')
    const two = await member(url, new Counting({ folder }))
    assert.equal(two.many.joined.how, 'joined')
    const waiting = two.many.run(never)
    await until('it waits', () => two.many.reporter !== undefined && two.many.reporter !== 'me')
    await one.many.close()
    await sql(
      `UPDATE orthanc_cloud_storage.workers SET seen = now() - interval '1 hour', ended = NULL
               WHERE run = $1 AND id = (SELECT reporter FROM orthanc_cloud_storage.runs WHERE id = $1)`,
      [one.many.joined.id],
    )
    await waiting
    assert.equal(two.many.reporter, 'me')
    assert.equal(two.many.own.shards, 0)
    assert.equal((await linesOf(two.many)).length, 300)
    await two.many.reported()
    await two.many.close()
    assert.equal((await member(url, new Counting({ folder }))).many.joined.how, 'new')
  })
})

describe('runs', { skip }, () => {
  it('are removed with their jobs, when nobody works on them, and when they are old', async () => {
    const { url, sql } = await queueDatabase()
    const list = await RunList.open(settingsAt(url), never)
    undo.push(() => list.close())
    assert.deepEqual(await list.all(), [])
    assert.deepEqual(await sql(`SELECT nspname FROM pg_namespace WHERE nspname LIKE 'orthanc_cloud%'`), [])
    const stop = new AbortController()
    const { many } = await member(url, new Counting({ folder: objectsFolder(10).folder }))
    await assert.rejects(list.remove(many.joined.id), { code: 'BadRequest', message: /^process \d+ on .* works on/ })
    stop.abort(new Fault('Canceled', 'enough'))
    await assert.rejects(many.run(stop.signal), { code: 'Canceled' })
    await many.close()
    const [overview] = await list.all()
    assert.deepEqual([overview?.command, overview?.alive, overview?.status.shards.waiting], ['count', [], SHARDS])
    await sql(`UPDATE orthanc_cloud_storage.runs SET begun = now() - interval '40 days'`)
    await sql(`UPDATE orthanc_cloud_storage.workers SET seen = now() - interval '31 days'`)
    const next = await member(url, new Counting({ folder: objectsFolder(10).folder }))
    assert.deepEqual(
      (await list.all()).map(({ id }) => id),
      [next.many.joined.id],
    )
    await sql(`UPDATE orthanc_cloud_storage.workers SET seen = now() - interval '31 seconds'`)
    await list.remove(next.many.joined.id)
    for (const table of ['orthanc_cloud_storage.shards', 'orthanc_cloud_queue.job'])
      assert.deepEqual(await sql(`SELECT count(*)::int FROM ${table}`), [{ count: 0 }])
    await assert.rejects(next.many.run(never), { code: 'BadRequest', message: 'somebody has removed this run' })
  })

  it('need the right to make schemas, or schemas that were made for them', async () => {
    const { url, sql, user, name } = await queueDatabase()
    await sql('CREATE ROLE clerk LOGIN')
    const clerks = url.replace(`${user}@`, 'clerk@')
    const work = new Counting({ folder: objectsFolder(10).folder })
    await assert.rejects(member(clerks, work), (error: Fault) => {
      assert.equal(error.code, 'Denied')
      assert.match(error.describe(), new RegExp(`permission denied for database ${name}.*GRANT CREATE ON DATABASE`))
      return true
    })
    for (const schema of ['orthanc_cloud_storage', 'orthanc_cloud_queue'])
      await sql(`CREATE SCHEMA ${schema} AUTHORIZATION clerk`)
    const { many } = await member(clerks, work)
    await many.run(never)
    assert.ok(many.outcome.complete)
  })
})
