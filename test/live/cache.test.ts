/**
 * The cache on disk in the real Orthanc. The store is looked into from outside: what Orthanc can still read after its
 * object has gone from there comes from the cache.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import { type OrthancProcess, RefusedToStart, startOrthanc } from '../../harness/orthanc.ts'
import { until } from '../../harness/until.ts'
import { copiesIn, flip } from '../support/cache-folder.ts'
import { LONG } from '../support/long.ts'
import { directoryPlace, type Place, s3Place } from './support/places.ts'
import { s3Server } from './support/servers.ts'

const image = (seed: number) => makeImage({ seed, rows: 64, columns: 64 })

interface Kind {
  readonly name: string
  make(): Promise<Place>
  /** Beside the section of the place. */
  readonly options?: (folder: string) => object
}
const make = () => (s3Server() ? s3Place() : directoryPlace())
const keyFile = (folder: string, id: number) => {
  const file = join(folder, `${id}.key`)
  writeFileSync(file, `${Buffer.alloc(32, id).toString('base64')}\n`, { mode: 0o600 })
  return [id, file]
}
const kinds: readonly Kind[] = [
  { name: 'plain', make },
  { name: 'encrypted', make, options: folder => ({ StorageEncryption: { MasterKey: keyFile(folder, 1) } }) },
  ...(LONG
    ? [
        {
          name: 'encrypted with RangeReads',
          make,
          options: (folder: string) => ({ StorageEncryption: { MasterKey: keyFile(folder, 1), RangeReads: true } }),
        },
      ]
    : []),
  { name: 'in a hybrid mode', make, options: () => ({ HybridMode: 'WriteToObjectStorage' }) },
]

for (const { name, make, options = () => ({}) } of kinds)
  describe(`Orthanc with a cache, ${name}`, { concurrency: 1 }, () => {
    let folder: string
    let path: string
    let place: Place
    let orthanc: OrthancProcess

    const start = async (cache: object = {}, more: object = {}) => {
      await orthanc?.stop()
      const [[section = '', given] = []] = Object.entries(place.config)
      orthanc = await startOrthanc({
        dir: folder,
        config: {
          [section]: { ...given, ...options(folder), ...more },
          CloudStorage: { Cache: { Path: path, ...cache } },
        },
      })
    }
    const status = () => orthanc.getJson('/cloud-storage/status')
    const upload = async (file: Uint8Array): Promise<string> => (await orthanc.postJson('/instances', file)).ID
    const copies = (count: number) =>
      until(
        () => `${count} copies; there are ${copiesIn(path).length}`,
        async () => copiesIn(path).length === count && (await status()).CacheFiles === count,
      )
    const clear = async () => {
      for (const id of await orthanc.getJson('/patients')) await orthanc.delete(`/patients/${id}`)
      assert.deepEqual(await place.keys(), [])
      assert.deepEqual(copiesIn(path), [])
    }
    const perImage = name === 'encrypted' || !process.env['ORTHANC_RELEASE'] ? undefined : 1

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'ocs-cached-'))
      path = join(folder, 'cache')
      place = await make()
      await start()
    })
    after(async () => {
      await orthanc?.stop()
      await place?.dispose()
      rmSync(folder, { recursive: true, force: true })
    })

    it('reads from it what was uploaded, without the store; a removal empties both', async () => {
      const file = image(1)
      const id = await upload(file)
      const keys = await place.keys()
      await copies(perImage ?? keys.length)
      for (const key of keys) await place.remove(key)
      assert.ok((await orthanc.getBytes(`/instances/${id}/file`)).equals(file))
      const { Cache, CacheHits } = await status()
      assert.equal(Cache, 'On')
      assert.ok(CacheHits > 0)
      await clear()
    })

    it('with OnWrite off, keeps what is read; and nothing after it was damaged', async () => {
      await start({ OnWrite: false })
      const file = image(2)
      const id = await upload(file)
      assert.ok((await orthanc.getBytes(`/instances/${id}/file`)).equals(file))
      await copies(1)
      // A new engine has nothing in memory, where RangeReads keeps what was opened.
      await start({ OnWrite: false })
      assert.ok((await orthanc.getBytes(`/instances/${id}/file`)).equals(file))
      assert.equal((await status()).CacheHits, 1)
      for (const copy of copiesIn(path)) flip(copy, readFileSync(copy).byteLength - 40)
      await start({ OnWrite: false })
      assert.ok((await orthanc.getBytes(`/instances/${id}/file`)).equals(file))
      const { CacheHits, CacheDropped } = await status()
      assert.deepEqual([CacheHits, CacheDropped], [0, 1])
      await clear()
    })

    it('goes on with it after Orthanc, and after an engine, was killed', async () => {
      await start()
      const file = image(3)
      const id = await upload(file)
      const keys = await place.keys()
      await copies(keys.length)
      for (const kill of ['Orthanc', 'engine']) {
        if (kill === 'engine') process.kill(orthanc.enginePid() as number, 'SIGKILL')
        else {
          orthanc.kill('SIGKILL')
          await orthanc.exited
          await start()
        }
        await until('the engine to serve with its cache', async () => {
          const answer = await orthanc.request('GET', '/cloud-storage/status').catch(() => undefined)
          return answer?.status === 200 && JSON.parse(answer.body.toString()).Cache === 'On'
        })
        assert.ok((await orthanc.getBytes(`/instances/${id}/file`)).equals(file))
        await until('a hit', async () => (await status()).CacheHits > 0)
      }
      await clear()
    })

    it('is warmed by a job', async () => {
      await start({ OnWrite: false })
      const files = [4, 5, 6, 7].map(seed => image(seed))
      for (const file of files) await upload(file)
      const patients: string[] = await orthanc.getJson('/patients')
      const request = Buffer.from(JSON.stringify({ Resources: patients, Asynchronous: true }))
      const { ID } = await orthanc.postJson('/cloud-storage/prefetch', request)
      const job = await orthanc.job(ID)
      assert.equal(job.State, 'Success')
      assert.equal(job.Type, 'Prefetch')
      const keys = await place.keys()
      assert.deepEqual([job.Content.Read.Files, job.Content.Failed], [keys.length, 0])
      await copies(keys.length)
      for (const key of keys) await place.remove(key)
      for (const id of await orthanc.getJson('/instances')) await orthanc.getBytes(`/instances/${id}/file`)
      const wrong = await orthanc.request('POST', '/cloud-storage/prefetch', Buffer.from('{"Resources": []}'))
      assert.equal(wrong.status, 400)
      await clear()
    })

    if (name === 'encrypted')
      it('drops copies whose key was rotated away, and reads what the store has', async () => {
        await start()
        const file = image(8)
        const id = await upload(file)
        await copies(2)
        const before = readdirSync(path, { recursive: true }).length
        assert.ok(before > 0)
        // Another master key, and an object under it: what rotate-keys leaves behind.
        const next = { StorageEncryption: { MasterKey: keyFile(folder, 2), PreviousMasterKeys: [keyFile(folder, 1)] } }
        await start({}, next)
        await orthanc.delete(`/instances/${id}`)
        const again = await upload(file)
        await copies(2)
        await start({}, next)
        assert.ok((await orthanc.getBytes(`/instances/${again}/file`)).equals(file))
        await clear()
      })
  })

