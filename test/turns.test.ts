/** Two processes that move files between the same two places. */
import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { Attachment } from '../src/area/area.ts'
import { hybridArea } from '../src/area/hybrid.ts'
import type { MoveTurns } from '../src/area/turns.ts'
import { Fault } from '../src/fault.ts'
import { moveJobs } from '../src/moves/job.ts'
import type { MoveRequest } from '../src/moves/state.ts'
import type { Job, JsonObject } from '../src/orthanc.ts'
import type { Store } from '../src/stores/store.ts'
import { FakeOrthanc } from './support/fake-orthanc.ts'
import { memoryStore } from './support/memory-store.ts'
import { type Mover, Movers, shareOf, waitsFor } from './support/movers.ts'
import {
  digests,
  fileBytes,
  fileSystem,
  moveKnownByMd5,
  moveOptions,
  never,
  newFile,
  objectStorage,
  readWhole,
  storeOn,
  tierOf,
  tiersHolding,
} from './support/tiers.ts'

describe('moves of two processes', () => {
  let movers: Movers
  const stores = { [fileSystem]: memoryStore('disk'), [objectStorage]: memoryStore('cloud') }
  beforeEach(() => {
    movers = new Movers()
  })
  afterEach(() => movers.dispose())

  /** The area of one process over the stores that all share. */
  const areaOf = (turns: MoveTurns, disk: (store: Store) => Store = store => store) =>
    hybridArea({
      tiers: {
        [fileSystem]: tierOf(fileSystem, disk(stores[fileSystem])),
        [objectStorage]: tierOf(objectStorage, stores[objectStorage]),
      },
      primary: fileSystem,
      digests,
      turns,
      warn: () => {},
    })
  /** A disk on which removals stop until they are told to go on. */
  function slowRemovals() {
    const begun = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const disk = (store: Store): Store => ({
      ...store,
      async remove(...args) {
        begun.resolve()
        await goOn.promise
        await store.remove(...args)
      },
    })
    return { disk, begun: begun.promise, goOn: goOn.resolve }
  }

  for (const options of [moveOptions, moveKnownByMd5])
    it(`never lose a file when one was paused in its removal (${options === moveOptions ? 'no' : 'with'} MD5)`, async () => {
      const [a, b] = [movers.add(), movers.add()]
      const file = newFile()
      await storeOn(stores, fileSystem, file)
      const slow = slowRemovals()
      await shareOf(a)
      const moving = areaOf(a.lease, slow.disk).move(file, objectStorage, options, never)
      await slow.begun
      a.paused = true
      await movers.pass(40, b)
      const back = areaOf(b.lease).move(file, fileSystem, options, never)
      await assert.rejects(back, /may still remove the copy that would remain.*/)
      assert.deepEqual(await tiersHolding(stores, file), [fileSystem, objectStorage])
      slow.goOn()
      assert.equal(await moving, 'moved')
      assert.deepEqual(await tiersHolding(stores, file), [objectStorage])
      assert.equal(await areaOf(b.lease).move(file, fileSystem, options, never), 'moved')
      assert.deepEqual(await readWhole(areaOf(b.lease), file), fileBytes)
    })

  for (const noticed of [false, true])
    it(`never lose a file when one was paused before its removal${noticed ? ', and finds the turn free again' : ''}`, async () => {
      const [a, b] = [movers.add(), movers.add()]
      const file = newFile()
      await storeOn(stores, fileSystem, file)
      await shareOf(a)
      const before = Promise.withResolvers<void>()
      const goOn = Promise.withResolvers<void>()
      const paused: MoveTurns = {
        take: () => a.lease.take(),
        async removing(...args) {
          before.resolve()
          await goOn.promise
          await a.lease.removing(...args)
        },
      }
      const moving = areaOf(paused).move(file, objectStorage, moveOptions, never)
      await before.promise
      a.paused = true
      const taken = await movers.pass(40, b)
      assert.equal(await areaOf(b.lease).move(file, fileSystem, moveOptions, never), 'moved')
      if (noticed) {
        await taken?.end()
        a.paused = false
        await movers.pass(1)
        assert.equal(await waitsFor(a), 'host-0', 'no new turn before its last one has ended')
      }
      goOn.resolve()
      await assert.rejects(moving, /lost its turn/)
      assert.deepEqual(await tiersHolding(stores, file), [fileSystem])
    })

  describe('as jobs', () => {
    const request = (id: string, more: Partial<MoveRequest> = {}): MoveRequest => ({
      resources: { Patients: [id], Studies: [], Series: [], Instances: [] },
      target: objectStorage,
      dryRun: false,
      keepSource: false,
      ...more,
    })
    const step = (job: Job, orthanc: FakeOrthanc) => job.step(orthanc, never)
    async function run(job: Job, orthanc: FakeOrthanc) {
      for (;;) {
        const outcome = await step(job, orthanc)
        if (outcome !== 'continue') return outcome
      }
    }
    const moved = (job: Job) => (job.content()['Moved'] as JsonObject)['Files']
    const attachmentOf = ({ uuid, type }: { uuid: string; type: number }): Attachment => ({
      uuid,
      type: type === 1 ? 'dicom' : 'unknown',
    })
    async function archive(instances: number) {
      const orthanc = new FakeOrthanc()
      const patient = orthanc.addPatient('p', [1, 1, instances], fileBytes.byteLength)
      const files = orthanc.files().map(attachmentOf)
      for (const file of files) await storeOn(stores, fileSystem, file)
      return { orthanc, patient, files }
    }
    function node(mover: Mover, disk?: (store: Store) => Store) {
      const lines: string[] = []
      const log = (line: string) => void lines.push(line)
      const area = areaOf(mover.lease, disk)
      const kind = moveJobs({ area, turns: mover.lease, concurrency: 2, warn: log, error: log, stepMs: 5 })
      return { kind, lines, area }
    }

    it('wait for each other, say for whom, and both end', async () => {
      const [a, b] = [movers.add(), movers.add()]
      const { orthanc, patient, files } = await archive(20)
      const share = await shareOf(a)
      const { kind, lines } = node(b)
      const job = kind.create(request(patient))
      assert.equal(await step(job, orthanc), 'continue')
      const { Host, Process, Since } = job.content()['WaitsFor'] as JsonObject
      assert.deepEqual([Host, Process, typeof Since], ['host-0', 7, 'string'])
      assert.equal(await step(job, orthanc), 'continue')
      assert.deepEqual(lines, ['a move waits: it is the turn of process 7 on host-0'])
      await share.end()
      assert.equal(await run(job, orthanc), 'success')
      assert.equal(job.content()['WaitsFor'], undefined)
      assert.equal(moved(job), files.length)
      assert.deepEqual(movers.names(), [])
    })

    it('give their turn back when they are paused', async () => {
      const [a, b] = [movers.add(), movers.add()]
      const { orthanc, patient } = await archive(1)
      const job = node(a).kind.create(request(patient))
      await step(job, orthanc)
      await job.stop()
      await (await shareOf(b)).end()
      assert.deepEqual(movers.names(), [])
    })

    it('go on after their turn was lost and came back, and count each file once', async t => {
      const [a, b] = [movers.add(), movers.add()]
      const { orthanc, patient, files } = await archive(20)
      const slow = slowRemovals()
      const { kind, lines } = node(a, slow.disk)
      const job = kind.create(request(patient))
      assert.equal(await step(job, orthanc), 'continue')
      await slow.begun
      a.paused = true
      const taken = await movers.pass(40, b)
      a.paused = false
      await movers.pass(1)
      slow.goOn()
      assert.equal(await step(job, orthanc), 'continue')
      t.mock.timers.enable({ apis: ['setTimeout'] })
      let asksAgain = false
      const waiting = step(job, orthanc).then(() => {
        asksAgain = true
      })
      while (!job.content()['WaitsFor']) await setImmediate()
      for (let i = 0; i < 50; i++) await setImmediate()
      assert.equal(asksAgain, false, 'it does not ask without a pause')
      t.mock.timers.tick(5)
      await waiting
      t.mock.timers.reset()
      await taken?.end()
      assert.equal(await run(job, orthanc), 'success')
      const there = (job.content()['AlreadyThere'] as JsonObject)['Files']
      assert.equal(Number(moved(job)) + Number(there), files.length)
      assert.deepEqual([job.content()['Failed'], lines.length], [0, 1], lines.join('\n'))
      for (const file of files) assert.deepEqual(await tiersHolding(stores, file), [objectStorage])
    })

    it('fail at once where no turn can be had, and say why; copies go on', async () => {
      const a = movers.add()
      a.disk.refuses = 'EROFS'
      const { orthanc, patient, files } = await archive(1)
      const { kind, lines } = node(a)
      const job = kind.create(request(patient))
      assert.equal(await run(job, orthanc), 'failure')
      assert.match(
        String(job.content()['Refusal']),
        /EROFS.*each must be allowed to make, rename and remove files.*copied away with "KeepSource"/,
      )
      assert.match(lines.join('\n'), /cannot move.*EROFS.*\[Denied\].*must be allowed/)
      const copy = kind.create(request(patient, { keepSource: true }))
      assert.equal(await run(copy, orthanc), 'success')
      assert.equal(moved(copy), files.length)
    })

    it('wait for a disk that is away, but not for ever', async () => {
      const a = movers.add()
      a.disk.refuses = 'EIO'
      const { orthanc, patient, files } = await archive(1)
      const { kind, lines } = node(a)
      const job = kind.create(request(patient))
      for (let i = 0; i < 10; i++) assert.equal(await step(job, orthanc), 'continue')
      assert.match(lines.join('\n'), /^a move waits: EIO.*\[Unavailable\][^\n]*$/)
      a.disk.refuses = undefined
      assert.equal(await run(job, orthanc), 'success')
      assert.equal(moved(job), files.length)
      a.disk.refuses = 'EIO'
      assert.equal(await run(kind.create(request(patient, { target: fileSystem })), orthanc), 'failure')
    })

    it('end what is under way when there is no turn any more', async () => {
      const [a, b] = [movers.add(), movers.add()]
      a.disk.refuses = 'ENOSPC'
      const { orthanc, patient, files } = await archive(20)
      const slow = slowRemovals()
      const { kind } = node(a, slow.disk)
      const job = kind.create(request(patient))
      assert.equal(await step(job, orthanc), 'continue')
      await slow.begun
      const share = await shareOf(b)
      const waiting = step(job, orthanc)
      slow.goOn()
      assert.equal(await waiting, 'continue')
      const there = await Promise.all(files.map(async file => (await tiersHolding(stores, file)).includes(fileSystem)))
      await setImmediate()
      const still = await Promise.all(files.map(async file => (await tiersHolding(stores, file)).includes(fileSystem)))
      assert.deepEqual(still, there)
      assert.ok(there.filter(Boolean).length >= files.length - 2, 'only what was under way')
      await share.end()
      a.disk.refuses = undefined
      assert.equal(await run(job, orthanc), 'success')
    })

    it('move away from a full disk', async () => {
      const a = movers.add()
      a.disk.refuses = 'ENOSPC'
      const { orthanc, patient, files } = await archive(2)
      const { kind } = node(a)
      const away = kind.create(request(patient))
      assert.equal(await run(away, orthanc), 'success')
      assert.equal(moved(away), files.length)
      assert.equal(await run(kind.create(request(patient, { target: fileSystem })), orthanc), 'failure')
    })

    for (const shared of [true, false])
      it(`${shared ? 'remove' : 'need not look for'} the copy of a file that was deleted meanwhile`, async () => {
        const a = movers.add()
        const { orthanc, patient, files } = await archive(3)
        orthanc.system = { DatabaseBackendPlugin: shared ? '/usr/share/orthanc/plugins/libIndex.so' : null }
        const [instance = ''] = orthanc.idsOf('instances')
        const deleted = attachmentOf(orthanc.files('instances')[0] as { uuid: string; type: number })
        // Another Orthanc takes it out of the index, and removes it, before our copy is there.
        const { kind } = node(a, disk => ({
          ...disk,
          async remove(key, signal) {
            await disk.remove(key, signal)
            if (shared && key.includes(deleted.uuid)) orthanc.remove(instance)
          },
        }))
        const job = kind.create(request(patient))
        assert.equal(await run(job, orthanc), 'success')
        assert.deepEqual([moved(job), job.content()['Failed']], [files.length - (shared ? 1 : 0), 0])
        assert.deepEqual(await tiersHolding(stores, deleted), shared ? [] : [objectStorage])
        const asked = orthanc.asked.filter(uri => uri.endsWith('/info')).length
        assert.equal(asked, shared ? 2 * files.length : files.length)
      })

    it('say it when such a copy cannot be removed', async () => {
      const a = movers.add()
      const { orthanc, patient } = await archive(1)
      orthanc.system = { DatabaseBackendPlugin: 'libIndex.so' }
      const { kind, lines, area } = node(a, disk => ({
        ...disk,
        async remove(key, signal) {
          await disk.remove(key, signal)
          orthanc.remove(patient)
        },
      }))
      area.remove = () => Promise.reject(new Fault('Denied', 'no permission to delete'))
      const job = kind.create(request(patient))
      assert.equal(await run(job, orthanc), 'failure')
      assert.match(lines.join('\n'), /no permission to delete/)
    })
  })
})
