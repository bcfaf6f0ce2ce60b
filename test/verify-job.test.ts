/** The job `VerifyStorage`, over an Orthanc that is played and stores in memory. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readdirSync, readlinkSync } from 'node:fs'
import { describe, it } from 'node:test'
import { Fault } from '../src/fault.ts'
import type { Job } from '../src/orthanc.ts'
import type { Indexed } from '../src/orthanc-index/orthanc-index.ts'
import { Jobs } from '../src/wire/jobs.ts'
import { at, countsOf, namedIn, stageOf } from './support/verify-job-stage.ts'
import { never, type Site } from './support/verify-stage.ts'

/** An object that the index does not have. */
async function plantOrphan(site: Site): Promise<string> {
  const key = site.keyOf({ uuid: randomUUID(), type: 'dicom' })
  await site.put(site.store, key, Buffer.from('nobody knows it'))
  return key
}

const nothing = { missing: 0, 'wrong size': 0, corrupt: null, 'unknown key': null, orphan: 0, double: 0, leftover: 0 }
/** What this process has open there. Their names are gone from the beginning on. */
function scratchFiles(folder: string): string[] {
  const links = readdirSync('/proc/self/fd').map(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return '' // that of the look itself
    }
  })
  return links.filter(link => link.startsWith(folder)).concat(readdirSync(folder))
}

/** The text as Orthanc's database has it. */
const saved = (job: Job) => JSON.parse(JSON.stringify(job.serialize()))

