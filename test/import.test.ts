/** `import` from stores of every kind: what Orthanc gets, what it does not get, and what is told. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'
import { deflateSync } from 'node:zlib'
import { instanceUid, makeImage, makeReport } from '../harness/dicom.ts'
import { diskNaming, keysOf, type Naming, trashKeyOf } from '../src/area/naming.ts'
import { add, type Json, type Line, SHARDS, type Tally } from '../src/bulk/work.ts'
import { sourceOf } from '../src/bytes.ts'
import { type Fault, isCode } from '../src/fault.ts'
import { Import } from '../src/import/import.ts'
import { Receiver } from '../src/import/receiver.ts'
import { emptyTally } from '../src/import/tally.ts'
import { a1 } from '../src/seal/a1.ts'
import { keyring, masterKey } from '../src/seal/keyring.ts'
import type { Store } from '../src/stores/store.ts'
import { ImportOrthanc } from './support/import-orthanc.ts'
import { memoryStore } from './support/memory-store.ts'
import { noise } from './support/noise.ts'

const never = new AbortController().signal
const flat: Naming = { rootPath: 'pacs', structure: 'flat', legacyUnknownFiles: false }
const legacy: Naming = { ...flat, structure: 'legacy' }
const keys = keyring(masterKey(1, Buffer.alloc(32, 1).toString('base64')), [])
const strangers = keyring(masterKey(9, Buffer.alloc(32, 9).toString('base64')), [])

const image = (seed: number, rows = 8) => makeImage({ seed, rows, columns: rows })
/** What Orthanc keeps beside an image. */
const headOf = (file: Buffer) => file.subarray(0, file.lastIndexOf(Buffer.from([0xe0, 0x7f, 0x10, 0, 0x4f, 0x57])))
/** As Orthanc compresses it. */
function compressed(file: Buffer, announced = file.byteLength): Buffer {
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(announced))
  return Buffer.concat([size, deflateSync(file)])
}

class Bucket {
  readonly store = memoryStore('bucket')
  readonly naming: Naming
  constructor(naming: Naming = flat) {
    this.naming = naming
  }
  async put(key: string, bytes: Buffer, by?: typeof keys): Promise<string> {
    await this.store.put(key, by ? a1(by).seal(sourceOf(bytes)) : sourceOf(bytes), never)
    return key
  }
  add(
    bytes: Buffer,
    type: Parameters<typeof keysOf>[2]['type'] = 'dicom',
    by?: typeof keys,
    uuid: string = randomUUID(),
  ) {
    return this.put(keysOf(this.naming, by ? '.enc' : '', { uuid, type })[0], bytes, by)
  }
}

async function run(
  bucket: Bucket,
  orthanc: ImportOrthanc | undefined,
  more: { store?: Store; state?: Map<number, Json>; disk?: Store } = {},
) {
  const receiver = orthanc && new Receiver(orthanc)
  await receiver?.look(never)
  const places = [
    { store: more.store ?? bucket.store, naming: bucket.naming },
    ...(more.disk ? [{ store: more.disk, naming: diskNaming }] : []),
  ]
  const again = <T>(work: () => Promise<T>) => work()
  const work = new Import({ places, keys, receiver, again, concurrency: 4, identity: {} })
  const lines: Line[] = []
  const failures: Fault[] = []
  let tally: Tally = { failures: 0 }
  for (let number = 0; number < SHARDS; number++) {
    const shard = {
      number,
      remembered: more.state?.get(number),
      remember: (value: Json) => void more.state?.set(number, value),
      line: (line: Line) => void lines.push(line),
      failed: (fault: Fault) => void failures.push(fault),
      async *given() {},
    }
    tally = add(tally, await work.shard(shard, never))
  }
  assert.equal(work.underWay['objects'], 0)
  const found = lines.map(({ kind, key }) => `${kind} ${key}`).sort()
  return { tally, results: tally['results'], found, lines, failures }
}

