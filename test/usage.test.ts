/** `usage`: what is counted, and what is printed of it. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, describe, it } from 'node:test'
import { diskNaming, type Naming, trashKeyOf } from '../src/area/naming.ts'
import { add, SHARDS, type Tally } from '../src/bulk/work.ts'
import { sourceOf } from '../src/bytes.ts'
import { parsePrices } from '../src/config/prices.ts'
import { Fault, isCode } from '../src/fault.ts'
import { a1 } from '../src/seal/a1.ts'
import { keyring, masterKey } from '../src/seal/keyring.ts'
import type { Store } from '../src/stores/store.ts'
import { ageOf, type Cell, cellsOf } from '../src/usage/cells.ts'
import { Usage, type UsageOptions } from '../src/usage/usage.ts'
import { memoryStore } from './support/memory-store.ts'
import { program } from './support/program.ts'

const never = new AbortController().signal
const root = mkdtempSync(join(tmpdir(), 'ocs-usage-'))
after(() => rmSync(root, { recursive: true, force: true }))
const DAY_MS = 24 * 3_600_000

const sealed = (id: number) => a1(keyring(masterKey(id, Buffer.alloc(32, id).toString('base64')), []))
const bytes = (size: number) => sourceOf(Buffer.alloc(size, 'x'))
const dicom = (start: string) => {
  const file = Buffer.alloc(200)
  file.write(start)
  file.write('DICM', 128)
  return sourceOf(file)
}

async function countAll(places: UsageOptions['places'], more: Partial<UsageOptions> = {}) {
  const work = new Usage({ places, keyIds: false, all: false, concurrency: 4, identity: {}, ...more })
  const failures: Fault[] = []
  let tally: Tally = { failures: 0 }
  for (let number = 0; number < SHARDS; number++) {
    const failed = (fault: Fault) => failures.push(fault)
    tally = add(
      tally,
      await work.shard({ number, remembered: undefined, remember() {}, line() {}, failed, async *given() {} }, never),
    )
  }
  assert.deepEqual(work.underWay, { objects: 0, bytes: 0, cells: {} })
  return { tally, failures, cells: cellsOf(tally['cells'] as Tally) }
}

/** Objects by the values of one column. */
function by(cells: Awaited<ReturnType<typeof countAll>>['cells'], column: keyof Cell) {
  const found: Record<string, number> = {}
  for (const cell of cells) found[cell[column]] = (found[cell[column]] ?? 0) + cell.objects
  return found
}

const flat: Naming = { rootPath: 'pacs', structure: 'flat', legacyUnknownFiles: false }