describe('a job VerifyStorage', () => {
  for (const version of ['1.10.1', '1.12.5'])
    for (const encryption of ['none', 'on'] as const)
      for (const structure of ['flat', 'legacy'] as const)
        it(`finds what is wrong, and nothing else: Orthanc ${version}, ${structure}, encryption ${encryption}`, async () => {
          const { site, orthanc, log, engine, run } = await stageOf({ encryption, structure }, version)
          const well = engine().create(at({ Deep: true }))
          assert.equal(await run(well), 'success')
          const { Complete, BelongTogether, Files, Failed, Phase, Read, Places } = well.content()
          const files = orthanc.rows()
          const read = { Files: files.length, Bytes: 10 * files.length, WithoutMD5: files.length }
          assert.deepEqual(
            { Complete, BelongTogether, Files, Failed, Phase, Read },
            { Complete: true, BelongTogether: true, Files: files.length, Failed: 0, Phase: 'ended', Read: read },
          )
          assert.equal((Places as { Objects: number }[])[0]?.Objects, files.length)
          assert.deepEqual(countsOf(well), { ...nothing, corrupt: 0, 'unknown key': 0 })
          assert.equal(well.progress(), 1)
          assert.deepEqual(log.length, 1)
          assert.match(log[0] ?? '', /^info .*; nothing found$/)

          const [first, second] = files as [Indexed, Indexed]
          await site.store.remove(site.keyOf(first), never)
          await site.put(site.store, site.keyOf(second), Buffer.from('too short'))
          const orphan = await plantOrphan(site)
          log.length = 0
          const job = engine().create(at())
          assert.equal(await run(job), 'success', 'findings do not make it fail')
          const wrong = [`missing ${site.keyOf(first)}`, `wrong size ${site.keyOf(second)}`, `orphan ${orphan}`]
          assert.deepEqual(namedIn(job), wrong.sort())
          assert.deepEqual(countsOf(job), { ...nothing, missing: 1, 'wrong size': 1, orphan: 1 })
          for (const line of wrong)
            assert.ok(
              log.some(said => said.startsWith(`warn verification: ${line.replace(/ (?=\S*$)/, ': ')}`)),
              line,
            )
          assert.match(log.at(-1) ?? '', /^warn .*; missing: 1, wrong size: 1, orphan: 1$/)
        })

  it('reads both tiers of a hybrid mode, and tells a key that nobody has', async () => {
    const { site, orthanc, engine, run } = await stageOf({ hybrid: true, encryption: 'on' })
    const [twice, foreign] = orthanc.rows() as [Indexed, Indexed]
    assert.ok(site.disk)
    await site.put(site.disk, site.keyOf(twice, 'disk'), Buffer.alloc(10, 'x'))
    await site.put(site.store, site.keyOf(foreign), Buffer.alloc(10, 'x'), 'stranger')
    const job = engine().create(at({ Deep: true }))
    assert.equal(await run(job), 'success')
    assert.deepEqual(namedIn(job), [`double ${site.keyOf(twice, 'disk')}`, `unknown key ${site.keyOf(foreign)}`])
    assert.equal((job.content()['Places'] as unknown[]).length, 2)
  })

  it('shows so many findings of each kind, logs fewer, and counts all', async () => {
    const { site, orthanc, log, engine, run } = await stageOf()
    for (let i = 0; i < 150; i++) await plantOrphan(site)
    await site.store.remove(site.keyOf(orthanc.rows()[0] as never), never)
    const job = engine().create(at())
    assert.equal(await run(job), 'success')
    assert.deepEqual(countsOf(job), { ...nothing, missing: 1, orphan: 150 })
    assert.equal(namedIn(job).length, 101)
    assert.equal(log.filter(line => line.includes('verification: orphan: ')).length, 20)
    assert.equal(log.filter(line => line.includes('verification: missing: ')).length, 1)
    assert.ok(JSON.stringify(saved(job)).length < 100_000)
  })

  it('does not call an orphan what waits in the journal of removals, or is young', async () => {
    const { site, engine, run } = await stageOf()
    const [promised, young] = [await plantOrphan(site), await plantOrphan(site)]
    site.store.young.add(young)
    const job = engine({
      promised:
        async () =>
        ({ key }) =>
          key === promised,
    }).create(at({ OlderThan: '24h' }))
    assert.equal(await run(job), 'success')
    const { InJournalOfRemovals, TooYoung } = job.content()
    assert.deepEqual([namedIn(job), InJournalOfRemovals, TooYoung], [[], 1, 1])
  })

  it('says that index and store do not belong together', async () => {
    const { site, orthanc, log, engine, run } = await stageOf()
    for (const file of orthanc.rows()) await site.store.remove(site.keyOf(file), never)
    const job = engine().create(at())
    assert.equal(await run(job), 'success')
    assert.equal(job.content()['BelongTogether'], false)
    assert.match(log.join('\n'), /warn verification: The index .* probably do not belong together/)
  })

  it('looks at several files at once, with one question at a time about each', async () => {
    const { site, engine, run } = await stageOf({ encryption: 'on, and plain objects are read' })
    for (let i = 0; i < 40; i++) await plantOrphan(site)
    const { stat } = site.store
    let [running, most] = [0, 0]
    site.store.stat = async (key, signal) => {
      most = Math.max(most, ++running)
      await new Promise(setImmediate)
      return await stat(key, signal).finally(() => running--)
    }
    assert.equal(await run(engine({ concurrency: 3 }).create(at())), 'success')
    assert.equal(most, 3)
  })
})

