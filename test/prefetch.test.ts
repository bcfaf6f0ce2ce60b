/** `POST /cloud-storage/prefetch` and its job, over an Orthanc and a storage area that are played. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Attachment, StorageArea } from '../src/area/area.ts'
import { type Content, sourceOf } from '../src/bytes.ts'
import { compose } from '../src/compose.ts'
import { parseConfig } from '../src/config/config.ts'
import { Fault } from '../src/fault.ts'
import { logTo } from '../src/log.ts'
import type { Job, JsonObject, StepOutcome } from '../src/orthanc.ts'
import { type PrefetchOptions, prefetchJobs } from '../src/prefetch/job.ts'
import { prefetchRoute } from '../src/routes/prefetch.ts'
import { Jobs } from '../src/wire/jobs.ts'
import { answerRequest, type RouteAnswer } from '../src/wire/router.ts'
import { FakeOrthanc, orthancId } from './support/fake-orthanc.ts'

const never = new AbortController().signal
const POST = 2

function stage(read: (file: Attachment) => Promise<void> = async () => {}, more: Partial<PrefetchOptions> = {}) {
  const asked: string[] = []
  const errors: string[] = []
  const seen = { running: 0, most: 0 }
  const area = {
    async deliver<T>(file: Attachment, range: unknown, use: (content: Content) => Promise<T>): Promise<T> {
      assert.equal(range, undefined)
      seen.most = Math.max(seen.most, ++seen.running)
      try {
        await turn()
        await read(file)
        asked.push(file.uuid)
        return await use({ size: 3, body: sourceOf(Buffer.from('abc')).open() })
      } finally {
        seen.running--
      }
    },
  } as unknown as StorageArea
  const error = (line: string) => void errors.push(line)
  const kind = prefetchJobs({ area, isOn: () => true, concurrency: 4, error, stepMs: 5, ...more })
  return { kind, asked, errors, seen }
}

const patients = (...ids: string[]) => ({ Patients: ids, Studies: [], Series: [], Instances: [] })
const uuids = (orthanc: FakeOrthanc) => orthanc.files().map(({ uuid }) => uuid)

async function run(job: Job, orthanc: FakeOrthanc): Promise<StepOutcome> {
  for (;;) {
    const outcome = await job.step(orthanc, never)
    if (outcome !== 'continue') return outcome
  }
}

describe('a prefetch job', () => {
  it('reads the files of every level whole, several at a time, each once', async () => {
    const orthanc = new FakeOrthanc()
    const id = orthanc.addPatient('p', [2, 2, 3])
    const { kind, asked, seen } = stage()
    const job = kind.create(patients(id))
    assert.equal(await run(job, orthanc), 'success')
    assert.deepEqual(asked.toSorted(), uuids(orthanc).toSorted())
    assert.equal(seen.most, 4)
    assert.deepEqual(job.content()['Read'], { Files: asked.length, Bytes: 10 * asked.length })
    assert.equal(job.progress(), 1)
  })

  it('goes on from its text after any step, and counts each file once', async () => {
    const orthanc = new FakeOrthanc()
    const ids = ['a', 'b'].map(name => orthanc.addPatient(name, [2, 2, 4]))
    const { kind, asked } = stage(async () => {}, { stepMs: 0 })
    let job = kind.create(patients(...ids))
    // stepMs 0: each step ends at once, so each text is one of the middle.
    let steps = 0
    for (; steps < 3; steps++) await job.step(orthanc, never)
    const slow = stage().kind.create(patients(...ids))
    assert.equal(await slow.step(orthanc, never).then(() => true), true)
    const text = JSON.stringify(slow.serialize())
    await slow.stop()
    job = stage().kind.restore(JSON.parse(text))
    assert.equal(await run(job, orthanc), 'success')
    assert.equal((job.content()['Read'] as JsonObject)['Files'], uuids(orthanc).length)
    assert.ok(asked.length <= uuids(orthanc).length)
  })

  it('says which files it could not read, and why; not those that Orthanc has deleted meanwhile', async () => {
    const orthanc = new FakeOrthanc()
    const id = orthanc.addPatient('p', [1, 1, 3])
    const [bad, deleted] = orthanc.files('instances')
    const { kind, errors } = stage(async ({ uuid }) => {
      if (uuid === deleted?.uuid) orthanc.remove(orthancId('p/0/0/1'))
      if (uuid === bad?.uuid || uuid === deleted?.uuid) throw new Fault('NotFound', 'no such key')
    })
    const job = kind.create(patients(id))
    assert.equal(await run(job, orthanc), 'failure')
    const { Failed, Failures } = job.content()
    assert.equal(Failed, 1)
    assert.match(JSON.stringify(Failures), new RegExp(`${bad?.uuid}.*no such key`))
    assert.equal(errors.length, 1)
  })

  it('gives up when nothing can be read, and when the cache is off', async () => {
    const orthanc = new FakeOrthanc()
    const id = orthanc.addPatient('p', [1, 4, 40])
    const away = stage(() => Promise.reject(new Fault('Unavailable', 'no answer')))
    assert.equal(await run(away.kind.create(patients(id)), orthanc), 'failure')
    assert.match(away.errors.at(-1) ?? '', /gives up, because nothing can be read/)
    const off = stage(undefined, { isOn: () => false })
    assert.equal(await run(off.kind.create(patients(id)), orthanc), 'failure')
    assert.match(off.errors.join(), /because the cache is off/)
    assert.deepEqual(off.asked, [])
  })

  it('begins again when it is reset, and refuses a text that is not its own', async () => {
    const orthanc = new FakeOrthanc()
    const id = orthanc.addPatient('p')
    const { kind, asked } = stage()
    const job = kind.create(patients(id))
    await run(job, orthanc)
    await job.stop()
    job.reset()
    assert.equal(job.progress(), 0)
    assert.equal(await run(job, orthanc), 'success')
    assert.equal(asked.length, 2 * uuids(orthanc).length)
    const text = job.serialize()
    for (const wrong of [
      {},
      { ...text, Kind: 'MoveStorage' },
      { ...text, Version: 2 },
      { ...text, Read: 3 },
      { ...text, Cursor: [] },
    ])
      assert.throws(() => kind.restore(wrong), { code: 'BadRequest' })
  })

  it('is told apart from a job of another kind', () => {
    const { kind } = stage()
    const other = { type: 'MoveStorage', restore: () => assert.fail('the wrong kind') }
    const jobs = new Jobs(other, kind)
    assert.deepEqual(jobs.types, ['MoveStorage', 'Prefetch'])
    const text = JSON.stringify({ ...kind.create(patients('x')).serialize(), Type: 'Prefetch' })
    assert.equal(jobs.restore(text).type, 'Prefetch')
  })
})

describe('the composition with a prefetch', () => {
  for (const [MaxConnections, expected] of [
    [1, 1],
    [4, 2],
    [100, 8],
  ] as const)
    it(`leaves Orthanc at least half of ${MaxConnections} connections`, () => {
      const AwsS3Storage = { BucketName: 'b', Region: 'r', AccessKey: 'a', SecretKey: 's', MaxConnections }
      const { config } = parseConfig(JSON.stringify({ AwsS3Storage }), '/etc/orthanc', '1.13.0')
      assert.ok(config)
      assert.equal(
        compose(
          config,
          logTo(() => {}),
        ).prefetchedAtOnce,
        expected,
      )
    })
})

describe('POST /cloud-storage/prefetch', () => {
  const setting = (jobs = stage().kind as ReturnType<typeof prefetchJobs> | undefined, isOn = true) => {
    const orthanc = new FakeOrthanc()
    orthanc.addPatient('p')
    const route = prefetchRoute(jobs, () => isOn)
    const ask = (body: unknown, method = POST): Promise<RouteAnswer> => {
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      const request = { method, uri: '/cloud-storage/prefetch', body: sourceOf(Buffer.from(text)) }
      return answerRequest([route], request, orthanc, never)
    }
    return { orthanc, ask }
  }
  const valid = { Resources: [orthancId('p')], Asynchronous: true }

  it('submits a job of its type', async () => {
    const { orthanc, ask } = setting()
    const given = await ask({ ...valid, Priority: 7 })
    assert.ok('body' in given)
    assert.deepEqual(JSON.parse(Buffer.from(given.body).toString()), { ID: 'the-job', Path: '/jobs/the-job' })
    const [{ job, priority } = {}] = orthanc.submitted
    assert.deepEqual([job?.type, job?.content()['Patients'], priority], ['Prefetch', [orthancId('p')], 7])
  })

  for (const [what, body, error] of [
    ['no JSON', '{', 8],
    ['an array', [], 8],
    ['no resources', {}, 8],
    ['an empty array of resources', { Resources: [] }, 8],
    ['a resource that is no string', { Resources: [3] }, 8],
    ['an unknown resource', { Resources: [orthancId('nobody')] }, 17],
    ['an empty resource', { Resources: [''] }, 17],
    ['a priority that is none', { ...valid, Priority: 'high' }, 8],
    ['an option that is no boolean', { ...valid, Synchronous: 1 }, 8],
  ] as const)
    it(`refuses ${what}`, async () => {
      const { orthanc, ask } = setting()
      const given = await ask(body)
      assert.equal('error' in given && given.error, error)
      assert.deepEqual(orthanc.submitted, [])
    })

  it('says that there is no cache, or that it is off', async () => {
    const none = prefetchRoute(undefined, () => false)
    const request = { method: POST, uri: '/cloud-storage/prefetch', body: sourceOf(Buffer.from(JSON.stringify(valid))) }
    const without = await answerRequest([none], request, new FakeOrthanc(), never)
    assert.deepEqual(without, {
      error: 8,
      details: 'there is no cache: set CloudStorage.Cache in the configuration of Orthanc',
    })
    const off = await setting(undefined, false).ask(valid)
    assert.equal('error' in off && off.error, 1)
    assert.deepEqual(await setting().ask('', 1), { allow: 'POST' })
  })
})
