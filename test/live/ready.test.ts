/** Readiness of a real Orthanc whose store, or engine, goes away and comes back. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { freePort } from '../../harness/child.ts'
import { makeImage } from '../../harness/dicom.ts'
import { startMinio } from '../../harness/minio.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { makeS3Bucket, type S3Server } from '../../harness/s3.ts'
import { until } from '../../harness/until.ts'
import { LONG } from '../support/long.ts'
import { liveServer } from './support/servers.ts'

const image = makeImage({ seed: 1, rows: 64, columns: 64, study: 1 })

async function probe(orthanc: OrthancProcess) {
  const { status, headers, body } = await orthanc.request('GET', '/cloud-storage/ready')
  assert.match(String(headers['content-type']), /^application\/json/)
  return { status, ...JSON.parse(body.toString()) }
}
const becomes = (orthanc: OrthancProcess, wanted: number) =>
  until(`a probe to be answered ${wanted}`, async () => {
    const answer = await probe(orthanc)
    return answer.status === wanted && answer
  })

// The server of all tests may not be stopped, so this one has its own. It is the proof that MinIO can be had.
if (liveServer('minio'))
  describe('readiness', () => {
    let folder: string
    let minio: S3Server
    let port: number
    let orthanc: OrthancProcess
    const node = () => join(folder, 'node')

    const section = (more: object = {}) => ({
      BucketName: 'ready',
      Region: minio.region,
      Endpoint: minio.endpoint,
      AccessKey: minio.accessKey,
      SecretKey: minio.secretKey,
      MaxRetries: 0,
      ...more,
    })
    const start = (name: string, more: object = {}, StartupCheck = true) =>
      startOrthanc({
        config: { AwsS3Storage: section(more), CloudStorage: { Node: node(), StartupCheck } },
        dir: join(folder, name),
      })

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'ocs-ready-'))
      symlinkSync(process.execPath, node())
      mkdirSync(join(folder, 'minio'))
      port = await freePort()
      minio = await startMinio(join(folder, 'minio'), port)
      await makeS3Bucket(minio, 'ready')
      orthanc = await start('orthanc')
    })

    after(async () => {
      await orthanc?.stop()
      await minio?.stop()
      rmSync(folder, { recursive: true, force: true })
    })

    it('begins with the start', async () => {
      assert.deepEqual(await probe(orthanc), { status: 200, Ready: true, Store: 's3:ready' })
    })

    it('is over while the store is away, and liveness is not', async () => {
      await minio.stop()
      // A new engine has heard nothing of the store. The old one stays ready for 30 s: see the long test.
      if (!LONG) process.kill(orthanc.enginePid() as number, 'SIGKILL')
      const { Ready, Store, Problem, Details, Since } = await becomes(orthanc, 503)
      assert.deepEqual([Ready, Store, Problem], [false, 's3:ready', 'Unavailable'])
      assert.match(Details, /^cannot use s3:ready: .*ECONNREFUSED/)
      assert.ok(Date.parse(Since) <= Date.now())
      assert.equal((await orthanc.request('GET', '/system')).status, 200)
      assert.match(orthanc.log(), /W.* not ready, which readiness probes are told: cannot use s3:ready/)
      minio = await startMinio(join(folder, 'minio'), port)
      await becomes(orthanc, 200)
      await orthanc.postJson('/instances', image)
      await orthanc.logged(/W.* ready again: s3:ready answers/)
    })

    it('is over while the engine hangs', async () => {
      const engine = orthanc.enginePid() as number
      process.kill(engine, 'SIGSTOP')
      const answer = await probe(orthanc)
      process.kill(engine, 'SIGCONT')
      const { Details, ...rest } = answer
      assert.deepEqual(rest, { status: 503, Ready: false, Problem: 'Unavailable' })
      assert.match(Details, /storage engine does not answer/)
      await becomes(orthanc, 200)
    })

    it('is over while no engine can be started', async () => {
      rmSync(node())
      process.kill(orthanc.enginePid() as number, 'SIGKILL')
      assert.equal((await becomes(orthanc, 503)).Ready, false)
      symlinkSync(process.execPath, node())
      await becomes(orthanc, 200)
    })

    it('never comes with keys that the store refuses, which are not shown', async () => {
      const refused = await start('refused', { SecretKey: 'not-the-right-secret' }, false)
      try {
        const answer = await probe(refused)
        assert.deepEqual([answer.status, answer.Problem], [503, 'Denied'])
        assert.doesNotMatch(JSON.stringify(answer), /not-the-right-secret/)
      } finally {
        await refused.stop()
      }
    })

    it('needs no store where new files go to the disk', async () => {
      const Endpoint = `http://127.0.0.1:${await freePort()}`
      const hybrid = await start('hybrid', { Endpoint, HybridMode: 'WriteToFileSystem' })
      try {
        assert.equal((await probe(hybrid)).status, 200)
      } finally {
        await hybrid.stop()
      }
    })
  })