describe('usage', () => {
  it('counts each object once, by type, tier and encryption, in both structures', async () => {
    const [store, disk] = [memoryStore('store'), memoryStore('disk')]
    for (const ending of ['.dcm', '.dcm', '.json', '.dcm.head', '.unk'])
      await store.put(`pacs/${randomUUID()}${ending}`, bytes(10), never)
    await store.put(`pacs/${randomUUID().toUpperCase()}.dcm`, bytes(10), never)
    await store.put(`pacs/${randomUUID()}.dcm.enc`, sealed(1).seal(bytes(10)), never)
    await store.put(trashKeyOf(flat, `pacs/${randomUUID()}.json`), bytes(5), never)
    await store.put(`pacs/${randomUUID()}.txt`, bytes(1), never) // a stranger in a shard's prefix
    await store.put('pacs/readme', bytes(1), never)
    await store.put('elsewhere', bytes(1), never)
    const uuid = randomUUID()
    await disk.put(`${uuid.slice(0, 2)}/${uuid.slice(2, 4)}/${uuid}`, bytes(7), never)
    const places = [
      { tier: 'object-storage', store, naming: flat },
      { tier: 'file-system', store: disk, naming: diskNaming },
    ] as const

    const { tally, cells } = await countAll(places)
    assert.deepEqual([tally['objects'], tally['bytes']], [9, 6 * 10 + 96 + 5 + 7])
    assert.deepEqual(by(cells, 'of'), { files: 8, trash: 1 })
    assert.deepEqual(by(cells, 'tier'), { 'object-storage': 8, 'file-system': 1 })
    const types = { dicom: 4, 'dicom-as-json': 2, 'dicom-until-pixel-data': 1, unknown: 1, 'not told': 1 }
    assert.deepEqual(by(cells, 'type'), types)
    assert.deepEqual(by(cells, 'encryption'), { plain: 7, encrypted: 1, 'not told': 1 })
    assert.deepEqual(by(cells, 'class'), { 'not told': 8, 'file-system': 1 })

    const everything = await countAll(places, { all: true })
    assert.deepEqual(by(everything.cells, 'of'), { files: 8, trash: 1, strangers: 2 })
  })

  it('tells keys by the first bytes, and only where it is asked to', async () => {
    const store = memoryStore()
    const legacy: Naming = { rootPath: '', structure: 'legacy', legacyUnknownFiles: false }
    const put = async (source: ReturnType<typeof bytes>) => {
      const uuid = randomUUID()
      await store.put(`${uuid.slice(0, 2)}/${uuid.slice(2, 4)}/${uuid}`, source, never)
    }
    await put(sealed(1).seal(bytes(10)))
    await put(sealed(7).seal(bytes(10)))
    await put(sealed(7).seal(dicom('A1')))
    await put(dicom('A1 is how this preamble begins'))
    await put(bytes(3))
    await put(bytes(0))
    const places = [{ tier: 'object-storage', store, naming: legacy }] as const
    assert.deepEqual(by((await countAll(places)).cells, 'encryption'), { 'not told': 6 })
    const { cells } = await countAll(places, { keyIds: true })
    assert.deepEqual(by(cells, 'encryption'), { 'key 1': 1, 'key 7': 2, plain: 3 })
  })

  it('says what could not be read; what was removed meanwhile or is archived is no failure', async () => {
    const store = memoryStore()
    const keys = (['Unavailable', 'NotFound', 'Archived', undefined] as const).map(
      code => [randomUUID(), code] as const,
    )
    for (const [uuid] of keys) await store.put(`pacs/${uuid}.dcm.enc`, bytes(100), never)
    const code = new Map(keys.map(([uuid, what]) => [`pacs/${uuid}.dcm.enc`, what]))
    const broken: Store = {
      ...store,
      async get(key, range, signal) {
        const what = code.get(key)
        if (what) throw new Fault(what, 'no')
        return store.get(key, range, signal)
      },
    }
    const { tally, failures, cells } = await countAll([{ tier: 'object-storage', store: broken, naming: flat }], {
      keyIds: true,
    })
    assert.deepEqual([tally['failures'], failures.map(one => one.code)], [1, ['Unavailable']])
    assert.deepEqual(by(cells, 'encryption'), { 'in an archive': 1, 'damaged: names no key': 1 })
  })

  it('knows ages by the time of the store, and its storage classes', async () => {
    const asOf = new Date('2026-06-01')
    const at = (days: number) => ({ modified: new Date(asOf.getTime() - days * DAY_MS), asOf })
    const told = [
      { ...at(-1), storageClass: 'STANDARD' },
      { ...at(29), storageClass: 'GLACIER' },
      { ...at(30), storageClass: 'STANDARD' },
      { ...at(90), storageClass: 'no/such "class"' },
      { ...at(365) },
      { modified: new Date(Number.NaN), asOf },
    ]
    const all = told.map(stat => ({ key: `pacs/${randomUUID()}.dcm`, size: 1, ...stat }))
    const store: Store = {
      ...memoryStore(),
      async *list(prefix) {
        yield* all.filter(({ key }) => key.startsWith(prefix))
      },
    }
    const { cells } = await countAll([{ tier: 'object-storage', store, naming: flat }])
    const ages = { 'under 30 days': 2, '30 to 90 days': 1, '90 days to 1 year': 1, 'over 1 year': 1, 'not told': 1 }
    assert.deepEqual(by(cells, 'age'), ages)
    assert.deepEqual(by(cells, 'class'), { STANDARD: 2, GLACIER: 1, 'not told': 3 })
    assert.equal(ageOf(30 * DAY_MS - 1), 'under 30 days')
  })

  it('ends when the listing fails', async () => {
    const store: Store = {
      ...memoryStore(),
      // biome-ignore lint/correctness/useYield: it fails before
      async *list() {
        throw new Fault('Denied', 'no')
      },
    }
    await assert.rejects(countAll([{ tier: 'object-storage', store, naming: flat }]), error => isCode(error, 'Denied'))
  })
})

describe('prices', () => {
  it('are read, or refused with the path of what is wrong', () => {
    const { currency, bytesPerGB, perGBMonth } = parsePrices('{"Currency":"EUR","PerGBMonth":{"Hot":0.02}}', 'f')
    assert.deepEqual([currency, bytesPerGB, [...perGBMonth]], ['EUR', 2 ** 30, [['Hot', 0.02]]])
    const wrong: readonly (readonly [string, RegExp])[] = [
      ['{', /^f is not JSON$/],
      ['[]', /^f is \[\], but must be an object$/],
      ['{"PerGBMonth":{}}', /^f: Currency is missing; it must be the name of a currency/],
      ['{"Currency":"EUR"}', /^f: PerGBMonth is missing; it must be an object with a price/],
      ['{"Currency":"EUR","PerGBMonth":{"Hot":-1}}', /^f: PerGBMonth.Hot is -1, but must be a price/],
      ['{"Currency":"EUR","PerGBMonth":{"Hot":"1"}}', /^f: PerGBMonth.Hot is "1", but must be a price/],
      ['{"Currency":"EUR","PerGBMonth":{},"BytesPerGB":1024}', /^f: BytesPerGB is 1024, but must be 1000000000 or/],
      ['{"Currency":"EUR","PerGbMonth":{}}', /^f: PerGbMonth is not an option of prices; did you mean PerGBMonth\?$/],
    ]
    for (const [json, words] of wrong)
      assert.throws(
        () => parsePrices(json, 'f'),
        (error: unknown) => isCode(error, 'BadConfig') && words.test(error.message),
      )
  })
})

