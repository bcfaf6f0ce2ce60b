/** A round trip on the newest Orthanc that Debian has. `npm run test:long` has the whole core on each version. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { sha256 } from '../support/sha256.ts'
import { directoryPlace, type Place, s3Place } from './support/places.ts'
import { liveOrthanc, s3Server } from './support/servers.ts'

const RELEASE = 'forky'
const tree = await liveOrthanc(RELEASE)

describe('the newest Orthanc', { skip: tree === undefined }, () => {
  let place: Place
  let orthanc: OrthancProcess
  let folder: string

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-newest-'))
    place = s3Server() ? await s3Place() : await directoryPlace()
    orthanc = await startOrthanc({ release: RELEASE, config: place.config, dir: folder })
  })
  after(async () => {
    await orthanc?.stop()
    await place?.dispose()
    rmSync(folder, { recursive: true, force: true })
  })

  it('is what the tree says, and no older', async () => {
    const { Version = '' } = await orthanc.getJson('/system')
    assert.equal(tree?.version, Version)
    assert.ok(Version.localeCompare('1.13.0', undefined, { numeric: true }) >= 0, Version)
  })

  it('stores a file, gives it back whole and in part, and removes it', async () => {
    const image = makeImage({ seed: 1, rows: 600, columns: 600 })
    const { ID } = await orthanc.postJson('/instances', image)
    const [key] = await place.keys()
    assert.equal(sha256(await orthanc.getBytes(`/instances/${ID}/file`)), sha256(image))
    await orthanc.logged(new RegExp(`read '${key}'`))
    assert.equal((await orthanc.getJson(`/instances/${ID}/tags?simplify`)).Rows, '600')
    await orthanc.delete(`/instances/${ID}`)
    assert.deepEqual(await place.keys(), [])
  })

  it('is told in one line what holds its files up, and nothing once it is as the line says', async t => {
    if (!s3Server()) return t.skip('a directory is fast enough')
    const hints = () => orthanc.log().match(/^W.* cloud-storage:.*Orthanc does less with its files.*$/gm) ?? []
    const advice = { StorageLoaderThreadsCount: 16, MaximumStorageCacheSize: 128 }
    assert.equal(hints().length, 1)
    assert.deepEqual(JSON.parse(/\{.*\}$/.exec(hints()[0] ?? '')?.[0] ?? ''), advice)
    await orthanc.stop()
    orthanc = await startOrthanc({ release: RELEASE, config: { ...place.config, ...advice }, dir: folder })
    assert.deepEqual(hints(), [])
  })
})