describe('a job VerifyStorage that is broken off', () => {
  it('asks again what a step could not ask to its end', async () => {
    for (const how of ['Orthanc stops', 'the connection breaks'] as const) {
      const { site, orthanc, engine, step } = await stageOf()
      const orphan = await plantOrphan(site)
      let questions = 0
      let stop = new AbortController()
      orthanc.beforeAnswer = () => {
        if (++questions % 7 !== 0) return
        if (how === 'Orthanc stops') throw new Fault('Canceled', 'Orthanc is stopping')
        stop.abort(new Fault('Canceled', 'Orthanc gave up waiting'))
        throw new Fault('Internal', 'the conversation with the plugin is broken')
      }
      const jobs = new Jobs(engine())
      const text = JSON.stringify(engine().create(at()).serialize())
      let outcome = 'continue'
      for (let steps = 0; outcome === 'continue'; steps++) {
        assert.ok(steps < 500, 'it comes to its end')
        stop = new AbortController()
        outcome = (await jobs.step(1, text, orthanc, stop.signal))[1]
      }
      const [job] = jobs.running as [Job]
      assert.equal(outcome, 'success', how)
      assert.deepEqual(namedIn(job), [`orphan ${orphan}`])
      assert.equal(await step(job), 'success')
    }
  })

  it('goes on between steps, and waits as long as no step comes', async () => {
    const { engine, orthanc, step, run } = await stageOf()
    const job = engine({ stepMs: 0 }).create(at())
    assert.equal(await step(job), 'continue')
    const asked = orthanc.asked.length
    for (let i = 0; i < 100; i++) await new Promise(setImmediate)
    assert.equal(orthanc.asked.length, asked)
    assert.equal(job.content()['Phase'], 'listing')
    assert.equal(await run(job), 'success')
  })

  it('begins again after a pause, and in the next engine', async () => {
    const { site, engine, runUntil, run, folder, log } = await stageOf()
    const orphan = await plantOrphan(site)
    for (const how of ['a pause', 'another engine'] as const) {
      const before = engine()
      const job = before.create(at({ Settle: '9d' })) // it waits for that when something is too much
      await runUntil(job, 'looking again')
      const text = saved(job)
      assert.ok(scratchFiles(folder).length > 0)
      assert.ok(Number(text.Progress) > 0)
      await job.stop()
      assert.deepEqual(scratchFiles(folder), [])
      await site.store.remove(orphan, never)
      const next = (how === 'a pause' ? before : engine()).restore({ ...text, Type: undefined })
      assert.equal(next.content()['Phase'], 'looking again', 'until it begins, it shows what it was')
      assert.equal(await run(next), 'success')
      assert.deepEqual([namedIn(next), next.content()['ChangedMeanwhile']], [[], 0])
      assert.deepEqual(
        log.filter(line => !line.startsWith('info')),
        [],
      )
      await site.put(site.store, orphan, Buffer.from('again'))
    }
  })

  it('stops in each phase, at once, and leaves nothing', async () => {
    const { site, engine, step, folder } = await stageOf()
    await plantOrphan(site)
    const kind = engine({ stepMs: 0 })
    for (let steps = 1; steps < 40; steps += 3) {
      const job = kind.create(at({ Deep: true, Settle: '9d' }))
      for (let i = 0; i < steps; i++) assert.equal(await step(job), 'continue')
      await job.stop()
      assert.deepEqual(scratchFiles(folder), [])
    }
  })

  it('shows how it ended after a restart, and does not run again before it is reset', async () => {
    const { site, orthanc, engine, run, step } = await stageOf()
    const orphan = await plantOrphan(site)
    const job = engine().create(at())
    await run(job)
    const asked = orthanc.asked.length
    const later = engine().restore(saved(job))
    assert.deepEqual([later.content(), later.progress()], [job.content(), 1])
    assert.equal(await step(later), 'success')
    assert.equal(orthanc.asked.length, asked)
    later.reset()
    assert.deepEqual([later.progress(), later.content()['Phase'], namedIn(later)], [0, 'waiting', []])
    assert.equal(await run(later), 'success')
    assert.deepEqual(namedIn(later), [`orphan ${orphan}`])
  })

  it('refuses a text that is not its own', async () => {
    const { engine } = await stageOf()
    const text = engine().create(at()).serialize()
    for (const wrong of [
      {},
      { ...text, Kind: 'Prefetch' },
      { ...text, Version: 2 },
      { ...text, Request: 3 },
      { ...text, Request: { ...at(), OlderThan: 'soon' } },
      { ...text, Content: [] },
      { ...text, Content: { Found: [[[[[[[[[[]]]]]]]]]] } },
      { ...text, Progress: 2 },
      { ...text, Outcome: 'continue' },
    ])
      assert.throws(() => engine().restore(wrong), { code: 'BadRequest' })
  })
})

