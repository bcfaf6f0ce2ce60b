import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Attachment } from '../src/area/area.ts'
import type { HybridArea } from '../src/area/hybrid.ts'
import type { MoveOutcome } from '../src/area/move.ts'
import { Fault } from '../src/fault.ts'
import { moveJobs } from '../src/moves/job.ts'
import type { ResourceLevel } from '../src/moves/walk.ts'
import type { Job, JsonObject, StepOutcome } from '../src/orthanc.ts'
import { FakeOrthanc } from './support/fake-orthanc.ts'

const never = new AbortController().signal

type Move = (attachment: Attachment, signal: AbortSignal) => Promise<MoveOutcome>

/** A hybrid area of which only the order of things matters here; its bytes are tested in hybrid.test.ts. */
function stage(move: Move = async () => 'moved', stepMs = 5) {
  const moved: string[] = []
  const errors: string[] = []
  const seen = { running: 0, most: 0 }
  const area = {
    async move(attachment: Attachment, _to: string, _options: object, signal: AbortSignal) {
      seen.most = Math.max(seen.most, ++seen.running)
      try {
        const outcome = await move(attachment, signal)
        moved.push(attachment.uuid)
        return outcome
      } finally {
        seen.running--
      }
    },
    async locate() {
      return { 'file-system': { key: 'k', size: 1 } }
    },
  } as unknown as HybridArea
  const kind = moveJobs({ area, concurrency: 4, error: line => void errors.push(line), stepMs })
  return { kind, moved, errors, seen }
}

const request = (groups: Partial<Record<ResourceLevel, string[]>> | undefined, more = {}) => ({
  resources: groups && { Patients: [], Studies: [], Series: [], Instances: [], ...groups },
  target: 'object-storage' as const,
  dryRun: false,
  keepSource: false,
  ...more,
})

async function run(job: Job, orthanc: FakeOrthanc, after: (steps: number) => void | Promise<void> = () => {}) {
  for (let steps = 1; ; steps++) {
    const outcome: StepOutcome = await job.step(orthanc, never)
    JSON.parse(JSON.stringify([job.content(), job.serialize()]))
    await after(steps)
    if (outcome !== 'continue') return outcome
  }
}

const count = (job: Job, name: string) => job.content()[name] as JsonObject
const uuids = (orthanc: FakeOrthanc) => orthanc.files().map(file => file.uuid)

