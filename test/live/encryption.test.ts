/** Client-side encryption in the real Orthanc: what lies in the bucket, and what comes back. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { hash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { instanceUid, makeImage, PATIENT_NAME } from '../../harness/dicom.ts'
import { type OrthancOptions, type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { until } from '../../harness/until.ts'
import { collect, sourceOf } from '../../src/bytes.ts'
import { LONG } from '../support/long.ts'
import { directoryPlace, type Place, s3Place } from './support/places.ts'
import { s3Server } from './support/servers.ts'

const run = promisify(execFile)
const sha256 = (bytes: Uint8Array) => hash('sha256', bytes)
const never = new AbortController().signal

const keyFolder = mkdtempSync(join(tmpdir(), 'ocs-keys-'))
after(() => rmSync(keyFolder, { recursive: true, force: true }))
const keyFile = (id: number) => {
  const file = join(keyFolder, `${id}.key`)
  writeFileSync(file, `${Buffer.alloc(32, id).toString('base64')}\n`, { mode: 0o600 })
  return [id, file] as const
}
const one = { MasterKey: keyFile(1) }
const two = { MasterKey: keyFile(2), PreviousMasterKeys: [keyFile(1)] }

const kinds: { name: string; make(): Promise<Place> }[] = [{ name: 'a directory', make: () => directoryPlace() }]
if (s3Server())
  kinds.push(
    { name: 'S3 with the transfer manager', make: () => s3Place({ UseTransferManager: true }) },
    ...(LONG ? [{ name: 'S3', make: () => s3Place() }] : []),
  )

const onKind = ({ name, make }: (typeof kinds)[number]) =>
  describe(`Orthanc on ${name}, encrypted`, { concurrency: 1 }, () => {
    let place: Place
    let orthanc: OrthancProcess
    let folder: string

    /** Restarts with other options of StorageEncryption; undefined: without the section. */
    const start = async (encryption: object | undefined, more: Partial<OrthancOptions['config']> = {}) => {
      await orthanc?.stop()
      const [[section = '', options] = []] = Object.entries(place.config)
      const sealed = encryption && { StorageEncryption: encryption }
      const config = { DicomServerEnabled: true, [section]: { ...options, ...sealed }, ...more }
      orthanc = await startOrthanc({ config, dir: folder })
    }
    const upload = async (file: Uint8Array): Promise<string> => (await orthanc.postJson('/instances', file)).ID
    const download = (id: string) => orthanc.getBytes(`/instances/${id}/file`)
    const object = async (key: string) => collect(await place.store.get(key, undefined, never))
    const uuidOf = async (id: string): Promise<string> =>
      (await orthanc.getJson(`/instances/${id}/attachments/dicom/info`)).Uuid
    const clear = async () => {
      for (const id of await orthanc.getJson('/patients')) await orthanc.delete(`/patients/${id}`)
      assert.deepEqual(await place.keys(), [])
    }

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'ocs-encryption-'))
      place = await make()
      await start(one)
    })
    after(async () => {
      await orthanc?.stop()
      await place?.dispose()
      rmSync(folder, { recursive: true, force: true })
    })

    it('says which keys are in use, and warns of nothing', () => {
      assert.match(orthanc.log(), /W.*stores Orthanc's files in .*, encrypted with master key 1\n/)
      assert.ok(!orthanc.log().includes(Buffer.alloc(32, 1).toString('base64')))
    })

    it('leaves no core file, and no key in arguments or environment', () => {
      const proc = (name: string) => readFileSync(`/proc/${orthanc.enginePid()}/${name}`, 'latin1')
      assert.match(proc('limits'), /Max core file size +1 +1 /)
      assert.match(proc('coredump_filter'), /^0+$/m) // where the limit cannot be set
      for (const name of ['cmdline', 'environ']) assert.ok(!proc(name).includes(Buffer.alloc(32, 1).toString('base64')))
    })

    it('writes an image and its header, as the official plugin does, and nothing that can be read', async () => {
      const files = [makeImage({ seed: 1, rows: 256, columns: 256 }), makeImage({ seed: 2, rows: 2000, columns: 2000 })]
      const ids = await Promise.all(files.map(upload))
      const file = join(folder, 'cstore.dcm')
      writeFileSync(file, makeImage({ seed: 3, rows: 64, columns: 64 }))
      await run('storescu', ['127.0.0.1', String(orthanc.dicomPort), file])
      const [found] = await orthanc.postJson('/tools/lookup', Buffer.from(instanceUid(3)))

      const expected: string[] = []
      for (const id of [...ids, found.ID as string]) {
        const info = await orthanc.getJson(`/instances/${id}/attachments/dicom-until-pixel-data/info`)
        expected.push(`${await uuidOf(id)}.dcm.enc`, `${info.Uuid}.dcm.head.enc`)
      }
      assert.deepEqual(await place.keys(), expected.sort())
      for (const key of expected) {
        const bytes = await object(key)
        assert.equal(bytes.toString('latin1', 0, 2), 'A1')
        assert.equal(bytes.readUInt32LE(2), 1)
        for (const secret of ['DICM', PATIENT_NAME, instanceUid(1)])
          assert.ok(!bytes.includes(secret), `${secret} in ${key}`)
      }
      for (const [i, id] of ids.entries()) assert.equal(sha256(await download(id)), sha256(files[i] as Buffer))
      assert.equal((await orthanc.getJson(`/instances/${ids[0]}/tags?simplify`)).Rows, '256')
      await clear()
    })

    for (const size of [0, 1, 5_000_000])
      it(`keeps a user attachment of ${size} bytes in ${size + 86}`, async () => {
        const id = await upload(makeImage({ seed: 4, rows: 8, columns: 8 }))
        const bytes = randomBytes(size)
        await orthanc.put(`/instances/${id}/attachments/2000`, bytes)
        assert.deepEqual(await orthanc.getBytes(`/instances/${id}/attachments/2000/data`), bytes)
        const key = (await place.keys()).find(name => name.endsWith('.unk.enc')) as string
        assert.equal((await place.store.stat(key, never))?.size, size + 86)
        await clear()
      })

    it('reads old objects after a change of keys, and writes with the new one', async () => {
      const old = makeImage({ seed: 10, rows: 100, columns: 100 })
      const oldId = await upload(old)
      await start(two)
      assert.match(orthanc.log(), /encrypted with master key 2, reading also what is encrypted with 1\n/)
      const id = await upload(makeImage({ seed: 11, rows: 100, columns: 100 }))
      assert.equal(sha256(await download(oldId)), sha256(old))
      assert.equal((await object(`${await uuidOf(id)}.dcm.enc`)).readUInt32LE(2), 2)

      await start({ MasterKey: keyFile(2) })
      const answer = await orthanc.request('GET', `/instances/${oldId}/file`)
      assert.equal(answer.status, 500)
      await orthanc.logged(/cannot read '.*\.dcm\.enc'.*master key 1, which is not configured.*PreviousMasterKeys/)
      await start(two)
      await clear()
    })

    it('never gives out a damaged object as a success', async () => {
      const id = await upload(makeImage({ seed: 12, rows: 1500, columns: 1500 }))
      const key = `${await uuidOf(id)}.dcm.enc`
      const bytes = await object(key)
      bytes[bytes.byteLength - 17] = (bytes[bytes.byteLength - 17] ?? 0) ^ 1
      await place.store.put(key, sourceOf(bytes), never)
      const answer = await orthanc.request('GET', `/instances/${id}/file`)
      assert.equal(answer.status, 502)
      await orthanc.logged(new RegExp(`cannot read '${key}'.*its tag does not match its bytes \\[Corrupt\\]`))
      await clear()
    })

    it('can be turned on over plain objects, and off again', async () => {
      await start(undefined)
      const plain = makeImage({ seed: 20, rows: 120, columns: 120 })
      const plainId = await upload(plain)
      await start({ ...one, AllowUnencryptedRead: true })
      const sealed = makeImage({ seed: 21, rows: 120, columns: 120 })
      const sealedId = await upload(sealed)
      assert.equal(sha256(await download(plainId)), sha256(plain))
      assert.equal(sha256(await download(sealedId)), sha256(sealed))

      await start({ ...one, Enable: false })
      const lastId = await upload(makeImage({ seed: 22, rows: 120, columns: 120 }))
      assert.ok((await place.keys()).includes(`${await uuidOf(lastId)}.dcm`))
      assert.equal(sha256(await download(plainId)), sha256(plain))
      assert.equal(sha256(await download(sealedId)), sha256(sealed))
      assert.equal((await orthanc.getJson(`/instances/${sealedId}/tags?simplify`)).Rows, '120')
      await clear()
    })

    it('reads ranges when it is told to, without a header file per image', async () => {
      await start({ ...one, RangeReads: true })
      const file = makeImage({ seed: 30, rows: 600, columns: 600 })
      const id = await upload(file)
      assert.deepEqual(await place.keys(), [`${await uuidOf(id)}.dcm.enc`])
      await start({ ...one, RangeReads: true }) // nothing is cached any more
      for (let i = 0; i < 3; i++) assert.equal((await orthanc.getJson(`/instances/${id}/tags?simplify`)).Rows, '600')
      await orthanc.logged(/read '.*\.dcm\.enc' from/)
      assert.equal(
        orthanc
          .log()
          .split('\n')
          .filter(line => /read '.*\.dcm\.enc' from/.test(line)).length,
        1,
      )
      assert.equal(sha256(await download(id)), sha256(file))
      await clear()
    })

    it('loses nothing when the engine is killed during 20 parallel uploads', async () => {
      await start(one)
      const files = Array.from({ length: 20 }, (_, i) => makeImage({ seed: 100 + i, rows: 1024, columns: 1024 }))
      const uploads = files.map(upload)
      await until('the first object', async () => (await place.keys()).length > 0)
      process.kill(orthanc.enginePid() as number, 'SIGKILL')
      const ids = await Promise.all(uploads)
      for (const [i, id] of ids.entries()) assert.equal(sha256(await download(id)), sha256(files[i] as Buffer))
      await clear()
    })
  })

// They mostly wait for Orthanc to start and stop.
describe('on every kind of store', { concurrency: 3 }, () => kinds.forEach(onKind))
