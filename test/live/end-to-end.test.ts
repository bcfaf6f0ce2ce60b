/** The whole product in the real Orthanc: plugin, engine, store. One suite, run over every kind of store. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { instanceUid, makeImage, makeReport } from '../../harness/dicom.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { until } from '../../harness/until.ts'
import { sha256 } from '../support/sha256.ts'
import { type Place, places, s3Place } from './support/places.ts'
import { s3Server } from './support/servers.ts'

const run = promisify(execFile)

const onPlace = ({ name, make }: ReturnType<typeof places>[number]) =>
  describe(`Orthanc on ${name}`, { concurrency: 1 }, () => {
    let place: Place
    let orthanc: OrthancProcess
    let folder: string
    const restart = async () => {
      await orthanc.stop()
      orthanc = await startOrthanc({ config: { ...place.config, DicomServerEnabled: true }, dir: folder })
    }

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'ocs-e2e-'))
      place = await make()
      orthanc = await startOrthanc({ config: { ...place.config, DicomServerEnabled: true }, dir: folder })
    })

    after(async () => {
      await orthanc?.stop()
      await place?.dispose()
      rmSync(folder, { recursive: true, force: true })
    })

    const upload = async (file: Uint8Array): Promise<string> => (await orthanc.postJson('/instances', file)).ID
    const download = (id: string) => orthanc.getBytes(`/instances/${id}/file`)

    it('is listed with a name, a version and a description', async () => {
      const plugin = await orthanc.getJson('/plugins/cloud-storage')
      assert.match(plugin.Version, /^\d+\.\d+\.\d+/)
      assert.match(plugin.Description, /stores Orthanc's files in/)
      assert.match((await orthanc.getJson('/system')).StorageAreaPlugin, /libOrthancCloudStorage/)
    })

    it('tells its status', async () => {
      const status = await orthanc.getJson('/cloud-storage/status')
      assert.match(status.Store, /^(s3|directory|azure|gcs):/)
      assert.equal(status.EngineRestarts, 0)
    })

    it('stores a study by REST and gives back identical files', async () => {
      const files = [0, 1, 2].map(instance => makeImage({ seed: instance + 1, rows: 128, columns: 128 }))
      files.push(makeImage({ seed: 9, rows: 1024, columns: 1024 }), makeReport({ seed: 4 }))
      const ids = await Promise.all(files.map(upload))
      for (const [i, id] of ids.entries()) assert.equal(sha256(await download(id)), sha256(files[i] as Buffer))
      assert.equal((await place.keys()).length, files.length)
    })

    it('stores by C-STORE and gives back the identical data set', async () => {
      const file = join(folder, 'cstore.dcm')
      const image = makeImage({ seed: 20, rows: 512, columns: 512 })
      writeFileSync(file, image)
      await run('storescu', ['127.0.0.1', String(orthanc.dicomPort), file])
      const [found] = await orthanc.postJson('/tools/lookup', Buffer.from(instanceUid(20)))
      const stored = await download(found.ID)
      assert.equal(sha256(stored.subarray(-512 * 512 * 2)), sha256(image.subarray(-512 * 512 * 2)))
    })

    it('answers what needs only a range of the file', async () => {
      const id = await upload(makeImage({ seed: 30, rows: 600, columns: 600 }))
      await restart() // nothing is cached any more
      const tags = await orthanc.getJson(`/instances/${id}/tags?simplify`)
      assert.equal(tags.Rows, '600')
      await orthanc.logged(/read '.*' bytes 0-\d+ from/)
    })

    for (const size of [0, 1, 5_000_000])
      it(`keeps a user attachment of ${size} bytes`, async () => {
        const id = await upload(makeImage({ seed: 40, rows: 8, columns: 8 }))
        const bytes = randomBytes(size)
        await orthanc.put(`/instances/${id}/attachments/2000`, bytes)
        assert.deepEqual(await orthanc.getBytes(`/instances/${id}/attachments/2000/data`), bytes)
        await orthanc.delete(`/instances/${id}/attachments/2000`)
      })

    it('still has everything after a restart of Orthanc', async () => {
      const file = makeImage({ seed: 50, rows: 64, columns: 64 })
      const id = await upload(file)
      await restart()
      assert.equal(sha256(await download(id)), sha256(file))
    })

    it('loses nothing when the engine is killed during 20 parallel uploads', async () => {
      const files = Array.from({ length: 20 }, (_, i) => makeImage({ seed: 100 + i, rows: 1024, columns: 1024 }))
      const there = (await place.keys()).length
      const uploads = files.map(upload)
      let killed: number | undefined
      for (const kills of [1, 2]) {
        await until(`object ${kills} of the uploads`, async () => (await place.keys()).length >= there + kills)
        const next = await until('an engine', () => orthanc.enginePid() !== killed && orthanc.enginePid())
        process.kill(next, 'SIGKILL')
        killed = next
      }
      const ids = await Promise.all(uploads)
      for (const [i, id] of ids.entries()) assert.equal(sha256(await download(id)), sha256(files[i] as Buffer))
      assert.match(orthanc.log(), /engine .*(restart|start)/i)
    })

    it('answers a read of a vanished object with 404 and one line that names the key', async () => {
      const id = await upload(makeImage({ seed: 60, rows: 16, columns: 16 }))
      const { Uuid } = await orthanc.getJson(`/instances/${id}/attachments/dicom/info`)
      await place.remove((await place.keys()).find(key => key.includes(Uuid)) as string)
      const answer = await orthanc.request('GET', `/instances/${id}/file`)
      assert.equal(answer.status, 404)
      assert.equal(
        orthanc
          .log()
          .split('\n')
          .filter(line => line.includes('cannot read') && line.includes(Uuid)).length,
        1,
      )
    })

    it('leaves nothing behind when all patients are deleted', async () => {
      for (const id of await orthanc.getJson('/patients')) await orthanc.delete(`/patients/${id}`)
      assert.deepEqual(await place.keys(), [])
    })

    it('stops without leaving its engine behind', async () => {
      const pid = orthanc.enginePid() as number
      await orthanc.stop()
      assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
      orthanc = await startOrthanc({ config: { ...place.config, DicomServerEnabled: true }, dir: folder })
    })
  })

// They mostly wait for Orthanc to start and stop.
describe('on every kind of store', { concurrency: 3 }, () => places().forEach(onPlace))

const server = s3Server()
if (server)
  describe('Orthanc on S3 without keys in the configuration', () => {
    it('takes the credentials of the default chain, here from the environment', async () => {
      const place = await s3Place()
      const folder = mkdtempSync(join(tmpdir(), 'ocs-chain-'))
      const { AccessKey: _a, SecretKey: _s, ...section } = place.config['AwsS3Storage'] ?? {}
      const keys = { AWS_ACCESS_KEY_ID: server.accessKey, AWS_SECRET_ACCESS_KEY: server.secretKey }
      Object.assign(process.env, keys)
      try {
        const orthanc = await startOrthanc({ config: { AwsS3Storage: section }, dir: folder })
        const image = makeImage({ seed: 70, rows: 64, columns: 64 })
        const { ID } = await orthanc.postJson('/instances', image)
        assert.equal(sha256(await orthanc.getBytes(`/instances/${ID}/file`)), sha256(image))
        await orthanc.stop()
      } finally {
        for (const name of Object.keys(keys)) delete process.env[name]
        await place.dispose()
        rmSync(folder, { recursive: true, force: true })
      }
    })
  })
