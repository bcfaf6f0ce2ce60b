/** Hybrid modes and moves in the real Orthanc, on every kind of object store, over Orthanc's own files. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { until } from '../../harness/until.ts'
import { sha256 } from '../support/sha256.ts'
import { directoryPlace, type Place, s3Place } from './support/places.ts'
import { s3Server } from './support/servers.ts'

type Mode = 'Disabled' | 'WriteToFileSystem' | 'WriteToObjectStorage'

const stores = [
  { name: 'a directory', make: () => directoryPlace() },
  ...(s3Server() ? [{ name: 'S3', make: () => s3Place({ RootPath: 'a/b' }) }] : []),
]

const onStore = ({ name, make }: (typeof stores)[number]) =>
  describe(`hybrid modes over ${name}`, { concurrency: 1 }, () => {
    let place: Place
    let folder: string
    let orthanc: OrthancProcess

    const start = async (mode: Mode | 'no plugin', more: Record<string, unknown> = {}) => {
      const [[section, options] = ['', {}]] = Object.entries(place.config)
      orthanc = await startOrthanc({
        config: {
          [section]: { ...options, HybridMode: mode, ...more },
          CloudStorage: { MoveConcurrency: 4 },
          StorageDirectory: 'index', // relative to the configuration, which is in `folder`
        },
        dir: folder,
        ...(mode === 'no plugin' && { plugin: null }),
      })
    }
    const restart = async (...all: Parameters<typeof start>) => {
      await orthanc.stop()
      await start(...all)
    }

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'ocs-hybrid-'))
      place = await make()
      await start('WriteToFileSystem')
    })
    after(async () => {
      await orthanc?.stop()
      await place?.dispose()
      rmSync(folder, { recursive: true, force: true })
    })

    /** The files that Orthanc's layout names by UUID, and everything else in their folders. */
    const onDisk = () =>
      readdirSync(join(folder, 'index'), { recursive: true, encoding: 'utf8' }).filter(path => /^..\/..\/./.test(path))
    const folders = () => readdirSync(join(folder, 'index')).filter(entry => entry.length === 2)
    const upload = async (file: Uint8Array): Promise<string> => (await orthanc.postJson('/instances', file)).ID
    const download = (id: string) => orthanc.getBytes(`/instances/${id}/file`)
    const move = (body: unknown) => orthanc.request('POST', '/move-storage', Buffer.from(JSON.stringify(body)))
    const clear = async () => {
      for (const id of await orthanc.getJson('/patients')) await orthanc.delete(`/patients/${id}`)
      assert.deepEqual([onDisk(), folders(), await place.keys()], [[], [], []])
    }
    /** One study of `count` images; the files by instance id. */
    const uploadStudy = async (count: number, seed: number, rows = 64) => {
      const files = new Map<string, string>()
      for (let i = 0; i < count; i++) {
        const file = makeImage({ seed: seed + i, rows, columns: rows })
        files.set(await upload(file), sha256(file))
      }
      const [first = ''] = files.keys()
      const { ID } = await orthanc.getJson(`/instances/${first}/study`)
      return { study: ID as string, files }
    }
    const allReadable = async (files: ReadonlyMap<string, string>) => {
      for (const [id, hash] of files) assert.equal(sha256(await download(id)), hash)
    }
    /** Orthanc writes a job to its database some time after it was submitted. */
    const isInDatabase = async (job: string) => {
      const written = () => {
        const bytes = ['index', 'index-wal'].map(name => readFileSync(join(folder, 'index', name)))
        // The text may cross the border of two pages, at one point.
        return bytes.some(file => file.includes(job.slice(0, 18)) || file.includes(job.slice(18)))
      }
      await until('the job in the database', written)
      const [instance] = await orthanc.getJson('/instances')
      // When this is in the database, the job was committed before it.
      await orthanc.put(`/instances/${instance}/metadata/1024`, Buffer.from('written after it'))
    }
    const noFalseAlarm = () => {
      const alarms = orthanc
        .log()
        .split('\n')
        .filter(line => /^[EW]/.test(line) && /cannot|NotFound|instead/.test(line))
        .filter(line => !line.includes('RestApiWriteToFileSystemEnabled')) // what Orthanc 1.13 says about itself
      assert.deepEqual(alarms, [])
    }

    it('writes in one mode, reads and removes in the other, and leaves nothing on either side', async () => {
      const first = await uploadStudy(3, 1)
      assert.deepEqual([onDisk().length, (await place.keys()).length], [3, 0])
      await restart('WriteToObjectStorage')
      const second = await uploadStudy(2, 100)
      assert.deepEqual([onDisk().length, (await place.keys()).length], [3, 2])
      await allReadable(first.files)
      await allReadable(second.files)
      noFalseAlarm()
      await restart('WriteToFileSystem')
      await allReadable(second.files)
      noFalseAlarm()
      await clear()
    })

    it('reads and removes what Orthanc itself had on its disk', async () => {
      await restart('no plugin')
      const { files } = await uploadStudy(2, 10)
      await restart('WriteToObjectStorage')
      await allReadable(files)
      await clear()
    })

    it('moves a study there and back, with the files of all levels', async () => {
      await restart('WriteToFileSystem')
      const { study, files } = await uploadStudy(300, 200)
      const { ParentPatient } = await orthanc.getJson(`/studies/${study}`)
      for (const uri of [`/studies/${study}`, `/patients/${ParentPatient}`])
        await orthanc.put(`${uri}/attachments/1030`, Buffer.from('an attachment of its own'))
      const there = await move({ Resources: [ParentPatient], TargetStorage: 'object-storage' })
      assert.equal(there.status, 200, there.body.toString())
      const content = JSON.parse(there.body.toString())
      assert.deepEqual([content.Patients, content.Studies, content.Moved.Files], [[ParentPatient], [], 302])
      assert.deepEqual([onDisk(), folders(), (await place.keys()).length], [[], [], 302])
      await allReadable(files)
      const where = await orthanc.getJson(`/patients/${ParentPatient}/cloud-storage`)
      const totals = where.Totals
      assert.deepEqual([totals['object-storage'].Files, totals['file-system'].Files, totals.Missing], [302, 0, 0])
      assert.deepEqual(where.Attachments[0].Places[0].Tier, 'object-storage')
      assert.ok((await place.keys()).includes(where.Attachments[0].Places[0].Key))
      assert.equal((await orthanc.request('GET', `/series/${ParentPatient}/cloud-storage`)).status, 404)
      const metrics = (await orthanc.getBytes('/tools/metrics-prometheus')).toString()
      assert.match(metrics, /^orthanc_cloud_storage_bytes_written [1-9]/m)
      const back = await move({
        Resources: [ParentPatient],
        TargetStorage: 'file-system',
        Asynchronous: true,
        Priority: 3,
      })
      const { ID, Path } = JSON.parse(back.body.toString())
      assert.equal(Path, `/jobs/${ID}`)
      const job = await orthanc.job(ID)
      assert.deepEqual([job.Type, job.State, job.Progress, job.Priority], ['MoveStorage', 'Success', 100, 3])
      assert.deepEqual([onDisk().length, await place.keys()], [302, []])
      await allReadable(files)
      await clear()
    })

    it('answers as the official plugins do', async () => {
      const get = await orthanc.request('GET', '/move-storage')
      assert.deepEqual([get.status, get.headers['allow'], get.body.length], [405, 'POST', 0])
      const bad = await move({ Resources: [], TargetStorage: 'file-system' })
      assert.deepEqual([bad.status, JSON.parse(bad.body.toString()).Details], [400, '"Resources" is empty'])
      const unknown = await move({ Resources: ['nobody'], TargetStorage: 'file-system' })
      assert.deepEqual([unknown.status, JSON.parse(unknown.body.toString()).Message], [404, 'Unknown resource'])
      await restart('Disabled')
      assert.equal((await move({})).status, 404)
      await restart('WriteToFileSystem')
    })

    it('says which file is lost, after moving all others', async () => {
      const { study, files } = await uploadStudy(5, 300)
      const [lost] = onDisk()
      rmSync(join(folder, 'index', lost as string))
      const answer = await move({ Resources: [study], TargetStorage: 'object-storage' })
      assert.equal(answer.status, 500)
      assert.match(JSON.parse(answer.body.toString()).Details, /^1 file could not be moved/)
      const [job] = (await orthanc.getJson('/jobs?expand')).filter(
        (seen: { State: string }) => seen.State === 'Failure',
      )
      assert.equal(job.Content.Moved.Files, files.size - 1)
      assert.ok(lost?.endsWith(job.Content.Failures[0].Uuid))
      await clear()
    })

    it('moves everything, or only counts it', async () => {
      const { files } = await uploadStudy(4, 400)
      const counted = JSON.parse(
        (await move({ Scope: 'All', DryRun: true, TargetStorage: 'object-storage' })).body.toString(),
      )
      assert.deepEqual([counted.OnFileSystem.Files, counted.OnObjectStorage.Files, onDisk().length], [4, 0, 4])
      const moved = JSON.parse((await move({ Scope: 'All', TargetStorage: 'object-storage' })).body.toString())
      assert.deepEqual([moved.Moved.Files, onDisk()], [4, []])
      await allReadable(files)
      await clear()
    })

    it('leaves every file readable when it is paused, resumed, or canceled', async () => {
      const { study, files } = await uploadStudy(40, 500, 512)
      const { ID } = JSON.parse(
        (await move({ Resources: [study], TargetStorage: 'object-storage', Asynchronous: true })).body.toString(),
      )
      await orthanc.request('POST', `/jobs/${ID}/pause`, Buffer.from('{}'))
      await orthanc.job(ID)
      await allReadable(files)
      await orthanc.request('POST', `/jobs/${ID}/resume`, Buffer.from('{}'))
      await orthanc.request('POST', `/jobs/${ID}/cancel`, Buffer.from('{}'))
      await orthanc.job(ID)
      await allReadable(files)
      await orthanc.request('POST', `/jobs/${ID}/resubmit`, Buffer.from('{}'))
      await orthanc.job(ID)
      await allReadable(files)
      await clear()
    })

    it('goes on after Orthanc was killed in the middle: nothing lost, nothing double', async () => {
      const { study, files } = await uploadStudy(60, 600, 512)
      const { ID } = JSON.parse(
        (await move({ Resources: [study], TargetStorage: 'object-storage', Asynchronous: true })).body.toString(),
      )
      // The engine works only while this test does not look. So what it sees in the middle stays in the middle.
      const engine = orthanc.enginePid() as number
      process.kill(engine, 'SIGSTOP')
      await isInDatabase(ID)
      await until('ten objects', async () => {
        if ((await place.keys()).length >= 10) return true
        process.kill(engine, 'SIGCONT')
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
        process.kill(engine, 'SIGSTOP')
        return false
      })
      orthanc.kill('SIGKILL')
      await orthanc.exited
      assert.ok(onDisk().length > 0, 'it was too fast to be killed in the middle')
      await start('WriteToFileSystem')
      const job = await orthanc.job(ID)
      assert.equal(job.State, 'Success')
      assert.deepEqual([onDisk(), (await place.keys()).length], [[], 60])
      await allReadable(files)
      await clear()
    })
  })

// They mostly wait for Orthanc to start and stop.
describe('on every kind of store', { concurrency: 2 }, () => stores.forEach(onStore))