describe('import', () => {
  it('gives Orthanc each DICOM file of a lost index, sealed or plain, compressed or not', async () => {
    for (const by of [undefined, keys])
      for (const naming of [flat, legacy]) {
        const bucket = new Bucket(naming)
        const files = [image(1), image(2), makeReport({ seed: 3 })]
        for (const [i, file] of files.entries()) {
          // In the listing, what Orthanc made of the image comes before it.
          const digit = String(i)
          const uuid = (first: string) => `${digit}${first}${randomUUID().slice(2)}`
          const stored = i === 1 ? compressed : (bytes: Buffer) => bytes
          if (i < 2) await bucket.add(stored(headOf(file)), 'dicom-until-pixel-data', by, uuid('0'))
          await bucket.add(stored(file), 'dicom', by, uuid('8'))
          await bucket.add(stored(Buffer.from('{"0008,0018": "1.2"}')), 'dicom-as-json', by, uuid('f'))
        }
        const orthanc = new ImportOrthanc()
        const { results, found, failures } = await run(bucket, orthanc)
        assert.deepEqual([found, failures], [[], []])
        assert.deepEqual(results, { imported: 3, derived: 5 })
        assert.deepEqual([...orthanc.files.values()].sort(Buffer.compare), files.sort(Buffer.compare))
        assert.deepEqual((await run(bucket, orthanc)).results, { present: 3, derived: 5 })
      }
  })

  it('takes a bucket of somebody else: any key, recognised by its bytes', async () => {
    const bucket = new Bucket()
    const files = [image(1), image(2), image(3), image(4), makeReport({ seed: 5 })] as const
    await bucket.put('pacs/2024/Müller & Söhne/IM 0001', files[0])
    await bucket.put('pacs/a/b/c/d/e/x.dcm.gz.txt', files[1])
    await bucket.put('pacs/aa-not-a-uuid.dcm', compressed(files[2]))
    await bucket.put('pacs/sealed', files[3], keys)
    await bucket.put('pacs/no preamble', files[4].subarray(132))
    await bucket.put('pacs/readme.txt', Buffer.from('hello'))
    await bucket.put('pacs/A1.csv', Buffer.from(`A1,B1,C1\n${'x'.repeat(200)}`))
    await bucket.put('pacs/empty', Buffer.alloc(0))
    await bucket.put('pacs/folder/', Buffer.alloc(0))
    await bucket.put(trashKeyOf(flat, `pacs/${randomUUID()}.dcm`), image(6))
    await bucket.put('elsewhere/x', image(7))
    const cut = await bucket.put('pacs/cut', image(8).subarray(0, -3))
    const head = await bucket.put('pacs/head', headOf(image(9)))
    const odd = await bucket.put('pacs/odd', Buffer.concat([image(10).subarray(0, 200), noise(500, 1)]))
    const orthanc = new ImportOrthanc()
    const { results, found, failures } = await run(bucket, orthanc)
    assert.deepEqual(failures, [])
    assert.deepEqual(found, [`damaged ${cut}`, `unclear ${head}`, `unclear ${odd}`])
    assert.deepEqual(results, { imported: 5, other: 4, damaged: 1, unclear: 2 })
    assert.deepEqual([...orthanc.files.keys()].sort(), [1, 2, 3, 4, 5].map(instanceUid))
  })

  it('tells duplicates, and never replaces what Orthanc has, whether Orthanc would overwrite or not', async () => {
    const large = makeImage({ seed: 1, rows: 2200, columns: 2200 })
    const changed = (file: Buffer) => Buffer.concat([file.subarray(0, -1), Buffer.from([0x4d])])
    for (const overwrites of [false, true, undefined])
      for (const [one, two] of [
        [image(1), changed(image(1))],
        [large, changed(large)],
      ] as const) {
        const bucket = new Bucket()
        await bucket.put('pacs/1', one)
        await bucket.put('pacs/2', one)
        const different = await bucket.put('pacs/3', two)
        const orthanc = new ImportOrthanc(overwrites === undefined ? {} : { overwrites })
        const { results, found, lines } = await run(bucket, orthanc)
        // They are on their way together, so any of them may be the first.
        const kept = [...orthanc.files.values()]
        assert.equal(kept.length, 1)
        const others = ['pacs/1', 'pacs/2'].map(key => `different ${key}`)
        const expected = kept[0]?.equals(two)
          ? [{ imported: 1, different: 2 }, others]
          : [{ imported: 1, present: 1, different: 1 }, [`different ${different}`]]
        assert.deepEqual([results, found], expected)
        const [{ md5, inOrthanc } = { md5: 0, inOrthanc: {} }] = lines as unknown as {
          md5: string
          inOrthanc: object
        }[]
        assert.match(String(md5), /^[0-9a-f]{32}$/)
        assert.notEqual(md5, (inOrthanc as { md5: string }).md5)
      }
  })

  it('sends the last bytes of a large file only when all of it was verified', async () => {
    const file = makeImage({ seed: 1, rows: 2200, columns: 2200 })
    const orthanc = new ImportOrthanc()
    const bucket = new Bucket()
    await bucket.put('pacs/well', file, keys)
    const sealed = await bucket.put('pacs/tag', makeImage({ seed: 2, rows: 2200, columns: 2200 }), keys)
    const content = await bucket.store.get(sealed, undefined, never)
    const chunks: Uint8Array[] = []
    for await (const chunk of content.body) chunks.push(chunk)
    const damaged = Buffer.concat(chunks)
    damaged[5_000_000] = (damaged[5_000_000] ?? 0) ^ 1
    await bucket.put(sealed, damaged)
    const cut = await bucket.put('pacs/cut', makeImage({ seed: 3, rows: 2200, columns: 2200 }).subarray(0, -1000))
    const bomb = await bucket.put('pacs/bomb', compressed(makeImage({ seed: 4, rows: 2200, columns: 2200 }), 9_000_000))
    const { found, results } = await run(bucket, orthanc)
    assert.deepEqual(found, [`damaged ${bomb}`, `damaged ${cut}`, `damaged ${sealed}`])
    assert.deepEqual(results, { imported: 1, damaged: 3 })
    assert.deepEqual([...orthanc.files.keys()], [instanceUid(1)])
    assert.ok(orthanc.received.every(bytes => bytes <= file.byteLength))
    assert.equal(orthanc.received.filter(bytes => bytes === file.byteLength).length, 1)
  })

  it('tells what Orthanc did not take or changed, what has no key, and goes on', async () => {
    const bucket = new Bucket()
    const filtered = await bucket.put('pacs/filtered', image(1))
    await bucket.put('pacs/fine', image(2))
    const unnamed = await bucket.put(
      'pacs/unnamed',
      Buffer.concat([image(3).subarray(0, 132), Buffer.from(image(3).subarray(132)).fill(0, 30)]),
    )
    const locked = await bucket.add(image(4), 'dicom', strangers)
    const wrong = await bucket.add(Buffer.from('no DICOM at all'), 'dicom')
    const orthanc = new ImportOrthanc({ overwrites: false, filtered: [instanceUid(1)], keepsMd5: false })
    const { results, found, failures, tally } = await run(bucket, orthanc)
    assert.deepEqual(
      found.filter(line => !line.includes('unnamed')),
      [`damaged ${wrong}`, `filtered ${filtered}`],
    )
    assert.ok(found.some(line => line.endsWith(unnamed)))
    assert.deepEqual(
      failures.map(({ code, where }) => [code, where.key]),
      [['BadConfig', locked]],
    )
    assert.deepEqual([tally['bySize'], (results as Tally)['imported'], tally['failures']], [1, 1, 1])

    const transcoding = await run(bucket, new ImportOrthanc({ overwrites: false, transcodes: true }))
    assert.ok(transcoding.found.includes('changed pacs/fine'))
  })

  it('goes on where it was, and ends when Orthanc is away', async () => {
    const bucket = new Bucket()
    for (let seed = 0; seed < 600; seed++) await bucket.put(`pacs/x/${String(seed).padStart(4, '0')}`, image(seed))
    const away = new ImportOrthanc({ overwrites: false, uploads: 400 })
    const state = new Map<number, Json>()
    await assert.rejects(run(bucket, away, { state }), error => isCode(error, 'Unavailable'))
    const reads: string[] = []
    const counting: Store = {
      ...bucket.store,
      get: (key, range, signal) => {
        reads.push(key)
        return bucket.store.get(key, range, signal)
      },
    }
    const back = new ImportOrthanc({ overwrites: false })
    for (const [instance, bytes] of away.files) back.files.set(instance, bytes)
    const { results, tally } = await run(bucket, back, { state, store: counting })
    assert.equal(reads.length, 600 - 256)
    assert.deepEqual(results, { imported: 600 - (400 - 256), present: 400 - 256 })
    assert.deepEqual([tally['objects'], back.files.size], [600, 600])
  })

  it('counts what was removed since the listing as gone, but not what Orthanc may have moved to the other tier', async () => {
    const bucket = new Bucket()
    for (let seed = 0; seed < 3; seed++) await bucket.add(image(seed))
    const moved = await bucket.add(image(3))
    const moving: Store = {
      ...bucket.store,
      async get(key, range, signal) {
        await bucket.store.remove(moved, signal)
        return await bucket.store.get(key, range, signal)
      },
    }
    const alone = await run(bucket, new ImportOrthanc(), { store: moving })
    assert.deepEqual([alone.results, alone.failures], [{ imported: 3 }, []])
    await bucket.put(moved, image(3))
    const { results, tally, failures } = await run(bucket, new ImportOrthanc(), { store: moving, disk: memoryStore() })
    assert.deepEqual([results, tally['failures']], [{ imported: 3 }, 1])
    assert.match(failures[0]?.describe() ?? '', /removed since it was listed, or Orthanc has moved it.*again/)
  })

  it('believes no earlier run whose files Orthanc does not have: it was emptied since then', async () => {
    const bucket = new Bucket()
    for (let seed = 0; seed < 300; seed++) await bucket.put(`pacs/x/${String(seed).padStart(4, '0')}`, image(seed))
    const state = new Map<number, Json>()
    await assert.rejects(run(bucket, new ImportOrthanc({ overwrites: false, uploads: 280 }), { state }))
    assert.ok(state.get(0))
    const emptied = new ImportOrthanc({ overwrites: false })
    const { results, tally } = await run(bucket, emptied, { state })
    assert.deepEqual([results, tally['objects'], emptied.files.size], [{ imported: 300 }, 300, 300])
    const receiver = new Receiver(emptied)
    const places = [{ store: bucket.store, naming: bucket.naming }]
    const work = () => new Import({ places, keys, receiver, again: one => one(), concurrency: 4, identity: {} })
    const done = { ...emptyTally, results: { imported: 300 } }
    assert.ok(await work().holds(0, done, never))
    emptied.files.clear()
    assert.ok(!(await work().holds(0, done, never)))
    assert.ok(await work().holds(0, { ...done, results: { present: 3 } }, never))
  })

  it('does not trust a position in a listing that has no order', async () => {
    const bucket = new Bucket()
    for (let seed = 0; seed < 300; seed++) await bucket.put(`pacs/x/${seed}`, image(seed))
    const unordered: Store = {
      ...bucket.store,
      async *list(prefix) {
        if (prefix !== 'pacs/') return
        for (let seed = 299; seed >= 0; seed--) yield { key: `pacs/x/${seed}`, size: 1000, modified: new Date() }
      },
    }
    const state = new Map<number, Json>()
    const orthanc = new ImportOrthanc()
    assert.deepEqual((await run(bucket, orthanc, { state, store: unordered })).results, { imported: 300 })
    assert.equal(state.get(0), null)
    assert.deepEqual((await run(bucket, orthanc, { state, store: unordered })).results, { present: 300 })
  })

  it('only reads in a dry run, and says what would be sent', async () => {
    const bucket = new Bucket(legacy)
    await bucket.add(image(1))
    await bucket.add(headOf(image(1)))
    await bucket.put('pacs/x', image(2))
    await bucket.put('pacs/cut', image(3).subarray(0, -2))
    const { results, tally } = await run(bucket, undefined)
    assert.deepEqual(results, { dicom: 2, derived: 1, damaged: 1 })
    assert.equal(tally['bytes'], image(1).byteLength * 2)
  })

  it('does not believe whatever answers', async () => {
    const orthanc = new ImportOrthanc()
    const receiver = (get: (uri: string) => unknown) =>
      new Receiver({ ...bound(orthanc), get: async uri => get(uri) as Json })
    await assert.rejects(receiver(() => ({ hello: 1 })).look(never), { code: 'BadConfig' })
    await assert.rejects(receiver(() => ({ UncompressedSize: '1' })).held('00000000-'.repeat(5).slice(0, -1), never), {
      code: 'Internal',
    })
    await assert.rejects(new Receiver(orthanc).held('../../x', never), { code: 'Internal' })
    assert.equal(await receiver(() => ({ Store: 's3:a' })).storesIn(never), 's3:a')
    assert.equal(await receiver(() => undefined).storesIn(never), undefined)
    const strange = new Receiver({ ...bound(orthanc), upload: async () => [] })
    await assert.rejects(strange.upload(sourceOf(image(1)), never), { code: 'Internal' })
  })
})

const bound = (orthanc: ImportOrthanc) => ({
  name: orthanc.name,
  get: (uri: string) => orthanc.get(uri) as Promise<Json | undefined>,
  post: (uri: string, body: unknown) => orthanc.post(uri, body) as Promise<Json>,
  upload: (source: Parameters<ImportOrthanc['upload']>[0]) => orthanc.upload(source) as Promise<Json>,
})