describe('the command usage', () => {
  const site = (prices: object) => {
    const folder = mkdtempSync(join(root, 'site-'))
    const write = (key: string, size: number, days: number) => {
      const path = join(folder, key)
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, Buffer.alloc(size))
      const then = new Date(Date.now() - days * DAY_MS)
      utimesSync(path, then, then)
    }
    write(`objects/${randomUUID()}.dcm`, 2_000_000, 400)
    write(`objects/${randomUUID()}.dcm.head`, 1000, 2)
    write(`objects/cloud-storage-trash/${randomUUID()}.dcm`, 3000, 2)
    write('objects/somebody.txt', 5, 2)
    write('disk/0a/1b/0a1b0000-0000-0000-0000-000000000000', 400, 2)
    const config = {
      StorageDirectory: join(folder, 'disk'),
      DirectoryStorage: { Path: join(folder, 'objects'), HybridMode: 'WriteToFileSystem' },
    }
    writeFileSync(join(folder, 'orthanc.json'), JSON.stringify(config))
    writeFileSync(join(folder, 'prices.json'), JSON.stringify(prices))
    const [node = '', ...script] = program
    const run = (...more: string[]) => {
      const args = [...script, 'usage', '--config', join(folder, 'orthanc.json'), ...more]
      const { status, stdout, stderr } = spawnSync(node, args, { encoding: 'utf8' })
      return { status, stderr, lines: stdout.replaceAll(folder, '').trimEnd().split('\n') }
    }
    return { run, prices: join(folder, 'prices.json') }
  }

  it('prints tables and prices, and says what has no price', () => {
    const { run, prices } = site({ Currency: 'EUR', BytesPerGB: 1e9, PerGBMonth: { 'not told': 10 } })
    const { status, stderr, lines } = run('--prices', prices, '--all')
    assert.deepEqual([status, stderr], [0, ''])
    assert.deepEqual(lines.slice(0, -1), [
      'directory:/objects, files of Orthanc: 2 objects (2.0 MB), 0.02 EUR a month',
      '                             objects    bytes   EUR a month',
      '  type',
      '    dicom                          1   2.0 MB          0.02',
      '    dicom-until-pixel-data         1   1.0 KB        < 0.01',
      '  storage class',
      '    not told                       2   2.0 MB          0.02',
      '  age',
      '    under 30 days                  1   1.0 KB        < 0.01',
      '    over 1 year                    1   2.0 MB          0.02',
      '  encryption',
      '    plain                          2   2.0 MB          0.02',
      'directory:/objects, trash: 1 object (3.0 KB), < 0.01 EUR a month',
      "directory:/objects, objects with a key that no file of Orthanc's has: 1 object (5 bytes), < 0.01 EUR a month",
      'directory:/disk, files of Orthanc: 1 object (400 bytes), no price for all of it',
      '                    objects       bytes   EUR a month',
      '  type',
      '    not told              1   400 bytes             ?',
      '  storage class',
      '    file-system           1   400 bytes             ?',
      '  age',
      '    under 30 days         1   400 bytes             ?',
      '  encryption',
      '    not told              1   400 bytes             ?',
      'directory:/disk, trash: 0 objects (0 bytes)',
      "directory:/disk, objects with a key that no file of Orthanc's has: 0 objects (0 bytes)",
      'in all: more than 0.02 EUR a month',
      'no price for "file-system": 1 object (400 bytes), not in the sum',
    ])
  })

  it('gives programs one line for each sum, and ends with 3 when prices or store cannot be read', () => {
    const { run, prices } = site({ Currency: 'EUR', PerGBMonth: { 'not told': 1073.741824 } })
    const { status, lines } = run('--prices', prices, '--json', '-')
    const found = lines.map(line => JSON.parse(line))
    const { seconds: _, ...summary } = found.pop()
    assert.deepEqual(summary, { kind: 'summary', complete: true, failures: 0, objects: 4, bytes: 2_004_400 })
    const image = found.find(({ type, of }) => type === 'dicom' && of === 'files')
    assert.deepEqual(image, {
      ...{ kind: 'usage', store: 'directory:/objects', tier: 'object-storage', of: 'files', type: 'dicom' },
      ...{ class: 'not told', age: 'over 1 year', encryption: 'plain', objects: 1, bytes: 2_000_000, perMonth: 2 },
    })
    assert.equal(found.find(({ tier }) => tier === 'file-system').perMonth, null)
    assert.equal(status, 0)
    writeFileSync(prices, '{}')
    const wrong = run('--prices', prices)
    assert.deepEqual([wrong.status, wrong.lines], [3, ['']])
    assert.match(wrong.stderr, /prices\.json: Currency is missing/)
  })
})
