/** `rotate-keys` as people run it, on real stores: killed, interrupted, and beside a working Orthanc. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { hash, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makeImage } from '../../harness/dicom.ts'
import { startOrthanc } from '../../harness/orthanc.ts'
import { collect, sourceOf } from '../../src/bytes.ts'
import { a1, keyIdOf } from '../../src/seal/a1.ts'
import { keyring, masterKey } from '../../src/seal/keyring.ts'
import { chanceOf } from '../support/chance.ts'
import { LONG } from '../support/long.ts'
import { program } from '../support/program.ts'
import { noise } from '../support/store.suite.ts'
import { directoryPlace, type Place, s3Place } from './support/places.ts'
import { queueDatabase, skip } from './support/queue.ts'
import { s3Server } from './support/servers.ts'

const never = new AbortController().signal
const MB = 1024 * 1024
const SMALL_OBJECTS = 180
const KILLS = LONG ? 10 : 4
/** Seals between two kills: some objects are done each time, and all runs that were killed do not do all of them. */
const [FEWEST, MOST] = [12, 18]

/** The header of format A1: the bytes before the ciphertext. */
const HEAD_BYTES = 70

const folder = mkdtempSync(join(tmpdir(), 'ocs-rotate-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const textOf = (id: number) => Buffer.alloc(32, id).toString('base64')
const fileOf = (id: number) => {
  const file = join(folder, `${id}.key`)
  writeFileSync(file, `${textOf(id)}\n`, { mode: 0o600 })
  return [id, file] as const
}
const oldKeys = { MasterKey: fileOf(1) }
const newKeys = { MasterKey: fileOf(2), PreviousMasterKeys: [fileOf(1)] }
const old = a1(keyring(masterKey(1, textOf(1)), []))
const current = a1(keyring(masterKey(2, textOf(2)), []))

const withKeys = (place: Place, encryption: object, more: object = {}) => {
  const [[section = '', options] = []] = Object.entries(place.config)
  return { [section]: { ...options, StorageEncryption: encryption, ...more } }
}

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  /** Without the lines of progress: a slower machine prints more of them. */
  readonly stderr: string
}

const killing = new URL('support/kill-at.ts', import.meta.url).href

/** Runs `rotate-keys` with new keys. */
const rotate = (place: Place, ...more: string[]) => rotateUntil(undefined, place, ...more)

/** `killAt`: see kill-at.ts. */
function rotateUntil(killAt: string | undefined, place: Place, ...more: string[]): Promise<Ended> {
  const config = join(folder, `${randomUUID()}.json`)
  // One connection is not enough to read a large object while another is written; rotate-keys must not wait for itself.
  const narrow = 'AwsS3Storage' in place.config ? { MaxConnections: 1 } : {}
  writeFileSync(config, JSON.stringify(withKeys(place, newKeys, narrow)))
  const [node = '', ...script] = program
  const args = [...(killAt ? ['--import', killing] : []), ...script, 'rotate-keys', '--config', config, ...more]
  const child = spawn(node, args, { env: { ...process.env, KILL_AT: killAt } })
  const said = { stdout: '', stderr: '' }
  child.stdout.on('data', text => (said.stdout += text))
  child.stderr.on('data', text => (said.stderr += text))
  const progress = /^orthanc-cloud-storage: (\d+ %, )?\d+ objects? (to )?re-encrypt.*\n/gm
  return new Promise(resolve =>
    child.once('close', (code, signal) =>
      resolve({ code, signal, stdout: said.stdout, stderr: said.stderr.replace(progress, '') }),
    ),
  )
}

const kinds: { name: string; extension: string; make(): Promise<Place> }[] = [
  { name: 'a directory', extension: '.dcm.enc', make: () => directoryPlace() },
]
if (s3Server())
  kinds.push(
    {
      name: 'S3 with the transfer manager',
      extension: '.dcm.enc',
      make: () => s3Place({ UseTransferManager: true, RootPath: 'orthanc/files' }),
    },
    ...(LONG ? [{ name: 'S3', extension: '.dcm.enc', make: () => s3Place() }] : []),
  )

const onKind = ({ name, extension, make }: (typeof kinds)[number]) =>
  describe(`rotate-keys on ${name}`, { concurrency: 1 }, () => {
    let place: Place
    const files = new Map<string, Buffer>()
    const chance = chanceOf(7)

    const idOf = async (key: string) => keyIdOf(await collect(await place.store.get(key, { start: 0, end: 6 }, never)))
    /** The header of each object: the id of its master key, and a data key and an IV that no other write has. */
    const heads = async () => {
      const head = async (key: string) => collect(await place.store.get(key, { start: 0, end: HEAD_BYTES }, never))
      return new Map(await Promise.all([...files.keys()].map(async key => [key, await head(key)] as const)))
    }

    before(async () => {
      place = await make()
      await place.store.check(never) // makes the folder of a directory
      const root = 'RootPath' in (Object.values(place.config)[0] ?? {}) ? 'orthanc/files/' : ''
      const sizes = [...Array.from({ length: SMALL_OBJECTS }, (_, i) => i * 50), 9 * MB, 21 * MB + 5]
      for (const [i, size] of sizes.entries()) files.set(`${root}${randomUUID()}${extension}`, noise(size, i + 1))
      const entries = [...files]
      const fill = async () => {
        for (let next = entries.pop(); next; next = entries.pop())
          await place.store.put(next[0], old.seal(sourceOf(next[1])), never)
      }
      await Promise.all(Array.from({ length: 8 }, fill))
    })
    after(() => place?.dispose())

    it('says beforehand how much there is to do', async () => {
      const { code, stdout, stderr } = await rotate(place, '--dry-run')
      assert.deepEqual([code, stderr], [0, ''])
      const bytes = [...files.values()].reduce((sum, file) => sum + file.byteLength + 86, 0)
      assert.match(
        stdout,
        new RegExp(`^${files.size} objects would be re-encrypted under key 2 .${(bytes / 1e6).toFixed(1)} MB`),
      )
    })

    it(`is killed ${KILLS} times and goes on, without loss and without doing a thing twice`, async () => {
      const state = join(folder, `${randomUUID()}.state`)
      let before = await heads()
      for (let i = 0; i < KILLS; i++) {
        const killAt = `SIGKILL ${FEWEST + chance.between(0, MOST - FEWEST - 1)} ${chance.between(0, 400 - 1)}`
        const { signal, stderr } = await rotateUntil(killAt, place, '--state', state, '--concurrency', '4')
        assert.equal(signal, 'SIGKILL', stderr)
        const now = await heads()
        const changed = [...now].filter(([key, head]) => !before.get(key)?.equals(head)).map(([key]) => key)
        for (const key of changed) assert.equal(keyIdOf(before.get(key) as Buffer), 1, `${key} was written twice`)
        before = now
      }
      assert.ok([...before.values()].filter(head => keyIdOf(head) === 2).length >= KILLS)
      const { code, stdout, stderr } = await rotate(place, '--state', state, '--json')
      assert.deepEqual([code, stderr], [0, ''])
      const { keys, unusedKeys, complete, failed } = JSON.parse(stdout)
      assert.deepEqual(
        { keys, unusedKeys, complete, failed },
        { keys: { 2: files.size }, unusedKeys: [1], complete: true, failed: 0 },
      )
      assert.deepEqual(await place.keys(), [...files.keys()].sort())
      for (const [key, bytes] of files)
        assert.ok((await collect(current.unseal(await place.store.get(key, undefined, never)))).equals(bytes), key)
    })

    it('names a damaged object and goes on with the others', async () => {
      const [first = '', second = ''] = files.keys()
      await place.store.put(first, old.seal(sourceOf(Buffer.from('fine'))), never)
      const damaged = await collect({ size: 186, body: old.seal(sourceOf(noise(100))).open() })
      await place.store.put(second, sourceOf(damaged.fill(0, 100, 110)), never)
      const { code, stdout, stderr } = await rotate(place, '--json')
      assert.equal(code, 1)
      assert.match(stderr, new RegExp(`cannot re-encrypt '${second}' on ${place.store.name}: .*tag does not match`))
      const { reencrypted, keys, failed } = JSON.parse(stdout)
      assert.deepEqual([reencrypted.objects, failed, keys], [1, 1, { 1: 1, 2: files.size - 1 }])
      assert.equal(await idOf(first), 2)
      assert.equal(await idOf(second), 1)
      await place.store.remove(second, never)
    })
  })

describe('rotate-keys', () => {
  it('ends after the objects under way when it is interrupted, and says how to go on', async () => {
    const place = await directoryPlace()
    await place.store.check(never)
    const count = 200
    for (let i = 0; i < count; i++)
      await place.store.put(`${randomUUID()}.dcm.enc`, old.seal(sourceOf(Buffer.alloc(10))), never)
    const state = join(folder, 'interrupted.state')
    const { code, stdout, stderr } = await rotateUntil('SIGINT 20 0', place, '--state', state)
    assert.equal(code, 3)
    assert.match(stderr, /interrupted; the objects under way are finished first\n(.*\n)*.*run the same command again/)
    assert.ok(!stdout.includes('no longer used'), stdout)
    const rest = await rotate(place, '--state', state, '--json')
    assert.equal(rest.code, 0)
    assert.equal(JSON.parse(rest.stdout).reencrypted.objects, count)
    await place.dispose()
  })
})

describe('rotate-keys on a queue', { skip }, () => {
  it('is shared by two processes: each object is done once, and one of them has the report', async () => {
    const { url } = await queueDatabase()
    const place = await directoryPlace()
    await place.store.check(never)
    const keys = Array.from({ length: 300 }, () => `${randomUUID()}.dcm.enc`)
    for (const key of keys) await place.store.put(key, old.seal(sourceOf(Buffer.from(key))), never)
    const both = await Promise.all([1, 2].map(() => rotate(place, '--queue', url, '--json')))
    const [report = '', ...others] = both.map(({ stdout }) => stdout).filter(text => text !== '')
    assert.deepEqual([both.map(({ code }) => code), others], [[0, 0], []], both.map(({ stderr }) => stderr).join('\n'))
    const { complete, keys: counts, unusedKeys, reencrypted } = JSON.parse(report)
    assert.deepEqual([complete, counts, unusedKeys, reencrypted.objects], [true, { 2: 300 }, [1], 300])
    for (const key of keys)
      assert.equal((await collect(current.unseal(await place.store.get(key, undefined, never)))).toString(), key)
    await place.dispose()
  })
})

const besideOrthanc = ({ name, make }: (typeof kinds)[number]) =>
  describe(`rotate-keys beside Orthanc on ${name}`, () => {
    it('changes the key while files come, are read and go', async () => {
      const place = await make()
      const dir = mkdtempSync(join(tmpdir(), 'ocs-rotate-orthanc-'))
      let orthanc = await startOrthanc({ config: withKeys(place, oldKeys), dir })
      const upload = async (seed: number) => {
        const file = makeImage({ seed, rows: 200, columns: 200 })
        return [(await orthanc.postJson('/instances', file)).ID as string, hash('sha256', file)] as const
      }
      const kept = new Map<string, string>()
      try {
        const doomed: string[] = []
        for (let seed = 1; seed <= 40; seed++) {
          const [id, digest] = await upload(seed)
          if (seed % 4 === 0) doomed.push(id)
          else kept.set(id, digest)
        }
        await orthanc.stop()
        orthanc = await startOrthanc({ config: withKeys(place, newKeys), dir })
        const rotation = rotate(place, '--concurrency', '4')
        let over = false
        void rotation.then(() => {
          over = true
        })
        for (let seed = 100; !over || doomed.length > 0; seed++) {
          const id = doomed.pop()
          if (id) await orthanc.delete(`/instances/${id}`)
          kept.set(...(await upload(seed)))
          for (const [known, digest] of [...kept].slice(-3))
            assert.equal(hash('sha256', await orthanc.getBytes(`/instances/${known}/file`)), digest)
        }
        const { code, stdout, stderr } = await rotation
        assert.deepEqual([code, stderr], [0, ''])
        assert.match(stdout, /key 1 is no longer used\ntook .*\n$/)

        await orthanc.stop()
        orthanc = await startOrthanc({ config: withKeys(place, { MasterKey: fileOf(2) }), dir })
        for (const [id, digest] of kept)
          assert.equal(hash('sha256', await orthanc.getBytes(`/instances/${id}/file`)), digest)
      } finally {
        await orthanc.stop()
        await place.dispose()
        rmSync(dir, { recursive: true, force: true })
      }
    })
  })

// They mostly wait for programs to start and for servers to answer.
describe('on every kind of store', { concurrency: 3 }, () => {
  kinds.forEach(onKind)
  kinds.slice(LONG ? 0 : -1).forEach(besideOrthanc)
})
