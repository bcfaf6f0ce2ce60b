/** From one provider to another as docs/migrate.md says, with a real Orthanc that works meanwhile. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { LONG } from '../support/long.ts'
import { type Copied, startCopy } from './support/copy-command.ts'
import { azurePlace, type Place, s3Place } from './support/places.ts'
import { liveServer, s3Server } from './support/servers.ts'

const folder = mkdtempSync(join(tmpdir(), 'ocs-migrate-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const keyFile = join(folder, '1.key')
writeFileSync(keyFile, `${Buffer.alloc(32, 1).toString('base64')}\n`, { mode: 0o600 })
const sealed = { StorageEncryption: { MasterKey: [1, keyFile] } }
const legacy = { StorageStructure: 'legacy' }

/** Undefined: Orthanc's own disk. */
type Make = () => Promise<Place | undefined>
const azurite = liveServer('azurite')
const s3 = (more: object) => (): Promise<Place> => s3Place({ ...more })
const azure = (more: object) => async () => azurite && (await azurePlace(azurite, { ...more }))
const disk: Make = async () => undefined

interface Way {
  readonly name: string
  readonly from: Make
  readonly to: Make
  /** The last difference is copied while Orthanc still runs, because only its index knows the types. */
  readonly needsIndex?: true
  readonly more?: readonly string[]
}
const short: readonly Way[] = [{ name: 'disk to S3, encrypted', from: disk, to: s3({ ...legacy, ...sealed }) }]
const long: readonly Way[] = [
  { name: 'S3 to Azure', from: s3({}), to: azure({ RootPath: 'a/b' }) },
  { name: 'Azure to S3', from: azure({}), to: s3({}) },
  { name: 'plain to encrypted', from: s3({}), to: s3(sealed) },
  { name: 'encrypted to plain', from: s3(sealed), to: s3({}), more: ['--decrypt'] },
  { name: 'disk to the flat structure', from: disk, to: s3({}), needsIndex: true },
  { name: 'S3 to disk', from: s3({}), to: disk },
]

for (const { name, from: makeFrom, to: makeTo, needsIndex = false, more = [] } of s3Server() && azurite
  ? [...short, ...(LONG ? long : [])]
  : [])
  describe(`a change of provider, ${name}`, { concurrency: 1 }, () => {
    const dir = join(folder, randomUUID())
    const places: (Place | undefined)[] = []
    let orthanc: OrthancProcess
    let instances: readonly string[] = []
    const contents = new Map<string, Buffer>()
    const start = (place: Place | undefined) =>
      startOrthanc({ dir, config: place?.config ?? {}, ...(place ? {} : { plugin: null }) })
    const store = async (seeds: readonly number[]) => {
      for (const seed of seeds)
        await orthanc.postJson('/instances', makeImage({ seed, rows: 64, columns: 64, series: seed % 3 }))
    }
    /** The same Orthanc, so its disk is in the same folder on both sides. */
    const configOf = (place: Place | undefined) => place?.config ?? { StorageDirectory: join(dir, 'index') }
    const copy = (...args: readonly string[]): Promise<Copied> =>
      startCopy(folder, configOf(places[0]), configOf(places[1]), ...more, ...args).ended

    before(async () => {
      places.push(await makeFrom(), await makeTo())
      orthanc = await start(places[0])
      await store([0, 1, 2, 3, 4, 5])
    })
    after(async () => {
      await orthanc?.stop()
      for (const place of places) await place?.dispose()
    })

    it('copies while Orthanc stores and removes, then the difference, and Orthanc has everything there', async () => {
      const where = needsIndex ? ['--orthanc', orthanc.url] : []
      const [first] = await Promise.all([copy(...where), store([6, 7, 8])])
      assert.notEqual(first.code, 3, first.stderr)
      const all = (await orthanc.getJson('/instances')) as string[]
      await orthanc.delete(`/instances/${all[0]}`)
      await store([9])
      const second = await copy(...where)
      assert.notEqual(second.code, 3, second.stderr)
      instances = (await orthanc.getJson('/instances')) as string[]
      for (const id of instances) contents.set(id, await orthanc.getBytes(`/instances/${id}/file`))

      if (!needsIndex) await orthanc.stop()
      const last = await copy(
        ...where,
        '--deep',
        '--delete-extra',
        '--yes',
        '--expect',
        String(second.summary['extra']),
      )
      assert.equal(last.code, 0, `${last.stderr}${JSON.stringify(last.summary)}`)
      assert.equal(last.summary['missing'], 0)
      await orthanc.stop()

      orthanc = await start(places[1])
      assert.equal(instances.length, 9)
      for (const id of instances)
        assert.ok((contents.get(id) as Buffer).equals(await orthanc.getBytes(`/instances/${id}/file`)))
      await store([10])
      assert.equal(((await orthanc.getJson('/instances')) as string[]).length, 10)
    })
  })