describe('Orthanc does not start with a cache', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-cached-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const refuses = async (Path: string, line: RegExp) => {
    const config = { DirectoryStorage: { Path: join(folder, 'objects') }, CloudStorage: { Cache: { Path } } }
    await assert.rejects(startOrthanc({ config, dir: folder }), error => {
      assert.ok(error instanceof RefusedToStart)
      assert.match(error.log, line)
      return true
    })
  }

  it('in a folder with files of others', async () => {
    const path = join(folder, 'others')
    mkdirSync(path, { mode: 0o700 })
    writeFileSync(join(path, 'precious'), '')
    await refuses(path, /CloudStorage\.Cache\.Path is .*files that are not of the cache.*Name a folder/)
    assert.deepEqual(readdirSync(path), ['precious'])
  })
  it('in a folder that others may read', async () => {
    const path = join(folder, 'open')
    mkdirSync(path, { mode: 0o755 })
    await refuses(path, /CloudStorage\.Cache\.Path is .*mode 755.*chmod 700/)
  })
  it('in its storage', () =>
    refuses(join(folder, 'objects', 'cache'), /Cache\.Path is .*but DirectoryStorage\.Path is/))
  it('in its index', () => refuses(join(folder, 'index', 'cache'), /Cache\.Path is .*but (Storage|Index)Directory is/))
  it('that another Orthanc uses', async () => {
    const path = join(folder, 'shared')
    const config = { DirectoryStorage: { Path: join(folder, 'first') }, CloudStorage: { Cache: { Path: path } } }
    const first = await startOrthanc({ config, dir: join(folder, 'one') })
    await refuses(path, /CloudStorage\.Cache\.Path is .*which process \d+ on .* uses.*a folder of its own/)
    await first.stop()
  })
})
