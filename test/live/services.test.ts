/** Routes, jobs, metrics and calls into Orthanc, in the real Orthanc, with an engine made for this test. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { until } from '../../harness/until.ts'

const Engine = new URL('support/services-engine.ts', import.meta.url).pathname

describe('what the engine does beside the storage area', () => {
  let folder: string
  let orthanc: OrthancProcess
  const start = async () => {
    orthanc = await startOrthanc({ config: { CloudStorage: { Engine } }, dir: folder })
  }

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-services-'))
    await start()
  })
  after(async () => {
    await orthanc?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const post = (uri: string, body: unknown = '') => orthanc.postJson(uri, Buffer.from(JSON.stringify(body)))
  const failure = async (uri: string) => {
    const { status, body } = await orthanc.request('GET', uri)
    return { status, ...JSON.parse(body.toString()) }
  }
  const job = (id: string, states: readonly string[]) => orthanc.job(id, states)
  /** Waits until a job has counted to this number. */
  const counted = (id: string, count: number) =>
    until(`job ${id} to count to ${count}`, async () => {
      const seen = await orthanc.getJson(`/jobs/${id}`)
      return seen.Content.Count >= count && seen
    })

  describe('routes', () => {
    it('see the groups of their pattern, whatever the query is', async () => {
      assert.deepEqual((await orthanc.getJson('/tiny/echo/abc?one=1&two')).groups, ['abc'])
    })

    for (const size of [0, 1, 262_144, 262_145, 3_000_000])
      it(`take and give a body of ${size} bytes`, async () => {
        const body = Buffer.alloc(size, 'body')
        const answer = await orthanc.request('POST', '/tiny/echo/abc', body)
        assert.equal(answer.status, 200)
        assert.deepEqual(answer.body, body)
      })

    it('answer 405 with Allow and no body for another method', async () => {
      const answer = await orthanc.request('DELETE', '/tiny/echo/abc')
      assert.deepEqual([answer.status, answer.headers['allow'], answer.body.length], [405, 'GET,POST,PUT', 0])
    })

    it('can answer another status', async () => {
      assert.equal((await orthanc.request('PUT', '/tiny/echo/abc', Buffer.from('x'))).status, 204)
    })

    it('answer what the caller did wrong as Orthanc does, with Details', async () => {
      const answer = await failure('/tiny/fail/BadRequest')
      assert.deepEqual(
        [answer.status, answer.HttpStatus, answer.Message, answer.Details, answer.Uri],
        [400, 400, 'Bad request', 'what went wrong', '/tiny/fail/BadRequest'],
      )
      const missing = await failure('/tiny/fail/NotFound')
      assert.deepEqual([missing.status, missing.Message], [404, 'Unknown resource'])
    })

    it('answer other faults with their status and log one line', async () => {
      const answer = await failure('/tiny/fail/Unavailable')
      assert.deepEqual([answer.status, answer.Details], [503, undefined])
      assert.match(answer.Message, /object storage is not available/)
      await orthanc.logged(/E.*cannot try: what went wrong \[Unavailable\]/)
    })

    it('ask Orthanc, in parallel, for what is there and what is not', async () => {
      const { ID, ParentStudy } = await orthanc.postJson('/instances', makeImage({ seed: 1, rows: 8, columns: 8 }))
      const uris = ['/instances', '/studies/nonsense', `/studies/${ParentStudy}`, '/statistics']
      const [instances, nonsense, study, statistics] = await post('/tiny/ask', uris)
      assert.deepEqual([instances, nonsense, study.ID, statistics.CountInstances], [[ID], 'absent', ParentStudy, 1])
      assert.deepEqual(await post('/tiny/lookup'), [ParentStudy])
    })
  })

  it('sets metrics when Prometheus asks', async () => {
    const text = (await orthanc.getBytes('/tools/metrics-prometheus')).toString()
    assert.match(text, /^tiny_files \d+/m)
    // Orthanc 1.12.1 and newer have whole numbers; older ones have floats.
    assert.match(text, /^tiny_bytes (123456789012 |1\.234567\d*e\+11 )/m)
  })

  it('extends Orthanc Explorer', async () => {
    const script = (await orthanc.getBytes('/plugins/explorer.js')).toString()
    assert.match(script, /\/\/ tiny extension x{5000} end/)
  })

  describe('jobs', () => {
    it('run with type, content, progress and priority', async () => {
      const { ID } = await post('/tiny/count', { To: 20, Hold: 5, Priority: -7 })
      const { State, Progress } = await counted(ID, 5)
      assert.deepEqual([State, Progress], ['Running', 25])
      await post('/tiny/release')
      const done = await job(ID, ['Success'])
      assert.deepEqual([done.Type, done.Priority, done.Progress, done.Content.Count], ['Count', -7, 100, 20])
      await orthanc.logged(/job to 20 stopped at 20/)
    })

    it('can be waited for', async () => {
      assert.equal((await post('/tiny/count', { To: 5, Wait: true })).Count, 5)
      const answer = await orthanc.request('POST', '/tiny/count', Buffer.from('{"To": 5, "FailAt": 2, "Wait": true}'))
      assert.deepEqual([answer.status, JSON.parse(answer.body.toString()).Details], [500, 'the job failed'])
    })

    it('fail, keeping their content, and begin again when resubmitted', async () => {
      const { ID } = await post('/tiny/count', { To: 5, FailAt: 3 })
      const first = await job(ID, ['Failure'])
      assert.equal(first.Content.Count, 3)
      await orthanc.logged(/job to 5 stopped at 3/)
      await post(`/jobs/${ID}/resubmit`)
      const again = await until('the second failure', async () => {
        const seen = await job(ID, ['Failure'])
        return seen.CompletionTime !== first.CompletionTime && seen
      })
      assert.equal(again.Content.Count, 3)
    })

    it('pause, resume and are canceled', async () => {
      const { ID } = await post('/tiny/count', { To: 1_000_000 })
      await job(ID, ['Running'])
      await post(`/jobs/${ID}/pause`)
      const paused = await job(ID, ['Paused'])
      await orthanc.logged(new RegExp(`job to 1000000 stopped at ${paused.Content.Count}\\b`))
      await post(`/jobs/${ID}/resume`)
      await counted(ID, paused.Content.Count + 1)
      await post(`/jobs/${ID}/cancel`)
      const canceled = await job(ID, ['Failure'])
      await orthanc.logged(new RegExp(`job to 1000000 stopped at ${canceled.Content.Count}\\b`))
    })

    it('go on after the death of the engine', async () => {
      await orthanc.stop()
      await start() // what was released before is held again
      const { ID } = await post('/tiny/count', { To: 30, Hold: 10 })
      const { Content: before } = await counted(ID, 10)
      process.kill(before.Engine, 'SIGKILL')
      await until(
        'the next engine',
        async () => (await orthanc.getJson(`/jobs/${ID}`)).Content.Engine !== before.Engine,
      )
      assert.equal((await orthanc.getJson(`/jobs/${ID}`)).Content.Count, 10)
      await post('/tiny/release')
      const { Content: done } = await job(ID, ['Success', 'Failure'])
      assert.equal(done.Count, 30)
    })

    it('go on after a restart of Orthanc, and ended ones keep their content', async () => {
      await orthanc.stop()
      await start()
      const { ID } = await post('/tiny/count', { To: 20, Hold: 10 })
      const ended = (await post('/tiny/count', { To: 2 })).ID
      await job(ended, ['Success'])
      await counted(ID, 10)
      await orthanc.stop()
      await start()
      const again = await orthanc.getJson(`/jobs/${ID}`)
      assert.equal(again.Content.Count, 10)
      assert.deepEqual((await orthanc.getJson(`/jobs/${ended}`)).Content.Count, 2)
      await post('/tiny/release')
      assert.equal((await job(ID, ['Success'])).Content.Count, 20)
    })

    it('are submitted once even when the engine dies right afterwards', async () => {
      await orthanc.stop()
      await start()
      const before = (await orthanc.getJson('/jobs')).length
      assert.equal((await post('/tiny/count', { To: 5, Wait: true, Die: true })).Count, 5)
      assert.equal((await orthanc.getJson('/jobs')).length, before + 1)
    })

    it('do not keep Orthanc from stopping, nor does a request that waits for one', async () => {
      const body = JSON.stringify({ To: 20, Hold: 10, Wait: true })
      const waiting = orthanc.request('POST', '/tiny/count', Buffer.from(body))
      await until('the job', async () =>
        (await orthanc.getJson('/jobs?expand')).some((seen: { State: string }) => seen.State === 'Running'),
      )
      // The job never ends, so Orthanc waits for neither when it stops by itself.
      await Promise.all([
        orthanc.stop(),
        waiting.then(
          answer => assert.equal(answer.status, 503),
          () => {},
        ),
      ])
      assert.doesNotMatch(orthanc.log(), /cannot .*: Orthanc is stopping$/m, 'the plugin had to send a call away')
      await start()
      const jobs = await orthanc.getJson('/jobs?expand')
      assert.equal(jobs.filter((seen: { State: string }) => seen.State === 'Running').length, 1)
    })
  })
})
