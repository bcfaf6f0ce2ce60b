/** Reading ahead in the real Orthanc, from a real S3 server that is some way off. */
import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { makeS3Bucket } from '../../harness/s3.ts'
import { until } from '../../harness/until.ts'
import { LONG } from '../support/long.ts'
import { type FarStore, farStore } from './support/far-store.ts'
import { liveServer } from './support/servers.ts'

const server = liveServer('minio')
const COUNT = 40
const imageOf = (seed: number) => makeImage({ seed, rows: 100, columns: 100 })

if (server)
  for (const [name, more] of Object.entries({
    plain: {},
    ...(LONG && { 'compressed by Orthanc': { StorageCompression: true }, encrypted: { encrypted: {} } }),
    'encrypted, with RangeReads': { encrypted: { RangeReads: true } },
  }))
    describe(`a series that is read ahead, ${name}`, { concurrency: 1 }, () => {
      let folder: string
      let far: FarStore
      let orthanc: OrthancProcess
      const ids: string[] = []
      let config: Record<string, unknown>

      before(async () => {
        folder = mkdtempSync(join(tmpdir(), 'ocs-ahead-'))
        const bucket = `t-${randomUUID()}`
        await makeS3Bucket(server, bucket)
        far = await farStore(server.endpoint)
        const { encrypted, ...options } = more as { encrypted?: object }
        const key = join(folder, 'master.key')
        if (encrypted) writeFileSync(key, randomBytes(32).toString('base64'), { mode: 0o600 })
        const section = {
          ...{ BucketName: bucket, Region: server.region, AccessKey: server.accessKey, SecretKey: server.secretKey },
          ...{ Endpoint: far.endpoint, VirtualAddressing: false },
          ...(encrypted && { StorageEncryption: { MasterKey: [1, key], ...encrypted } }),
        }
        config = { AwsS3Storage: section, ...options }
        orthanc = await startOrthanc({ config, dir: join(folder, 'orthanc') })
        for (let seed = 1; seed <= COUNT; seed++) ids.push((await orthanc.postJson('/instances', imageOf(seed))).ID)
      })
      after(async () => {
        await orthanc?.stop()
        await far?.stop()
        rmSync(folder, { recursive: true, force: true })
      })

      /** A new engine, which holds nothing. */
      async function begin(): Promise<void> {
        await orthanc.stop()
        orthanc = await startOrthanc({ config, dir: join(folder, 'orthanc') })
        far.forget()
      }
      const figures = () => orthanc.getJson('/cloud-storage/status')
      const read = (at: number) => orthanc.getBytes(`/instances/${ids[at]}/file`)

      /** What it must look like, whoever read the series. */
      async function wasReadAhead(): Promise<void> {
        const twice = far.reads.filter((path, at) => far.reads.indexOf(path) !== at)
        assert.deepEqual(twice, [])
        assert.ok(far.mostReads > 1, 'never two reads at a time')
        const { FetchedAheadUsed, BytesHeldAhead } = await figures()
        assert.ok(FetchedAheadUsed > COUNT / 2, `only ${FetchedAheadUsed} files were used`)
        assert.ok(BytesHeldAhead <= 64 * 1024 * 1024)
      }

      it('file by file', async () => {
        await begin()
        for (const at of ids.keys()) assert.ok((await read(at)).equals(imageOf(at + 1)), `file ${at}`)
        await wasReadAhead()
        assert.equal(far.reads.length, COUNT)
      })

      it('in any order', async () => {
        await begin()
        for (const at of ids.keys()) {
          const other = (at * 17 + 5) % COUNT
          assert.ok((await read(other)).equals(imageOf(other + 1)), `file ${other}`)
        }
        await wasReadAhead()
      })

      it('by several readers', async () => {
        await begin()
        let next = 0
        const reader = async () => {
          for (let at = next++; at < COUNT; at = next++)
            assert.ok((await read(at)).equals(imageOf(at + 1)), `file ${at}`)
        }
        await Promise.all([reader(), reader(), reader(), reader()])
        await wasReadAhead()
      })

      it('for an archive', async () => {
        await begin()
        const [series] = await orthanc.getJson('/series')
        const zip = await orthanc.getBytes(`/series/${series}/archive`)
        assert.equal(zip.subarray(0, 2).toString(), 'PK')
        await wasReadAhead()
      })

      it('for the tags of all instances', async () => {
        await begin()
        const [study] = await orthanc.getJson('/studies')
        const tags = await orthanc.getJson(`/studies/${study}/instances-tags`)
        assert.deepEqual(Object.keys(tags).sort(), ids.toSorted())
        await wasReadAhead()
      })

      it('for a C-MOVE', async () => {
        const receiver = await startOrthanc({
          config: { DicomServerEnabled: true, DicomAet: 'RECEIVER', DicomAlwaysAllowStore: true },
          dir: join(folder, 'receiver'),
          plugin: null,
        })
        try {
          await begin()
          const modality = { AET: 'RECEIVER', Host: '127.0.0.1', Port: receiver.dicomPort }
          await orthanc.put('/modalities/receiver', Buffer.from(JSON.stringify(modality)))
          const series = await orthanc.getJson('/series')
          await orthanc.postJson('/modalities/receiver/store', Buffer.from(JSON.stringify(series)))
          await until('all files', async () => (await receiver.getJson('/statistics')).CountInstances === COUNT)
          await wasReadAhead()
        } finally {
          await receiver.stop()
        }
      })

      it('of which files are removed meanwhile', async () => {
        await begin()
        const gone = 10
        const removed: string[] = []
        for (const at of ids.keys()) {
          if (at === 5)
            for (const id of ids.slice(-gone)) {
              await orthanc.delete(`/instances/${id}`)
              removed.push(id)
            }
          const answer = await orthanc.request('GET', `/instances/${ids[at]}/file`)
          if (removed.includes(ids[at] as string)) assert.equal(answer.status, 404)
          else assert.ok(answer.body.equals(imageOf(at + 1)), `file ${at}`)
        }
        assert.doesNotMatch(orthanc.log(), /cannot (read|remove)/)
      })
    })
