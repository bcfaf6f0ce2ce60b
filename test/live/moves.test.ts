/** Moves on bad days: the bucket away, the disk full, the engine dead, and with encryption. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { until } from '../../harness/until.ts'
import { sha256 } from '../support/sha256.ts'
import { FaultProxy } from './support/fault-proxy.ts'
import { directoryPlace, type Place, s3Place } from './support/places.ts'
import { s3Server } from './support/servers.ts'

async function manyAtOnce<T>(all: Iterable<T>, work: (one: T) => Promise<unknown>): Promise<void> {
  const rest = [...all].values()
  const worker = async () => {
    for (const one of rest) await work(one)
  }
  await Promise.all(Array.from({ length: 8 }, worker))
}

describe('a move on a bad day', () => {
  let folder: string
  let place: Place | undefined
  let orthanc: OrthancProcess | undefined

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-moves-'))
  })
  afterEach(async () => {
    await orthanc?.stop()
    await place?.dispose()
    orthanc = place = undefined
    rmSync(folder, { recursive: true, force: true })
  })

  /** `section`: more options of the provider. */
  const start = async (on: Place, section: object, more: object = {}): Promise<OrthancProcess> => {
    await orthanc?.stop()
    place = on
    const [[name, options] = ['', {}]] = Object.entries(on.config)
    orthanc = await startOrthanc({
      config: { [name]: { ...options, HybridMode: 'WriteToFileSystem', ...section }, ...more },
      dir: folder,
    })
    return orthanc
  }
  const uploadStudy = async (on: OrthancProcess, count: number, rows = 256) => {
    const files = new Map<string, string>()
    await manyAtOnce(
      Array.from({ length: count }, (_, i) => i + 1),
      async seed => {
        const file = makeImage({ seed, rows, columns: rows })
        files.set((await on.postJson('/instances', file)).ID, sha256(file))
      },
    )
    const [study] = await on.getJson('/studies')
    return { study: study as string, files }
  }
  const allReadable = async (on: OrthancProcess, files: ReadonlyMap<string, string>) => {
    await manyAtOnce(files, async ([id, hash]) =>
      assert.equal(sha256(await on.getBytes(`/instances/${id}/file`)), hash),
    )
  }
  const move = async (on: OrthancProcess, study: string, TargetStorage: string) => {
    const body = JSON.stringify({ Resources: [study], TargetStorage })
    const answer = await on.request('POST', '/move-storage', Buffer.from(body))
    return { status: answer.status, ...JSON.parse(answer.body.toString()) }
  }
  const onDisk = (directory = join(folder, 'index')) =>
    readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter(path => /^..\/..\/./.test(path))

  it('goes on when the engine is killed in the middle', async () => {
    const on = await start(await directoryPlace(), {}, { CloudStorage: { MoveConcurrency: 1 } })
    const { study, files } = await uploadStudy(on, 100)
    const moving = move(on, study, 'object-storage')
    await until('the first file', async () => ((await place?.keys())?.length ?? 0) > 0)
    process.kill(on.enginePid() as number, 'SIGKILL')
    const content = await moving
    assert.equal(content.status, 200)
    assert.equal(content.Moved.Files + content.AlreadyThere.Files, 100)
    assert.deepEqual(onDisk(), [])
    await allReadable(on, files)
  })

  it('tells of a full disk on the way back, and leaves the source as it was', async t => {
    const small = join(folder, 'small')
    mkdirSync(small)
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small], { stdio: 'ignore' })
    } catch {
      t.skip('a file system can be mounted by root only')
      return
    }
    try {
      const on = await start(
        await directoryPlace(),
        { HybridMode: 'WriteToObjectStorage' },
        { StorageDirectory: small },
      )
      const { study, files } = await uploadStudy(on, 20)
      const answer = await move(on, study, 'file-system')
      assert.equal(answer.status, 500)
      await on.logged(/E.*cannot move .*attachments\/dicom: .*no space left on device.*\[TooLarge\].*Make room/i)
      const [job] = await on.getJson('/jobs?expand')
      assert.ok(job.Content.Failed > 0 && job.Content.Failed < 20)
      assert.equal((await place?.keys())?.length, job.Content.Failed)
      await allReadable(on, files)
    } finally {
      await orthanc?.stop()
      orthanc = undefined
      execFileSync('umount', [small])
    }
  })

  it('seals and unseals on the way, and reads old plain files on the disk', async () => {
    const key = join(folder, 'master.key')
    writeFileSync(key, randomBytes(32).toString('base64'))
    const on = await directoryPlace()
    const first = await start(on, {})
    const { study, files } = await uploadStudy(first, 5, 64)
    const StorageEncryption = { MasterKey: [7, key] }
    const second = await start(on, { StorageEncryption })
    await allReadable(second, files)
    assert.equal((await move(second, study, 'object-storage')).status, 200)
    assert.deepEqual(onDisk(), [])
    const keys = await on.keys()
    assert.ok(keys.length === 5 && keys.every(name => name.endsWith('.dcm.enc')))
    await allReadable(second, files)
    const { Attachments } = await second.getJson(`/studies/${study}/cloud-storage`)
    assert.ok(
      Attachments.every((file: { Places: { EncryptedWithKey: number }[] }) => file.Places[0]?.EncryptedWithKey === 7),
    )
    assert.equal((await move(second, study, 'file-system')).status, 200)
    assert.equal((await on.keys()).length, 0)
    for (const file of onDisk()) assert.equal(readFileSync(join(folder, 'index', file)).toString('latin1', 0, 2), 'A1')
    await allReadable(second, files)
    for (const id of await second.getJson('/patients')) await second.delete(`/patients/${id}`)
    assert.deepEqual(onDisk(), [])
  })

  it('tells both reasons in one line when a file can be read from neither place', async () => {
    const on = await start(await directoryPlace(), {})
    const { files } = await uploadStudy(on, 1, 64)
    const [file = ''] = onDisk()
    const uuid = file.slice(6)
    // A link that leads to itself: neither there nor absent.
    rmSync(join(folder, 'index', file))
    symlinkSync(uuid, join(folder, 'index', file))
    const objects = place?.store.name.replace('directory:', '') ?? ''
    symlinkSync(`${uuid}.dcm`, join(objects, `${uuid}.dcm`))
    const [id] = files.keys()
    assert.ok((await on.request('GET', `/instances/${id}/file`)).status >= 500)
    const alarms = on
      .log()
      .split('\n')
      .filter(line => /^[EW]/.test(line) && line.includes('cannot read'))
    assert.equal(alarms.length, 1, alarms.join('\n'))
    assert.match(alarms[0] ?? '', /cannot read .*index.*; and cannot read .*objects/)
  })

  it("finds Orthanc's files in a relative StorageDirectory, as Orthanc does", async () => {
    const relative = { StorageDirectory: 'of/its/own' }
    const on = await directoryPlace()
    orthanc = await startOrthanc({ config: relative, dir: folder, plugin: null })
    const { study, files } = await uploadStudy(orthanc, 2, 64)
    const there = join(folder, 'of/its/own')
    assert.equal(onDisk(there).length, 2)
    const hybrid = await start(on, {}, relative)
    await allReadable(hybrid, files)
    assert.equal((await move(hybrid, study, 'object-storage')).Moved.Files, 2)
    assert.equal(onDisk(there).length, 0)
    assert.equal((await move(hybrid, study, 'file-system')).Moved.Files, 2)
    assert.equal(onDisk(there).length, 2)
    await allReadable(hybrid, files)
  })

  const server = s3Server()
  if (!server) return
  it('waits for a bucket that is away for a while', async () => {
    const network = new FaultProxy(server.endpoint)
    try {
      const bucket = await s3Place()
      const on = await start(bucket, { Endpoint: await network.open(), MaxRetries: 100 })
      const { study, files } = await uploadStudy(on, 60)
      const moving = move(on, study, 'object-storage')
      await until('the first file', async () => (await bucket.keys()).length > 0)
      await network.close()
      await on.logged(/attempt 3 failed and is repeated/)
      await network.open()
      const content = await moving
      assert.deepEqual([content.status, content.Failed, content.Moved?.Files], [200, 0, 60])
      assert.deepEqual(onDisk(), [])
      await allReadable(on, files)
    } finally {
      await orthanc?.stop()
      orthanc = undefined
      await network.close()
    }
  })
})
