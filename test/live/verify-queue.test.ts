/** `verify --queue`: several processes over a real PostgreSQL, of which one is killed. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { until } from '../../harness/until.ts'
import { LONG } from '../support/long.ts'
import type { IndexFile } from '../support/verify-run.ts'
import { linesOf, VerifySite } from '../support/verify-site.ts'
import { type QueueDatabase, sharedDatabase, skip } from './support/queue.ts'

/** Silent for so long, and others take over: the shortest that there is. */
const options = { deep: true, heartbeatSeconds: 10 } as const

interface Run {
  readonly child: ChildProcess
  readonly said: { out: string; err: string }
  readonly ended: Promise<number | null>
}

function filled(): VerifySite {
  const site = new VerifySite()
  for (let i = 0; i < 300; i++) site.add({ text: `file ${i}` })
  for (let i = 0; i < 5; i++) site.add({ lost: true })
  const damaged = site.add({ text: 'as it was' })
  site.write(`${damaged.uuid}.dcm`, 'as it is!')
  for (let i = 0; i < 3; i++) site.write(`${randomUUID()}.dcm`, 'an orphan')
  site.write(`${randomUUID()}.dcm`, 'just stored', { fresh: true })
  return site
}

function start(site: VerifySite, { url }: QueueDatabase, event?: IndexFile['event']): Run {
  const json = join(site.folder, 'report')
  const [command, ...args] = site.words({ ...options, queue: url, json }, event ? { event } : {})
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const said = { out: '', err: '' }
  child.stdout.on('data', chunk => (said.out += chunk))
  child.stderr.on('data', chunk => (said.err += chunk))
  return { child, said, ended: once(child, 'close').then(([code]) => code as number | null) }
}

/** The short form does not wait for the heartbeats that it misses: its jobs are as pg-boss makes them then. */
async function kill({ child, ended }: Run, { sql }: QueueDatabase): Promise<void> {
  child.kill('SIGKILL')
  await ended
  if (LONG) return
  await sql(
    `UPDATE orthanc_cloud_queue.job SET state = 'retry', retry_count = retry_count + 1, start_after = now()
     WHERE state = 'active' AND id IN
     (SELECT job FROM orthanc_cloud_storage.shards JOIN orthanc_cloud_storage.workers ON id = worker
      WHERE state = 'taken' AND pid = $1)`,
    [child.pid],
  )
}

const hangs = ({ said }: Run) =>
  until(
    () => `it hangs: ${said.err}`,
    () => said.err.includes('hangs'),
  )

const takesPart = ({ said }: Run) =>
  until(
    () => said.err,
    () => said.err.includes('takes part in run'),
  )

/** The findings and the summary, without what two runs need not have in common. */
function known(file: string) {
  const lines = linesOf(file)
  const { seconds: _, places, ...summary } = lines.pop()
  const counts = places.map(({ strangers: __, ...place }: Record<string, unknown>) => place)
  return { lines: lines.map(line => JSON.stringify(line)).sort(), summary, counts }
}

describe('verify on a queue', { skip }, () => {
  it('finds what one process finds, although the one that reads the index is killed', async () => {
    const site = filled()
    const whole = join(site.folder, 'whole')
    assert.equal(site.run({ deep: true, json: whole }).status, 1)
    const database = await sharedDatabase()
    const first = start(site, database, 'hangs')
    await hangs(first)
    const others = [start(site, database), start(site, database)]
    await Promise.all(others.map(takesPart))
    await kill(first, database)
    const codes = await Promise.all(others.map(({ ended }) => ended))
    assert.deepEqual(codes, [1, 1], others.map(({ said }) => said.err).join())
    assert.deepEqual(known(join(site.folder, 'report')), known(whole))
    const [reporter, ...twice] = others.filter(({ said }) => said.out !== '')
    assert.ok(reporter && twice.length === 0)
    assert.match(reporter.said.out, /\nmissing: 5\n(.*\n)*orphan: 3\n/)
    const helper = others.find(other => other !== reporter)
    assert.match(helper?.said.err ?? '', /the whole report is printed by process/)
    assert.deepEqual(await database.sql('SELECT 1 FROM orthanc_cloud_storage.given'), [])
  })

  it('is finished by others when the one that looks again is killed', { skip: !LONG }, async () => {
    const site = filled()
    const whole = join(site.folder, 'whole')
    assert.equal(site.run({ deep: true, json: whole }).status, 1)
    const database = await sharedDatabase()
    const first = start(site, database, 'hangs last')
    await hangs(first)
    const other = start(site, database)
    await takesPart(other)
    await kill(first, database)
    assert.equal(await other.ended, 1, other.said.err)
    assert.deepEqual(known(join(site.folder, 'report')), known(whole))
  })

  it('is shared by three at a time, and one of them may die in its shards', { skip: !LONG }, async () => {
    const site = filled()
    const whole = join(site.folder, 'whole')
    site.run({ deep: true, json: whole })
    const database = await sharedDatabase()
    const all = [1, 2, 3].map(() => start(site, database))
    const [victim, ...others] = all as [Run, Run, Run]
    await until('some shards', async () => {
      const [row] = await database.sql(
        `SELECT count(*)::int AS taken FROM orthanc_cloud_storage.shards
         JOIN orthanc_cloud_storage.workers ON id = worker WHERE pid = $1 AND shard BETWEEN 0 AND 255`,
        [victim.child.pid],
      )
      return Number(row?.['taken']) > 0
    })
    await kill(victim, database)
    const codes = await Promise.all(others.map(({ ended }) => ended))
    assert.deepEqual(codes, [1, 1], others.map(({ said }) => said.err).join())
    assert.deepEqual(known(join(site.folder, 'report')), known(whole))
  })

  it('is not finished when the index cannot be read, and says so', async () => {
    const site = filled()
    const database = await sharedDatabase()
    const one = start(site, database, 'fails')
    // It is not tried five times.
    await until('the job of the first step', async () => {
      const rows = await database.sql(
        `UPDATE orthanc_cloud_queue.job SET retry_limit = retry_count WHERE state IN ('active', 'retry') RETURNING 1`,
      )
      return rows.length > 0
    })
    const code = await one.ended
    assert.equal(code, 3)
    assert.match(one.said.err, /the first step could not be done: the index is away/)
    assert.equal(one.said.out.split('\n')[0], 'This report is partial: not everything could be looked at.')
    if (!LONG) return
    const again = start(site, database)
    assert.equal(await again.ended, 1, again.said.err)
    assert.match(again.said.err, /goes on with run/)
  })
})
