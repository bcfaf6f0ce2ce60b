/** Processes of a run that are killed, interrupted, or mistaken. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { until } from '../../harness/until.ts'
import { LONG } from '../support/long.ts'
import { program } from '../support/program.ts'
import { newFile, objectsFolder, sharedDatabase, skip } from './support/queue.ts'

interface Run {
  readonly child: ChildProcess
  readonly said: { out: string; err: string }
  readonly ended: Promise<number | null>
}

function start(words: readonly string[], env: Readonly<Record<string, string>> = {}): Run {
  const [command = '', ...args] = words
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const said = { out: '', err: '' }
  child.stdout.on('data', chunk => (said.out += chunk))
  child.stderr.on('data', chunk => (said.err += chunk))
  return { child, said, ended: once(child, 'close').then(([code]) => code as number | null) }
}

function count(folder: string, url: string, json: string, env: Readonly<Record<string, string>> = {}): Run {
  const script = join(import.meta.dirname, 'support', 'count.ts')
  return start([process.execPath, script, folder, url, json], env)
}

const written = (json: string) =>
  readFileSync(json, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map(line => JSON.parse(line))

describe('processes on a queue', { skip }, () => {
  it('do every object once, although three of five are killed in the middle, and one prints the whole report', async () => {
    const { url, sql } = await sharedDatabase()
    const { folder, keys } = objectsFolder(2000)
    const json = newFile() // the same for all: it is the same command
    const victims = [1, 2, 3].map(() => count(folder, url, json, { HANG: '5' }))
    await until(
      () => `hanging: ${victims.map(({ said }) => said.err)}`,
      () => victims.every(({ said }) => said.err.split('hangs').length > 8),
    )
    const others = [1, 2].map(() => count(folder, url, json))
    for (const { child } of victims) child.kill('SIGKILL')
    await Promise.all(victims.map(({ ended }) => ended))
    if (!LONG)
      await sql(
        `UPDATE orthanc_cloud_queue.job SET heartbeat_on = now() - interval '1 hour' WHERE id IN
         (SELECT job FROM orthanc_cloud_storage.shards JOIN orthanc_cloud_storage.workers ON id = worker
          WHERE state = 'taken' AND pid = ANY($1))`,
        [victims.map(({ child }) => child.pid)],
      )
    const runs = await start([...program, 'runs', '--queue', url]).ended
    assert.equal(runs, 0)
    assert.deepEqual(
      await Promise.all(others.map(({ ended }) => ended)),
      [0, 0],
      others.map(o => o.said.err).join('\n'),
    )
    const whole = written(json)
    const { seconds, ...summary } = whole.pop() ?? {}
    assert.ok(seconds > 0)
    assert.deepEqual(summary, { kind: 'summary', complete: true, failures: 0, objects: 2000 })
    assert.deepEqual(
      whole.map(({ key }) => key),
      keys,
    )
    const [reporter, ...twice] = others.filter(({ said }) => said.out !== '')
    assert.ok(reporter && twice.length === 0)
    assert.equal(reporter.said.out.split('\n')[0], 'objects: 2000')
    const helper = others.find(other => other !== reporter) ?? assert.fail()
    const by = `the whole report is printed by process ${reporter.child.pid} on ${hostname()}`
    assert.match(
      helper.said.err,
      new RegExp(`this process did \\d+ of the 256 shards: \\d+ objects counted\n.*${by}\n`),
    )
  })

  it('give back what they have when they are interrupted, and say how it goes on', async () => {
    const { url } = await sharedDatabase()
    const { folder } = objectsFolder(300)
    const json = newFile()
    const one = count(folder, url, json, { HANG: '5' })
    await until('it hangs', () => one.said.err.split('hangs').length > 8)
    const list = start([...program, 'runs', '--queue', url])
    assert.equal(await list.ended, 0)
    assert.match(list.said.out, /^[0-9a-f-]{36} count, begun \S+: running, \d+ %\n {2}\{"folder":"[^\n]*"\}\n/)
    assert.match(
      list.said.out,
      new RegExp(`process ${one.child.pid} on ${hostname()}: \\d+ shards? done, \\d+ a second`),
    )
    one.child.kill('SIGINT')
    assert.equal(await one.ended, 3)
    assert.match(
      one.said.err,
      /nobody works on the run now; the same command goes on where it was\n.*interrupted by SIGINT/,
    )
    const two = count(folder, url, '-')
    assert.equal(await two.ended, 0)
    assert.match(two.said.err, /takes part in run [0-9a-f]{8}, which began/)
    assert.equal(JSON.parse(two.said.out.split('\n').at(-2) ?? '').objects, 300)
    assert.equal(readFileSync(json, 'utf8'), '')
  })
})