describe('a move job', () => {
  it('moves the files of every level, several at a time, each once', async () => {
    const orthanc = new FakeOrthanc()
    const patient = orthanc.addPatient('p', [2, 3, 10])
    const four = Promise.withResolvers<void>()
    const { kind, moved, seen } = stage(async () => {
      if (seen.running === 4) four.resolve()
      await four.promise
      return 'moved'
    })
    const job = kind.create(request({ Patients: [patient] }))
    assert.equal(await run(job, orthanc), 'success')
    assert.deepEqual(moved.toSorted(), uuids(orthanc).toSorted())
    assert.deepEqual(count(job, 'Moved'), { Files: 69, Bytes: 690 })
    assert.equal(seen.most, 4)
    assert.equal(job.progress(), 1)
  })

  it('moves mixed resources and nothing else', async () => {
    const orthanc = new FakeOrthanc()
    orthanc.addPatient('other', [1, 1, 5])
    const before = new Set(uuids(orthanc))
    orthanc.addPatient('p', [2, 1, 2])
    const [, study = ''] = orthanc.idsOf('studies')
    const instances = orthanc.idsOf('instances').slice(-1)
    const { kind, moved } = stage()
    await run(kind.create(request({ Studies: [study], Instances: instances })), orthanc)
    assert.equal(moved.filter(uuid => before.has(uuid)).length, 0)
    assert.equal(moved.length, 5)
  })

  it('shows what it is asked for and how far it is', async () => {
    const orthanc = new FakeOrthanc()
    const Patients = [orthanc.addPatient('p', [4, 4, 4])]
    const { kind } = stage(async () => {
      await turn()
      return 'moved'
    })
    const job = kind.create(request({ Patients }))
    let last = 0
    await run(job, orthanc, () => {
      assert.ok(job.progress() >= last && job.progress() <= 1)
      last = job.progress()
    })
    const { Studies, Patients: shown, TargetStorage } = job.content()
    assert.deepEqual([Studies, shown, TargetStorage], [[], Patients, 'object-storage'])
  })

  it('goes on after a failure, ends as one, and says which and why', async () => {
    const orthanc = new FakeOrthanc()
    const patient = orthanc.addPatient('p', [1, 1, 20])
    const [bad, lost] = orthanc.files('instances')
    const { kind, moved, errors } = stage(async ({ uuid }) => {
      if (uuid === bad?.uuid) throw new Fault('Denied', 'no permission')
      return uuid === lost?.uuid ? 'missing' : 'moved'
    })
    const job = kind.create(request({ Patients: [patient] }))
    assert.equal(await run(job, orthanc), 'failure')
    assert.equal(moved.length, 22)
    assert.equal(count(job, 'Moved')['Files'], 21)
    const failures = job.content()['Failures'] as JsonObject[]
    assert.deepEqual([job.content()['Failed'], failures.length, errors.length], [2, 2, 2])
    const reasons = failures.map(({ Attachment, Uuid, Reason }) => `${Attachment} ${Uuid} ${Reason}`).join('\n')
    assert.match(reasons, new RegExp(`^/instances/.*/attachments/dicom ${bad?.uuid} no permission \\[Denied\\]$`, 'm'))
    assert.match(reasons, new RegExp(`${lost?.uuid} .*neither on the file system nor in the object storage`))
  })

  it('does not count what Orthanc deleted meanwhile', async () => {
    const orthanc = new FakeOrthanc()
    const patient = orthanc.addPatient('p', [1, 1, 20])
    const [instance = ''] = orthanc.idsOf('instances')
    const [gone] = orthanc.files('instances')
    const { kind } = stage(async ({ uuid }) => {
      if (uuid !== gone?.uuid) return 'moved'
      orthanc.remove(instance)
      return 'missing'
    })
    const job = kind.create(request({ Patients: [patient] }))
    assert.equal(await run(job, orthanc), 'success')
    assert.equal(job.content()['Failed'], 0)
  })

  it('goes on where it was, from the text of any step, and counts each file once', async t => {
    let clock = 0 // a step lasts until four moves have ended, however long they take
    t.mock.method(performance, 'now', () => clock)
    const orthanc = new FakeOrthanc()
    const patients = ['a', 'b', 'c'].map(name => orthanc.addPatient(name, [2, 2, 4]))
    for (let stopAfter = 1; ; stopAfter++) {
      const there = new Set<string>()
      const move: Move = async ({ uuid }) => {
        await turn()
        clock++
        if (there.has(uuid)) return 'already-there'
        there.add(uuid)
        return 'moved'
      }
      const { kind } = stage(move, 4)
      const first = kind.create(request({ Patients: patients }))
      let ended = false
      for (let steps = 0; steps < stopAfter && !ended; steps++)
        ended = (await first.step(orthanc, never)) !== 'continue'
      if (ended) {
        assert.ok(stopAfter > 3, 'it never stopped in the middle')
        return
      }
      const text = JSON.stringify(first.serialize())
      await first.stop() // as sudden as a death: what is under way is not waited for
      const counted = Number(count(first, 'Moved')['Files'])
      const { kind: next, moved } = stage(move, 4)
      const second = next.restore(JSON.parse(text))
      assert.equal(await run(second, orthanc), 'success')
      assert.deepEqual([...there].toSorted(), uuids(orthanc).toSorted())
      const files = Number(count(second, 'Moved')['Files']) + Number(count(second, 'AlreadyThere')['Files'])
      assert.equal(files, uuids(orthanc).length)
      assert.equal(moved.length, files - counted)
    }
  })

  it('lets go of everything when it stops', async () => {
    const orthanc = new FakeOrthanc()
    const patient = orthanc.addPatient('p', [1, 1, 50])
    const { kind, seen } = stage(
      (_attachment, signal) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    )
    const job = kind.create(request({ Patients: [patient] }))
    while (seen.running < 4) assert.equal(await job.step(orthanc, never), 'continue')
    await job.stop()
    assert.equal(seen.running, 0)
    assert.equal(job.content()['Failed'], 0)
  })

  it('begins again when it is reset', async () => {
    const orthanc = new FakeOrthanc()
    const patient = orthanc.addPatient('p', [1, 1, 3])
    const { kind } = stage(async () => {
      throw new Fault('Unavailable', 'down')
    })
    const failed = kind.create(request({ Patients: [patient] }))
    assert.equal(await run(failed, orthanc), 'failure')
    const again = stage().kind.restore(failed.serialize())
    again.reset()
    assert.deepEqual([again.progress(), again.content()['Failed']], [0, 0])
    assert.equal(await run(again, orthanc), 'success')
    assert.equal(count(again, 'Moved')['Files'], 6)
  })

  it('repeats a question of which Orthanc made a mess, without losing or doubling', async () => {
    const orthanc = new FakeOrthanc()
    const patient = orthanc.addPatient('p', [2, 2, 3])
    let asked = 0
    orthanc.fails = () => ++asked % 11 === 0
    const { kind } = stage(undefined, 600_000) // only a failure ends a step
    const job = kind.create(request({ Patients: [patient] }))
    for (let tries = 0; tries < 100; tries++)
      if ((await job.step(orthanc, never).catch(() => 'continue')) === 'success') break
    assert.equal(count(job, 'Moved')['Files'], uuids(orthanc).length)
  })

  it('counts a file once when a question fails between it and the next one of its resource', async () => {
    const orthanc = new FakeOrthanc()
    orthanc.addPatient('p', [1, 1, 1])
    const [instance = ''] = orthanc.idsOf('instances')
    const files = orthanc.resources.get(instance)?.files
    files?.set('1026', { uuid: 'deadbeef-0000-4000-8000-000000000000', type: 1026, size: 10 })
    const { kind } = stage(async ({ uuid }) => {
      if (uuid.startsWith('deadbeef')) throw new Fault('Unavailable', 'not this one')
      return 'moved'
    })
    const job = kind.create(request({ Instances: [instance] }))
    let failed = false
    // Once when the job asks whether the file that failed is still there.
    let infos = 0
    orthanc.fails = uri => {
      if (!uri.endsWith('/1026/info') || ++infos !== 2) return false
      failed = true
      return true
    }
    let outcome: StepOutcome = 'continue'
    while (outcome === 'continue') outcome = await job.step(orthanc, never).catch((): StepOutcome => 'continue')
    assert.ok(failed)
    assert.equal(outcome, 'failure')
    assert.deepEqual([count(job, 'Moved')['Files'], job.content()['Failed']], [1, 1])
  })

  it('gives up when nothing works any more', async () => {
    const orthanc = new FakeOrthanc()
    const patient = orthanc.addPatient('p', [1, 1, 1000])
    const { kind, errors } = stage(async () => {
      throw new Fault('Unavailable', 'down')
    })
    const job = kind.create(request({ Patients: [patient] }))
    assert.equal(await run(job, orthanc), 'failure')
    assert.ok(Number(job.content()['Failed']) < 300)
    assert.match(errors.at(-1) ?? '', /the job gives up/)
  })

  it('names every lost file, however many, and moves all others', async () => {
    const orthanc = new FakeOrthanc()
    const patient = orthanc.addPatient('p', [1, 1, 600])
    const files = uuids(orthanc)
    const lost = new Set(files.slice(100, 450))
    const { kind } = stage(async attachment => {
      if (lost.has(attachment.uuid)) throw new Fault('NotFound', 'lost')
      return 'moved'
    })
    const job = kind.create(request({ Patients: [patient] }))
    assert.equal(await run(job, orthanc), 'failure')
    assert.deepEqual([job.content()['Failed'], count(job, 'Moved')['Files']], [350, files.length - 350])
  })

  it('only counts in a dry run', async () => {
    const orthanc = new FakeOrthanc()
    const patient = orthanc.addPatient('p', [1, 1, 3])
    const { kind, moved } = stage()
    const job = kind.create(request({ Patients: [patient] }, { dryRun: true }))
    assert.equal(await run(job, orthanc), 'success')
    assert.deepEqual(moved, [])
    assert.deepEqual(
      [count(job, 'OnFileSystem'), count(job, 'OnObjectStorage')],
      [
        { Files: 6, Bytes: 60 },
        { Files: 0, Bytes: 0 },
      ],
    )
  })

  it('refuses a text that is not its own', () => {
    const { kind } = stage()
    const own = kind.create(request({})).serialize()
    const odd = [{}, { Version: 2 }, { Version: 1, Cursor: {} }]
    for (const name of ['TargetStorage', 'Progress', 'Cursor', 'Results', 'Patients'])
      for (const value of ['x', -1, { toString: 1 }, [5]]) odd.push({ ...own, [name]: value })
    for (const text of odd) assert.throws(() => kind.restore(text), { code: 'BadRequest' })
  })
})

