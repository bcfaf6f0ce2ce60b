/** `import` as people run it, into a real Orthanc: after a lost index, from a strange bucket, killed in the middle. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { makeImage, makeReport } from '../../harness/dicom.ts'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import { until } from '../../harness/until.ts'
import { sourceOf } from '../../src/bytes.ts'
import { LONG } from '../support/long.ts'
import { program } from '../support/program.ts'
import { sha256 } from '../support/sha256.ts'
import { directoryPlace, type Place, s3Place } from './support/places.ts'
import { s3Server } from './support/servers.ts'

const never = new AbortController().signal
const IMAGES = LONG ? 400 : 24

const folder = mkdtempSync(join(tmpdir(), 'ocs-import-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const keyFile = join(folder, '1.key')
writeFileSync(keyFile, `${Buffer.alloc(32, 1).toString('base64')}\n`, { mode: 0o600 })

const image = (seed: number) => makeImage({ seed, rows: 64, columns: 64, series: seed % 3 })
const newOrthanc = (config: object = {}) =>
  startOrthanc({ dir: join(folder, randomUUID()), config: { ...config }, plugin: null, verbose: false })

interface Ended {
  readonly code: number | null
  readonly stderr: string
  readonly found: readonly string[]
  readonly summary: Readonly<Record<string, unknown>>
}

/** `watch`: resolves when the command is to be killed. */
async function run(place: Place, more: readonly string[], watch?: () => Promise<unknown>): Promise<Ended> {
  const file = join(folder, `${randomUUID()}.json`)
  writeFileSync(file, JSON.stringify(place.config))
  const [node = '', ...script] = program
  const child = spawn(node, [...script, 'import', '--from', file, '--json', '-', ...more])
  const said = { stdout: '', stderr: '' }
  child.stdout.on('data', text => (said.stdout += text))
  child.stderr.on('data', text => (said.stderr += text))
  const closed = new Promise<number | null>(resolve => child.once('close', resolve))
  if (watch) {
    await watch()
    child.kill('SIGKILL')
  }
  const code = await closed
  const lines = said.stdout.split('\n').filter(line => line !== '')
  const [summary = {}, ...others] = lines.map(line => JSON.parse(line)).toReversed()
  return { code, stderr: said.stderr, summary, found: others.map(({ kind, key }) => `${kind} ${key}`).sort() }
}

/** Of all files, as Orthanc gives them out. */
async function filesOf(orthanc: OrthancProcess): Promise<string[]> {
  const hashes: string[] = []
  for (const id of await orthanc.getJson('/instances'))
    hashes.push(sha256(await orthanc.getBytes(`/instances/${id}/file`)))
  return hashes.sort()
}

const encrypted = { StorageEncryption: { MasterKey: [1, keyFile] } }
/** Where a file is encrypted or compressed, Orthanc keeps the beginning of each image as a file of its own. */
const losses: readonly { name: string; make(): Promise<Place>; orthanc?: object; other?: object }[] = [
  { name: 'a directory, legacy, encrypted', make: () => directoryPlace({ StorageStructure: 'legacy', ...encrypted }) },
  ...(s3Server() && LONG
    ? [
        {
          name: 'S3, flat, encrypted',
          make: () => s3Place({ RootPath: 'a/b', ...encrypted }),
          other: { OverwriteInstances: true },
        },
      ]
    : []),
  ...(s3Server()
    ? [
        {
          name: 'S3, legacy, compressed',
          make: () => s3Place({ StorageStructure: 'legacy' }),
          orthanc: { StorageCompression: true },
        },
      ]
    : []),
]