describe('a job VerifyStorage that fails', () => {
  it('says of which files nothing is known, and looks at the others', async () => {
    const { site, orthanc, log, engine, run } = await stageOf()
    const [gone, away] = orthanc.rows() as [Indexed, Indexed]
    for (const file of [gone, away]) await site.store.remove(site.keyOf(file), never)
    const { stat } = site.store
    site.store.stat = async (key, signal) => {
      if (key.includes(away.uuid)) throw new Fault('Unavailable', 'no answer')
      return await stat(key, signal)
    }
    const job = engine().create(at())
    assert.equal(await run(job), 'failure')
    assert.deepEqual(namedIn(job), [`missing ${site.keyOf(gone)}`])
    const { Complete, Failed, Failures, Phase } = job.content()
    assert.deepEqual([Complete, Failed, Failures, Phase], [false, 1, [{ Reason: 'no answer [Unavailable]' }], 'ended'])
    assert.equal(log.filter(line => line === 'error verification: no answer [Unavailable]').length, 1)
  })

  it('calls nothing missing when the store, its listing or the index is away', async () => {
    const away = () => Promise.reject(new Fault('Unavailable', 'no answer'))
    for (const what of ['store', 'listing', 'index'] as const) {
      const { site, orthanc, log, engine, run, folder } = await stageOf()
      const { list } = site.store
      if (what === 'store') site.store.check = away
      if (what === 'index') orthanc.fails = uri => uri.startsWith('/series/')
      if (what === 'listing')
        site.store.list = async function* (prefix, signal) {
          yield* list(prefix, signal)
          await away()
        }
      const job = engine().create(at())
      assert.equal(await run(job), 'failure', what)
      const { Complete, BelongTogether, Reason } = job.content()
      assert.deepEqual([Complete, BelongTogether, namedIn(job)], [false, null, []])
      assert.match(String(Reason), /\[Unavailable\]/)
      assert.match(log.join('\n'), /^error verification: it did not come to its end: .*\[Unavailable\]/)
      assert.deepEqual(scratchFiles(folder), [])
    }
  })

  it('repeats a question that Orthanc could not answer at once', async () => {
    const { orthanc, engine, run } = await stageOf()
    const failed = new Set<string>()
    orthanc.fails = uri => !failed.has(uri) && Boolean(failed.add(uri))
    assert.equal(await run(engine().create(at())), 'success')
  })

  it('names the command line when Orthanc has more than one answer holds', async () => {
    const { orthanc, engine, run } = await stageOf()
    orthanc.beforeAnswer = uri => {
      if (uri === '/patients')
        throw new Fault('TooLarge', "Orthanc's answer to GET /patients is larger than 16777216 bytes")
    }
    const job = engine().create(at())
    assert.equal(await run(job), 'failure')
    assert.match(String(job.content()['Reason']), /\[TooLarge\]\. .*Run "orthanc-cloud-storage verify".*PostgreSQL/)
  })

  it('names TMPDIR when the scratch file cannot be made', async () => {
    const { engine, run } = await stageOf()
    const job = engine({ folder: '/nowhere/at/all' }).create(at())
    assert.equal(await run(job), 'failure')
    assert.match(String(job.content()['Reason']), /no scratch file .*Name another folder with TMPDIR/)
  })

  it('does not run beside another one, and leaves its place in any way to end', async () => {
    const { site, engine, run, runUntil } = await stageOf()
    await plantOrphan(site)
    const kind = engine()
    const first = kind.create(at({ Settle: '9d' }))
    await runUntil(first, 'looking again')
    const second = kind.create(at())
    assert.equal(await run(second), 'failure')
    assert.match(String(second.content()['Reason']), /another verification runs.*Resubmit this job/)
    await second.stop()
    assert.equal(await run(kind.create(at())), 'failure', 'the first one still has its place')
    await first.stop()
    for (let i = 0; i < 2; i++) assert.equal(await run(kind.create(at())), 'success')
  })
})
