/** Resets, signals and broken surroundings in the real Orthanc, with the engine as it is shipped. */
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, PLUGIN, startOrthanc } from '../../harness/orthanc.ts'

describe('the plugin in an Orthanc that lives long', () => {
  let folder: string
  let orthanc: OrthancProcess | undefined

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-life-'))
    mkdirSync(join(folder, 'temporary'))
  })
  afterEach(async () => {
    await orthanc?.stop()
    orthanc = undefined
    rmSync(folder, { recursive: true, force: true })
  })

  const start = async (CloudStorage: object = {}): Promise<OrthancProcess> => {
    orthanc = await startOrthanc({
      config: {
        DirectoryStorage: { Path: join(folder, 'objects'), HybridMode: 'WriteToFileSystem' },
        TemporaryDirectory: join(folder, 'temporary'),
        CloudStorage,
      },
      dir: folder,
    })
    return orthanc
  }
  const never = (on: OrthancProcess, line: RegExp) =>
    assert.deepEqual(
      on
        .log()
        .split('\n')
        .filter(one => line.test(one)),
      [],
    )
  const upload = async (on: OrthancProcess, seed: number, rows = 64): Promise<{ ID: string; ParentStudy: string }> =>
    await on.postJson('/instances', makeImage({ seed, rows, columns: rows }))
  const socketFolder = () => {
    const [name = 'none'] = readdirSync(join(folder, 'temporary')).filter(entry => entry.startsWith('orthanc-cloud'))
    return join(folder, 'temporary', name)
  }

  it('works as before after POST /tools/reset', async () => {
    const on = await start()
    const { ParentStudy } = await upload(on, 1)
    for (let times = 1; times <= 2; times++) {
      const before = on.enginePid()
      await on.request('POST', '/tools/reset', Buffer.from('')).catch(() => undefined) // it may end with the old server
      while (on.enginePid() === before) await sleep(20)
      await on.ready()
      await upload(on, 1 + times)
      await on.getJson(`/studies/${ParentStudy}/cloud-storage`) // a route that asks Orthanc
      const TargetStorage = times === 1 ? 'object-storage' : 'file-system'
      const body = JSON.stringify({ Resources: [ParentStudy], TargetStorage, Asynchronous: false })
      const moved = await on.request('POST', '/move-storage', Buffer.from(body))
      assert.equal(moved.status, 200, moved.body.toString())
    }
    never(on, /is stopping \[/)
  })

  it('finishes what is under way when SIGTERM comes to engine and Orthanc alike', async () => {
    const on = await start()
    await upload(on, 1)
    const engine = on.enginePid() as number
    process.kill(engine, 'SIGTERM')
    await upload(on, 2, 1024)
    assert.equal(on.enginePid(), engine)
    await on.stop()
    orthanc = undefined
    never(on, /is started again|was killed by signal/)
    assert.deepEqual(readdirSync(join(folder, 'temporary')), [])
  })

  it("has its socket in Orthanc's TemporaryDirectory, and again when it was cleaned away", async () => {
    const on = await start()
    const place = socketFolder()
    rmSync(place, { recursive: true })
    const all = Array.from({ length: 20 }, (_, seed) => upload(on, seed + 1, 512))
    assert.equal((await Promise.all(all)).length, 20)
    assert.equal(socketFolder(), place)
    await on.logged(/socket was removed/)
    never(on, /is started again/)
  })

  it('says at once, and to each caller, that an engine cannot start, and serves as soon as one can', async () => {
    const Engine = join(folder, 'engine.mjs')
    copyFileSync(join(dirname(PLUGIN), 'engine.mjs'), Engine)
    const on = await start({ Engine })
    const { ID } = await upload(on, 1)
    renameSync(Engine, `${Engine}.gone`)
    process.kill(on.enginePid() as number, 'SIGKILL')
    const refused = await on.request('GET', `/instances/${ID}/file`) // with a deadline of twenty minutes
    assert.equal(refused.status, 503)
    await on.logged(/cannot read '[0-9a-f-]{36}': the storage engine cannot start: .*Cannot find module/)
    renameSync(`${Engine}.gone`, Engine)
    await on.logged(/the storage engine runs again/)
    assert.equal((await on.request('GET', `/instances/${ID}/file`)).status, 200)
  })
})
