/** A run that many processes share, over a real PostgreSQL. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { until } from '../../harness/until.ts'
import { type Line, SHARDS } from '../../src/bulk/work.ts'
import { Fault, isCode } from '../../src/fault.ts'
import type { Many } from '../../src/queue/many.ts'
import { unlessAborted } from '../../src/stores/unless-aborted.ts'
import { Counting } from '../support/counting.ts'
import { Stepping } from '../support/stepping.ts'
import { linesOf, member, never, objectsFolder, proxyTo, sharedDatabase, skip } from './support/queue.ts'

const forever = (signal: AbortSignal) => unlessAborted(new Promise<void>(() => {}), signal)
const keysIn = (lines: readonly Line[]) => lines.map(line => String(line['key']))

/** Each once, in their order. */
async function hasLines(many: Many, keys: readonly string[]): Promise<void> {
  const found = keysIn(await linesOf(many))
  assert.deepEqual(keys.filter(key => !found.includes(key)).slice(0, 5), [], 'missing')
  assert.deepEqual(found.filter((key, i) => found.indexOf(key) !== i).slice(0, 5), [], 'twice')
  assert.deepEqual(found, found.toSorted())
}

describe('a run on a queue', { skip }, () => {
  it('is one run for all that begin at the same moment, with each shard once, and one that reports', async () => {
    const { url, sql } = await sharedDatabase()
    const { folder, keys } = objectsFolder(1000)
    const all = await Promise.all([1, 2, 3].map(() => member(url, new Counting({ folder }))))
    assert.equal(new Set(all.map(({ many }) => many.joined.id)).size, 1)
    assert.deepEqual(all.map(({ many }) => many.joined.how).sort(), ['joined', 'joined', 'new'])
    const data = await sql('SELECT DISTINCT jsonb_object_keys(data) AS name FROM orthanc_cloud_queue.job')
    assert.deepEqual(data, [{ name: 'shard' }])
    await Promise.all(
      all.map(async ({ many }) => {
        await many.run(never)
        if (many.reporter === 'me') await many.reported()
      }),
    )
    assert.equal(all.filter(({ many }) => many.reporter === 'me').length, 1)
    for (const { many } of all) {
      assert.deepEqual(many.outcome.tally, { objects: 1000, failures: 0 })
      assert.ok(many.outcome.complete)
      await hasLines(many, keys)
    }
    const shards = all.map(({ many }) => many.own.shards)
    assert.equal(
      shards.reduce((sum, count) => sum + count),
      SHARDS,
    )
    assert.ok(
      shards.every(count => count > 0),
      `${shards}`,
    )
    const { many } = await member(url, new Counting({ folder }))
    assert.equal(many.joined.how, 'new')
    assert.notEqual(many.joined.id, all[0]?.many.joined.id)
  })

  it('goes on elsewhere at once when a process is interrupted, where the shards were', async () => {
    const { url, sql } = await sharedDatabase()
    const { folder, keys } = objectsFolder(1000)
    const stop = new AbortController()
    let hanging = 0
    const one = await member(
      url,
      new Counting({
        folder,
        pause: async (_, signal) => {
          hanging++
          await forever(signal)
        },
      }),
    )
    const ended = one.many.run(stop.signal)
    await until('shards in their middle', () => hanging >= 16)
    stop.abort(new Fault('Canceled', 'interrupted by SIGINT'))
    await assert.rejects(ended, { code: 'Canceled', message: 'interrupted by SIGINT' })
    const states = await sql('SELECT DISTINCT state FROM orthanc_cloud_storage.shards WHERE run = $1', [
      one.many.joined.id,
    ])
    assert.deepEqual(states, [{ state: 'waiting' }])
    const jobs = await sql(
      `SELECT state, sum(retry_count)::int AS tries, count(*)::int FROM orthanc_cloud_queue.job
       WHERE name = $1 GROUP BY state`,
      [one.many.joined.id],
    )
    assert.deepEqual(jobs, [{ state: 'created', tries: 0, count: SHARDS }])
    const kept = await sql(
      'SELECT count(*)::int FROM orthanc_cloud_storage.shards WHERE run = $1 AND remembered IS NOT NULL',
      [one.many.joined.id],
    )
    assert.deepEqual(kept, [{ count: hanging }])
    const two = await member(url, new Counting({ folder }))
    assert.equal(two.many.joined.how, 'joined')
    await two.many.run(never)
    assert.deepEqual(two.many.outcome.tally, { objects: 1000, failures: 0 })
    await hasLines(two.many, keys)
  })

  it('ends as not complete when a shard fails too often, and the same command does what is left', async () => {
    const { url, sql } = await sharedDatabase()
    const { folder, keys } = objectsFolder(600)
    let bad = true
    const pause = async ({ number }: { number: number }) => {
      if (number === 7 && bad) throw new Fault('Unavailable', 'the store is away')
    }
    const one = await member(url, new Counting({ folder, pause }))
    await sql('UPDATE orthanc_cloud_queue.job SET retry_limit = 1')
    await assert.rejects(one.many.run(never), (error: Fault) => {
      assert.ok(isCode(error, 'Unavailable'))
      assert.match(error.describe(), /^1 shard could not be done; 07: the store is away \[Unavailable\]/)
      return true
    })
    assert.deepEqual(
      one.notes.map(line => line.replace(/:.*/, '')),
      ['shard 07 failed and is tried again', 'shard 07 failed for good'],
    )
    assert.equal(one.many.reporter, 'me')
    assert.ok(!one.many.outcome.complete)
    assert.ok(Number(one.many.outcome.tally['objects']) < 600)
    await one.many.reported()
    bad = false
    const again = await member(url, new Counting({ folder, pause }))
    assert.equal(again.many.joined.how, 'again')
    await again.many.run(never)
    assert.equal(again.many.own.shards, 1)
    assert.deepEqual(again.many.outcome.tally, { objects: 600, failures: 0 })
    assert.ok(again.many.outcome.complete)
    await hasLines(again.many, keys)
  })

  it('is left by a machine on which all shards fail, and done by the others', async () => {
    const { url } = await sharedDatabase()
    const { folder } = objectsFolder(300)
    const pause = async () => {
      throw new Fault('Denied', 'the key is wrong')
    }
    const bad = await member(url, new Counting({ folder, pause }))
    await assert.rejects(bad.many.run(never), { code: 'Denied', message: /^4 shards failed here, one after the other/ })
    const good = await member(url, new Counting({ folder }))
    assert.equal(good.many.joined.id, bad.many.joined.id)
    await good.many.run(never)
    assert.deepEqual(good.many.outcome.tally, { objects: 300, failures: 0 })
  })

  it('survives a database that is away in the middle, and counts nothing twice', async () => {
    const { sql, port, name, user } = await sharedDatabase()
    const { folder, keys } = objectsFolder(1000)
    const way = await proxyTo(port)
    let cuts = 0
    const pause = async ({ number }: { number: number }) => {
      if (number % 16 !== 3) return
      cuts++
      way.cut()
      setTimeout(() => way.mend(), 20)
    }
    const options = { patience: { maxRetries: 100, firstDelayMs: 5 } }
    const url = `postgres://${user}@127.0.0.1:${way.port}/${name}`
    const { many } = await member(url, new Counting({ folder, pause }), options)
    const run = many.run(never)
    // What was taken while the answer was lost is nobody's, until its heartbeat is missed.
    const old = setInterval(
      () =>
        sql(`UPDATE orthanc_cloud_queue.job SET heartbeat_on = now() - interval '1 hour'
             WHERE state = 'active' AND heartbeat_on < now() - interval '4 seconds'`).catch(() => {}),
      500,
    )
    await run.finally(() => clearInterval(old))
    assert.ok(cuts >= 16, `${cuts}`)
    assert.deepEqual(many.outcome.tally, { objects: 1000, failures: 0 })
    await hasLines(many, keys)
  })

  it('is left with a clear fault when the database stays away, and nothing of it is lost', async () => {
    const { url, port, name, user } = await sharedDatabase()
    const { folder, keys } = objectsFolder(500)
    const way = await proxyTo(port)
    let seen = 0
    const work = new Counting({
      folder,
      pause: async () => {
        if (++seen === 100) way.cut()
      },
    })
    const options = { patience: { maxRetries: 3, firstDelayMs: 1 } }
    const one = await member(`postgres://${user}@127.0.0.1:${way.port}/${name}`, work, options)
    await assert.rejects(one.many.run(never), (error: Fault) => {
      assert.equal(error.code, 'Unavailable')
      assert.match(error.describe(), /PostgreSQL database queue\d+ on 127\.0\.0\.1:\d+: .*\(after \d+ attempts\)/)
      return true
    })
    await one.many.close()
    const two = await member(url, new Counting({ folder }))
    assert.equal(two.many.joined.id, one.many.joined.id)
    assert.ok(two.many.progress.share > 0.2)
    const stop = new AbortController()
    const run = two.many.run(stop.signal)
    await until('all that nobody holds', async () => two.many.progress.share > 0.9)
    stop.abort(new Fault('Canceled', 'enough'))
    await assert.rejects(run, { code: 'Canceled' })
    const found = keysIn(await linesOf(two.many))
    assert.equal(new Set(found).size, found.length)
    assert.ok(found.every(key => keys.includes(String(key))))
  })

  it('does a step before all shards and one after them once, also when they fail at first', async () => {
    const { url, sql } = await sharedDatabase()
    let failures = 2
    const failOnce = () => {
      if (--failures >= 0) throw new Fault('Unavailable', 'it is away')
    }
    const all = await Promise.all(
      [1, 2].map(() => member(url, new Stepping({ beforeGiven: failOnce, afterLine: failOnce }))),
    )
    const run = all[0]?.many.joined.id
    await Promise.all(
      all.map(async ({ many }) => {
        await many.run(never)
        if (many.reporter === 'me') await many.reported()
      }),
    )
    const [reporter, ...twice] = all.filter(({ many }) => many.reporter === 'me')
    assert.ok(reporter && twice.length === 0)
    const { tally, complete } = reporter.many.outcome
    assert.deepEqual(tally, { failures: 0, before: 1, shards: SHARDS, after: 1, given: 2 * SHARDS })
    assert.ok(complete)
    const lines = await linesOf(reporter.many)
    assert.deepEqual(lines.at(-1), { kind: 'end', lines: SHARDS, shards: SHARDS })
    assert.equal(lines.length, 2 * SHARDS + 1)
    assert.equal(
      all.reduce((sum, { many }) => sum + many.own.shards, 0),
      SHARDS,
    )
    assert.deepEqual(await sql('SELECT 1 FROM orthanc_cloud_storage.given WHERE run = $1', [run]), [])
    const notes = all.flatMap(({ notes: said }) => said.map(note => note.replace(/:.*/, '')))
    assert.ok(notes.includes('the first step failed and is tried again'), `${notes}`)
  })
})
