/** `POST /cloud-storage/verify`: what it submits, and what it refuses. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { sourceOf } from '../src/bytes.ts'
import type { Json } from '../src/orthanc.ts'
import { verifyRoute } from '../src/routes/verify.ts'
import { answerRequest, type RouteAnswer } from '../src/wire/router.ts'
import { stageOf } from './support/verify-job-stage.ts'
import { never } from './support/verify-stage.ts'

const POST = 2

async function setting(jobs: Readonly<Record<string, Json>> = {}) {
  const { orthanc, engine } = await stageOf()
  orthanc.instead = uri => {
    if (uri === '/jobs') return Object.keys(jobs)
    const [, id] = /^\/jobs\/(.*)$/.exec(uri) ?? []
    return id === undefined ? undefined : jobs[id]
  }
  const ask = (body: unknown, method = POST): Promise<RouteAnswer> => {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const request = { method, uri: '/cloud-storage/verify', body: sourceOf(Buffer.from(text)) }
    return answerRequest([verifyRoute(engine())], request, orthanc, never)
  }
  return { orthanc, ask }
}

const parsed = (answer: RouteAnswer) => 'body' in answer && JSON.parse(Buffer.from(answer.body).toString())

describe('POST /cloud-storage/verify', () => {
  it('submits a job of its type, with what the command line has as defaults', async () => {
    const { orthanc, ask } = await setting()
    assert.deepEqual(parsed(await ask({ Asynchronous: true, Priority: 7 })), { ID: 'the-job', Path: '/jobs/the-job' })
    const [{ job, priority } = {}] = orthanc.submitted
    const { Digests, Deep, OlderThan, Settle, Phase } = job?.content() ?? {}
    assert.deepEqual([job?.type, priority], ['VerifyStorage', 7])
    assert.deepEqual([Digests, Deep, OlderThan, Settle, Phase], [false, false, '24h', '1m', 'waiting'])
  })

  for (const [given, shown] of [
    ['7d', '7d'],
    ['90m', '90m'],
    ['0', '0'],
    [36, '36h'],
    [0, '0h'],
  ] as const)
    it(`takes the age ${JSON.stringify(given)}`, async () => {
      const { orthanc, ask } = await setting()
      await ask({ Synchronous: false, OlderThan: given, Deep: true, Digests: true })
      const { Digests, Deep, OlderThan } = orthanc.submitted[0]?.job.content() ?? {}
      assert.deepEqual([Digests, Deep, OlderThan], [true, true, shown])
    })

  it('answers with the content of the job when it waits for it', async () => {
    const { ask } = await setting({ 'the-job': { Type: 'VerifyStorage', State: 'Success', Content: { Files: 3 } } })
    assert.deepEqual(parsed(await ask({})), { Files: 3 })
    const failed = await setting({ 'the-job': { Type: 'VerifyStorage', State: 'Failure', Content: { Failed: 2 } } })
    const answer = await failed.ask({})
    assert.deepEqual(answer, { error: 1, details: '2 files could not be looked at, see "Failures" in /jobs/the-job' })
  })

  for (const [what, body] of [
    ['no JSON', '{'],
    ['an array', []],
    ['an age without a unit', { OlderThan: '24' }],
    ['an age that is no whole number', { OlderThan: 1.5 }],
    ['a negative age', { OlderThan: -1 }],
    ['an age that is neither', { OlderThan: true }],
    ['a time to settle in numbers', { Settle: 60 }],
    ['a flag that is no boolean', { Deep: 1 }],
    ['a misspelt option', { deep: true }],
    ['a folder for the scratch file', { Scratch: '/etc' }],
    ['a name of the prototype', '{"__proto__": 1}'],
    ['a priority that is none', { Priority: 'high' }],
    ['an option of jobs that is no boolean', { Synchronous: 1 }],
  ] as const)
    it(`refuses ${what}`, async () => {
      const { orthanc, ask } = await setting()
      const given = await ask(body)
      assert.equal('error' in given && given.error, 8)
      assert.deepEqual(orthanc.submitted, [])
    })

  for (const State of ['Pending', 'Running', 'Retry'])
    it(`refuses a second one while the first is ${State}, and names it`, async () => {
      const jobs = { one: { Type: 'Prefetch', State }, two: { Type: 'VerifyStorage', State } }
      const { orthanc, ask } = await setting(jobs)
      const answer = await ask({ Asynchronous: true })
      assert.deepEqual(answer, { error: 8, details: 'a verification is under way already: /jobs/two' })
      assert.deepEqual(orthanc.submitted, [])
    })

  it('takes one beside those that have ended, are paused or are gone', async () => {
    const jobs = ['Success', 'Failure', 'Paused'].map(State => [State, { Type: 'VerifyStorage', State }] as const)
    const { orthanc, ask } = await setting({ ...Object.fromEntries(jobs), gone: null })
    await ask({ Asynchronous: true })
    assert.equal(orthanc.submitted.length, 1)
    assert.deepEqual(await ask('', 1), { allow: 'POST' })
  })
})
