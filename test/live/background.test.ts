/** The standing call in the real Orthanc: an engine that asks it when nobody has asked the engine. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { instanceUid, makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { until } from '../../harness/until.ts'

const Engine = new URL('support/services-engine.ts', import.meta.url).pathname
const IMAGES = 40

describe('an engine that asks Orthanc by itself', () => {
  let folder: string
  let orthanc: OrthancProcess
  let stopped: boolean

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-background-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))
  beforeEach(async () => {
    orthanc = await startOrthanc({ config: { CloudStorage: { Engine } }, dir: join(folder, 'orthanc') })
    stopped = false
  })
  afterEach(async () => {
    if (!stopped) await orthanc.stop()
    rmSync(join(folder, 'orthanc'), { recursive: true })
  })

  const sent = (uri: string, body: unknown) => orthanc.postJson(uri, Buffer.from(JSON.stringify(body)))
  const upload = async (seed: number): Promise<string> =>
    (await orthanc.postJson('/instances', makeImage({ seed, rows: 8, columns: 8 }))).ID
  const engine = (): Promise<{ Engine: number; Storm: number }> => orthanc.getJson('/tiny/aside')
  /** Lets the engine ask these without end, and waits until it does. */
  async function storm(uris: string[]): Promise<void> {
    await orthanc.put('/tiny/aside', Buffer.from(JSON.stringify(uris)))
    await until('the storm', async () => (await engine()).Storm > 100)
  }

  it('gets what there is while files are written, read and removed', async () => {
    const upTo = Array.from({ length: IMAGES }, (_, seed) => seed + 1)
    const asked = (async () => {
      for (const _ of upTo) {
        const [system, nothing, lookup] = await sent('/tiny/aside', [
          '/system',
          '/series/nonsense',
          ['/tools/lookup', instanceUid(IMAGES + 1)],
        ])
        assert.deepEqual([system.Name, nothing, lookup], ['Orthanc', 'absent', []])
      }
    })()
    const ids = await Promise.all(upTo.map(upload))
    const infos = ids.map(id => `/instances/${id}/attachments/dicom/info`)
    const [answers] = await Promise.all([
      sent('/tiny/aside', [...infos, ['/tools/lookup', instanceUid(1)]]),
      ...ids.map(id => orthanc.getBytes(`/instances/${id}/file`)),
    ])
    assert.deepEqual(answers.pop(), [{ ID: ids[0], Path: `/instances/${ids[0]}`, Type: 'Instance' }])
    for (const [i, info] of answers.entries())
      assert.deepEqual(info, await orthanc.getJson(infos[i] as string), 'Orthanc says another thing')
    await Promise.all(ids.map(id => orthanc.delete(`/instances/${id}`)))
    assert.deepEqual(await sent('/tiny/aside', infos), Array(IMAGES).fill('absent'))
    await asked
    assert.doesNotMatch(orthanc.log(), /^E.*cloud-storage/m)
  })

  it('goes on asking when one engine has died in the middle of it', async () => {
    const id = await upload(1)
    for (let deaths = 0; deaths < 3; deaths++) {
      await storm(['/system', `/instances/${id}/attachments/dicom/info`, '/statistics'])
      const { Engine: pid } = await engine()
      process.kill(pid, 'SIGKILL')
      await until('the next engine', async () => (await engine()).Engine !== pid)
      assert.equal((await sent('/tiny/aside', ['/system']))[0].Name, 'Orthanc')
    }
    const said = (line: RegExp) => orthanc.log().match(line)?.length
    assert.equal(said(/the storage engine was killed by signal 9 and is started again/g), 3)
    assert.equal(said(/^E.*cloud-storage/gm), undefined)
  })

  it('does not keep Orthanc from stopping, nor from being killed', async () => {
    const id = await upload(1)
    await storm([`/instances/${id}/tags`, '/statistics', `/instances/${id}`])
    const pid = (await engine()).Engine
    await orthanc.stop() // rejects when Orthanc crashes
    stopped = true
    assert.doesNotMatch(orthanc.log(), /^E.*cloud-storage/m)
    await ended(pid)

    orthanc = await startOrthanc({ config: { CloudStorage: { Engine } }, dir: join(folder, 'orthanc') })
    await storm(['/statistics'])
    const next = (await engine()).Engine
    orthanc.kill('SIGKILL')
    await orthanc.exited
    await ended(next)
  })

  it('goes on when Orthanc begins again in the same process', async () => {
    await storm(['/statistics'])
    const pid = (await engine()).Engine
    await sent('/tools/reset', '')
    await until('the engine of the new life', async () => {
      const answer = await engine().catch(() => undefined)
      return answer && answer.Engine !== pid
    })
    assert.equal((await sent('/tiny/aside', ['/system']))[0].Name, 'Orthanc')
  })
})

const ended = (pid: number) =>
  until(`process ${pid} to end`, () => {
    try {
      return !process.kill(pid, 0)
    } catch {
      return true
    }
  })