for (const { name, make, orthanc: config = {}, other = {} } of losses)
  describe(`import after a lost index: ${name}`, () => {
    it('gives every file to a new Orthanc once, though it is killed in the middle', async () => {
      const place = await make()
      const old = await startOrthanc({ dir: join(folder, randomUUID()), config: { ...place.config, ...config } })
      for (let seed = 0; seed < IMAGES; seed++) await old.postJson('/instances', image(seed))
      await old.postJson('/instances', makeReport({ seed: 5000 }))
      const wanted = await filesOf(old)
      await old.stop()
      const objects = (await place.keys()).length
      assert.ok(objects > 2 * IMAGES, 'there are beginnings of images')

      const orthanc = await newOrthanc(other)
      try {
        const state = join(folder, randomUUID())
        const some = () =>
          until('some files to be there', async () => (await orthanc.getJson('/statistics')).CountInstances > 3)
        const first = await run(place, ['--orthanc', orthanc.url, '--state', state, '--concurrency', '2'], some)
        assert.equal(first.code, null)
        const second = await run(place, ['--orthanc', orthanc.url, '--state', state])
        assert.deepEqual([second.code, second.stderr, second.found], [0, '', []])
        assert.deepEqual(await filesOf(orthanc), wanted)
        const { results, ...all } = second.summary as {
          results: Record<string, number>
          objects: number
          complete: boolean
        }
        assert.deepEqual([all.objects, all.complete], [objects, true])
        assert.equal((results['imported'] ?? 0) + (results['present'] ?? 0), wanted.length)
        if (!LONG && name !== losses[0]?.name) return
        const third = await run(place, ['--orthanc', orthanc.url])
        assert.deepEqual(third.summary['results'], { present: wanted.length, derived: objects - wanted.length })
        assert.deepEqual(await filesOf(orthanc), wanted)
      } finally {
        await orthanc.stop()
        await place.dispose()
      }
    })
  })

for (const [name, make] of [
  ...(LONG || !s3Server() ? [['a directory', () => directoryPlace()] as const] : []),
  ...(s3Server() ? [['S3', () => s3Place()] as const] : []),
] as const)
  describe(`import of somebody else's files: ${name}`, () => {
    it('takes what is DICOM and tells the rest', async () => {
      const place = await make()
      const put = async (key: string, bytes: Buffer) => {
        await place.store.put(key, sourceOf(bytes), never)
        return key
      }
      await place.store.check(never)
      const files = [
        image(1),
        image(2),
        makeImage({ seed: 3, rows: 2200, columns: 2200 }),
        makeReport({ seed: 4 }),
      ] as const
      await put('2024/01/Größe & co/IM 1', files[0])
      await put('a.dcm', files[1])
      await put('b/large', files[2])
      await put('b/copy of large', files[2])
      await put('c', files[3])
      await put('readme.txt', Buffer.from('hello'))
      await put('empty', Buffer.alloc(0))
      const head = await put('head', image(1).subarray(0, -64 * 64 * 2 - 12))
      const cut = await put('cut', makeImage({ seed: 5, rows: 2200, columns: 2200 }).subarray(0, -1))
      const other = await put('z/different', Buffer.concat([image(2).subarray(0, -1), Buffer.from('!')]))
      const orthanc = await newOrthanc()
      try {
        await orthanc.postJson('/instances', files[1])
        const dry = await run(place, ['--dry-run'])
        assert.deepEqual(dry.summary['results'], { dicom: 6, other: 2, damaged: 1, unclear: 1 })
        const ended = await run(place, ['--orthanc', orthanc.url, '--concurrency', '1'])
        assert.deepEqual([ended.code, ended.stderr], [1, ''])
        assert.deepEqual(ended.found, [`damaged ${cut}`, `different ${other}`, `unclear ${head}`])
        assert.deepEqual(ended.summary['results'], {
          imported: 3,
          present: 2,
          different: 1,
          other: 2,
          damaged: 1,
          unclear: 1,
        })
        assert.deepEqual(await filesOf(orthanc), files.map(sha256).sort())
      } finally {
        await orthanc.stop()
      }
      if (name !== 'a directory') return await place.dispose() // it takes some seconds of repeated questions
      const away = await run(place, ['--orthanc', orthanc.url])
      assert.equal(away.code, 3)
      assert.match(away.stderr, /no answer of Orthanc at/)
      await place.dispose()
    })
  })
