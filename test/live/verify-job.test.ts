/** `POST /cloud-storage/verify` in the real Orthanc: what it finds, and that it begins again after any interruption. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { until } from '../../harness/until.ts'
import { sourceOf } from '../../src/bytes.ts'
import { LONG } from '../support/long.ts'
import { directoryPlace, type Place, s3Place } from './support/places.ts'
import { s3Server } from './support/servers.ts'

const never = new AbortController().signal
const FILES = 12
const kinds: readonly { name: string; make(): Promise<Place> }[] = [
  { name: 'a directory', make: () => directoryPlace() },
  ...(s3Server() ? [{ name: 'S3', make: () => s3Place() }] : []),
]

for (const { name, make } of kinds)
  describe(`a job VerifyStorage over ${name}`, { concurrency: 1 }, () => {
    const folder = mkdtempSync(join(tmpdir(), 'ocs-verify-job-'))
    const scratch = mkdtempSync(join(tmpdir(), 'ocs-scratch-'))
    let place: Place
    let orthanc: OrthancProcess
    let stored: readonly string[]

    const start = async () => {
      orthanc = await startOrthanc({ dir: folder, config: place.config, env: { TMPDIR: scratch } })
    }
    const verify = (more: object) =>
      orthanc.postJson('/cloud-storage/verify', Buffer.from(JSON.stringify({ OlderThan: 0, Settle: '0', ...more })))
    const found = ({ Findings }: { Findings: readonly { Kind: string; Key: string }[] }) =>
      Findings.map(({ Kind, Key }) => `${Kind} ${Key}`).sort()
    const plantOrphan = async () => {
      const key = (stored[0] ?? '').replace(/[0-9a-f]{8}-[0-9a-f-]{27}/, randomUUID())
      await place.store.put(key, sourceOf(Buffer.from('not in any index')), never)
      return key
    }
    /** Scratch files that the engine has open. */
    const open = () => {
      const links = `/proc/${orthanc.enginePid()}/fd`
      return readdirSync(links).filter(fd => {
        try {
          return /\/scratch( \(deleted\))?$/.test(readlinkSync(join(links, fd)))
        } catch {
          return false // closed while we looked
        }
      })
    }

    before(async () => {
      place = await make()
      await start()
      for (let seed = 0; seed < FILES; seed++)
        await orthanc.postJson('/instances', makeImage({ seed, rows: 64, columns: 64, series: seed % 3 }))
      stored = await place.keys()
    })
    after(async () => {
      await orthanc?.stop()
      await place?.dispose()
      for (const made of [folder, scratch]) rmSync(made, { recursive: true, force: true })
    })

    it('finds nothing where everything is well, and reads it all', async () => {
      const content = await verify({ Deep: true, Digests: true })
      assert.deepEqual([content.Complete, content.BelongTogether, content.Failed], [true, true, 0])
      assert.deepEqual([content.Files, content.Read.Files], [stored.length, stored.length])
      assert.deepEqual([content.Findings, content.Places[0].Objects], [[], stored.length])
    })

    it('finds what is missing and what is too much, and changes nothing', async () => {
      const [gone = ''] = stored
      const { body } = { body: await place.store.get(gone, undefined, never) }
      const bytes: Uint8Array[] = []
      for await (const chunk of body.body) bytes.push(chunk)
      await place.remove(gone)
      const orphan = await plantOrphan()
      const keys = await place.keys()
      const { ID } = await verify({ Asynchronous: true, Priority: 3 })
      const job = await orthanc.job(ID)
      assert.deepEqual([job.Type, job.State, job.Progress, job.Priority], ['VerifyStorage', 'Success', 100, 3])
      assert.deepEqual(found(job.Content), [`missing ${gone}`, `orphan ${orphan}`])
      await orthanc.logged(/^W.*verification: missing: /m)
      await orthanc.logged(/^W.*verification: .*; missing: 1, orphan: 1$/m)
      assert.deepEqual((await place.keys()).sort(), keys.sort())
      await place.store.put(gone, sourceOf(Buffer.concat(bytes)), never)
      await place.remove(orphan)
    })

    it('refuses what it does not understand', async () => {
      for (const body of ['', '[]', '{"deep": true}', '{"OlderThan": "1 day"}']) {
        const { status } = await orthanc.request('POST', '/cloud-storage/verify', Buffer.from(body))
        assert.equal(status, 400, body)
      }
    })

    // The store does not matter for the rest.
    if (name !== 'a directory' && !LONG) return
    // Where something is too much, a job waits as long as Settle says. So it is in the middle until it begins again,
    // when nothing is too much any more.
    const interruptions: Readonly<Record<string, (id: string) => Promise<unknown>>> = {
      'a pause': async id => {
        await orthanc.request('POST', `/jobs/${id}/pause`, Buffer.from('{}'))
        await orthanc.job(id, ['Paused'])
        assert.deepEqual(open(), [], 'nothing is left of it')
        return () => orthanc.request('POST', `/jobs/${id}/resume`, Buffer.from('{}'))
      },
      'the death of the engine': async () => process.kill(orthanc.enginePid() as number, 'SIGKILL'),
      'a restart of Orthanc': async () => {
        await orthanc.stop()
        await start()
      },
    }
    for (const [what, interrupt] of Object.entries(interruptions))
      it(`begins again after ${what}, and ends right`, async () => {
        const orphan = await plantOrphan()
        const { ID } = await verify({ Asynchronous: true, Settle: '9d', Deep: true })
        await until('the middle', async () => (await orthanc.getJson(`/jobs/${ID}`)).Content.Phase === 'looking again')
        assert.equal(open().length, 1)
        const second = await orthanc.request('POST', '/cloud-storage/verify', Buffer.from('{}'))
        assert.equal(second.status, 400)
        assert.match(second.body.toString(), new RegExp(`under way already: /jobs/${ID}`))
        await place.remove(orphan)
        const goOn = await interrupt(ID)
        if (typeof goOn === 'function') await goOn()
        const { State, Content } = await orthanc.job(ID, ['Success', 'Failure'])
        assert.deepEqual([State, found(Content), Content.ChangedMeanwhile], ['Success', [], 0])
        assert.equal(Content.Read.Files, stored.length)
        assert.ok(!readdirSync(scratch, { recursive: true, encoding: 'utf8' }).some(path => path.endsWith('/scratch')))
      })
  })
