import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { HybridArea } from '../src/area/hybrid.ts'
import { sourceOf } from '../src/bytes.ts'
import { moveJobs } from '../src/moves/job.ts'
import { moveStorageRoute } from '../src/routes/move-storage.ts'
import { answerRequest, type RouteAnswer } from '../src/wire/router.ts'
import { FakeOrthanc, orthancId } from './support/fake-orthanc.ts'

const never = new AbortController().signal
const POST = 2

describe('POST /move-storage', () => {
  const orthanc = () => {
    const fake = new FakeOrthanc()
    fake.addPatient('p', [1, 1, 2])
    return fake
  }
  const route = moveStorageRoute(moveJobs({ area: {} as HybridArea, concurrency: 1, error: assert.fail }))
  const ask = (body: unknown, fake: FakeOrthanc, method = POST): Promise<RouteAnswer> => {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const request = {
      method,
      uri: '/move-storage',
      query: new Map(),
      headers: new Map(),
      body: sourceOf(Buffer.from(text)),
    }
    return answerRequest([route], request, fake, never)
  }
  const bodyOf = (given: RouteAnswer) => JSON.parse(Buffer.from('body' in given ? given.body : []).toString())
  const study = orthancId('p/0')
  const [series, instance] = [orthancId('p/0/0'), orthancId('p/0/0/1')]
  const valid = { Resources: [study], TargetStorage: 'object-storage', Asynchronous: true }

  for (const method of [1, 3, 4])
    it(`answers 405 to method ${method}`, async () => {
      assert.deepEqual(await ask('', orthanc(), method), { allow: 'POST' })
    })

  it('groups what is asked for and submits a job', async () => {
    const fake = orthanc()
    const Resources = [study, instance, orthancId('p'), series]
    const given = await ask({ ...valid, Resources, Priority: -5 }, fake)
    assert.deepEqual(bodyOf(given), { ID: 'the-job', Path: '/jobs/the-job' })
    const [submitted] = fake.submitted
    const { Patients, Studies, Series, Instances, TargetStorage } = submitted?.job.content() ?? {}
    assert.deepEqual(
      [Patients, Studies, Series, Instances, TargetStorage, submitted?.priority],
      [[orthancId('p')], [study], [series], [instance], 'object-storage', -5],
    )
  })

  it('takes Scope instead of Resources, and DryRun and KeepSource', async () => {
    const fake = orthanc()
    const { Resources: _, ...rest } = valid
    await ask({ ...rest, Scope: 'All', DryRun: true, KeepSource: true }, fake)
    const { Scope, DryRun, KeepSource } = fake.submitted[0]?.job.content() ?? {}
    assert.deepEqual([Scope, DryRun, KeepSource], ['All', true, true])
  })

  for (const [what, body, details] of [
    ['no JSON', '{', /not JSON/],
    ['no object', '[]', /must be a JSON object/],
    ['no Resources', { TargetStorage: 'file-system' }, /"Resources" must be an array/],
    ['Resources that are no array', { ...valid, Resources: study }, /"Resources" must be an array/],
    ['empty Resources', { ...valid, Resources: [] }, /"Resources" is empty/],
    ['a number among Resources', { ...valid, Resources: [study, 1] }, /only strings/],
    ['no TargetStorage', { Resources: [study] }, /"TargetStorage" must be/],
    ['a wrong TargetStorage', { ...valid, TargetStorage: 'cloud' }, /"TargetStorage" must be/],
    ['Asynchronous that is no boolean', { ...valid, Asynchronous: 1 }, /"Asynchronous" must be true or false/],
    ['Synchronous that is no boolean', { ...valid, Synchronous: 'yes' }, /"Synchronous" must be/],
    ['a Priority that is no integer', { ...valid, Priority: 1.5 }, /"Priority" must be an integer/],
    ['a Priority that is no number', { ...valid, Priority: '5' }, /"Priority" must be an integer/],
    ['a Priority out of range', { ...valid, Priority: 2 ** 31 }, /"Priority" must be an integer/],
    ['another Scope', { ...valid, Resources: undefined, Scope: 'Some' }, /"Scope" can only be "All"/],
    ['Scope and Resources', { ...valid, Scope: 'All' }, /exclude each other/],
    ['DryRun that is no boolean', { ...valid, DryRun: 'yes' }, /"DryRun" must be/],
  ] as const)
    it(`answers 400 to ${what}, and says so`, async () => {
      const fake = orthanc()
      const given = await ask(body, fake)
      assert.ok('error' in given && given.error === 8, JSON.stringify(given))
      assert.match(given.details, details)
      assert.equal(fake.submitted.length, 0)
    })

  for (const id of ['', 'unknown', '../system', orthancId('nobody')])
    it(`answers 404 to the resource '${id}', and starts nothing`, async () => {
      const fake = orthanc()
      assert.deepEqual(await ask({ ...valid, Resources: [study, id] }, fake), { error: 17, details: '' })
      assert.equal(fake.submitted.length, 0)
      assert.ok(!fake.asked.some(uri => uri.includes('system')))
    })

  for (const options of [{}, { Synchronous: true }, { Asynchronous: false }, { Synchronous: true, Asynchronous: true }])
    it(`waits for the end with ${JSON.stringify(options)}`, async () => {
      const fake = orthanc()
      const Content = { Studies: [study], Series: [], Instances: [], Patients: [] }
      fake.jobStates = [{ State: 'Pending' }, { State: 'Running' }, { State: 'Success', Content }]
      const given = await ask({ Resources: [study], TargetStorage: 'file-system', ...options }, fake)
      assert.deepEqual(bodyOf(given), Content)
    })

  it('does not wait with Synchronous false', async () => {
    const given = await ask({ ...valid, Asynchronous: undefined, Synchronous: false }, orthanc())
    assert.equal(bodyOf(given).ID, 'the-job')
  })

  it('answers 500 when the job failed, was canceled, or is forgotten', async () => {
    for (const [state, details] of [
      [{ State: 'Failure', Content: { Failed: 3 } }, /^3 files could not be moved, see "Failures" in \/jobs\/the-job$/],
      [{ State: 'Failure', Content: { Failed: 0 } }, /canceled or has failed/],
      [undefined, /Set JobsHistorySize in its configuration to more than 0/],
    ] as const) {
      const fake = orthanc()
      fake.jobStates = [state as never]
      const given = await ask({ Resources: [study], TargetStorage: 'file-system' }, fake)
      assert.ok('error' in given && given.error === 1)
      assert.match(given.details, details)
    }
  })
})