describe('a move of everything', () => {
  const many = (patients: number) => {
    const orthanc = new FakeOrthanc()
    for (let i = 0; i < patients; i++) orthanc.addPatient(`p${i}`, [1, 1, 1])
    return orthanc
  }

  for (const patients of [0, 1, 99, 100, 101, 350])
    it(`finds ${patients} patients page by page`, async () => {
      const orthanc = many(patients)
      const { kind, moved } = stage()
      assert.equal(await run(kind.create(request(undefined)), orthanc), 'success')
      assert.deepEqual(moved.toSorted(), uuids(orthanc).toSorted())
      assert.ok(orthanc.asked.filter(uri => uri.startsWith('/patients?')).length <= 2 + patients / 90)
    })

  it('misses nobody when patients are deleted and come meanwhile', async () => {
    const orthanc = many(350)
    const all = orthanc.idsOf('patients')
    let moves = 0
    const { kind, moved } = stage(async () => {
      if (++moves === 300) for (const id of all.slice(0, 60)) orthanc.remove(id)
      if (moves === 500) orthanc.addPatient('late')
      return 'moved'
    })
    assert.equal(await run(kind.create(request(undefined)), orthanc), 'success')
    const seen = new Set(moved)
    assert.deepEqual(
      uuids(orthanc).filter(uuid => !seen.has(uuid)),
      [],
    )
  })

  it('goes on from its text, also when the patient it was at is gone', async () => {
    for (const deleted of [false, true]) {
      const orthanc = many(250)
      const { kind, moved } = stage(undefined, 1)
      const first = kind.create(request(undefined))
      while (first.progress() < 0.5) await first.step(orthanc, never)
      await first.stop()
      const state = first.serialize()
      if (deleted) orthanc.remove((state['Cursor'] as { Path: string[] }).Path[0] as string)
      assert.equal(await run(kind.restore(state), orthanc), 'success')
      const seen = new Set(moved)
      assert.deepEqual(
        uuids(orthanc).filter(uuid => !seen.has(uuid)),
        [],
      )
    }
  })

  it('does nothing again when the patient it was at is deleted, with some before it, however far it is', async () => {
    for (const restored of [false, true]) {
      const orthanc = many(900)
      const all = orthanc.idsOf('patients')
      let deleted = false
      const { kind, moved } = stage(undefined, 1)
      let job = kind.create(request(undefined))
      const after = async () => {
        const { Top, Path } = (job.serialize()['Cursor'] ?? {}) as { Top: number; Path: string[] }
        if (deleted || Top < 600) return
        deleted = true
        const at = all.indexOf(Path[0] as string)
        for (const id of all.slice(at - 10, at + 1)) orthanc.remove(id)
        if (!restored) return
        await job.stop()
        job = kind.restore(job.serialize())
      }
      for (let outcome: StepOutcome = 'continue'; outcome === 'continue'; ) {
        outcome = await job.step(orthanc, never)
        await after()
      }
      assert.ok(deleted)
      const seen = new Set(moved)
      assert.deepEqual(
        uuids(orthanc).filter(uuid => !seen.has(uuid)),
        [],
      )
      assert.ok(moved.length - seen.size < 100, `${moved.length - seen.size} files were moved twice`)
    }
  })
})
