/**
 * Files that people give to the command line, and those that it left behind itself: keys, states, configurations,
 * objects.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { shardOf } from '../../src/bulk/shards.ts'
import type { Json } from '../../src/bulk/work.ts'
import { collect, collectSource, sourceOf } from '../../src/bytes.ts'
import { readConfig } from '../../src/cli/orthanc-config.ts'
import { loadMasterKey } from '../../src/config/key-file.ts'
import { Fault } from '../../src/fault.ts'
import { sealedNames } from '../../src/rotate/names.ts'
import { Rotation } from '../../src/rotate/rotation.ts'
import { a1, keyIdOf } from '../../src/seal/a1.ts'
import { keyring, masterKey } from '../../src/seal/keyring.ts'
import { memoryStore } from '../support/memory-store.ts'
import { program } from '../support/program.ts'
import { fc } from '../support/property.ts'
import { never } from '../support/tiers.ts'
import type { Claims } from './claim.ts'
import { edited, edits, oddJson, replaced } from './odd-json.ts'

const uuid = (n: number) => `${n}a1b2c3d-4e5f-4a6b-8c7d-000000000001`
const ours = [0, 4, 9].map(n => `pacs/${uuid(n)}.dcm.enc`)
/** Sealed as ours are, and somebody else's. */
const others = [`other/${uuid(4)}.dcm.enc`, `pacs/deep/${uuid(4)}.dcm.enc`, `${uuid(4)}.dcm.enc`, 'pacs/report.enc']

const settled = { keys: { '1': 1 }, plain: 0, moved: 1, movedBytes: 100, vanished: 0 }
const remembered = { whole: true, settled, failed: [{ place: 0, key: ours[1] }] }
const rememberedJson = oddJson(
  ['whole', 'settled', 'failed', 'place', 'key', 'keys', 'plain', '1', '-1', 'x'],
  [0, 1, true, null, ours[1], 'pacs/', [ours[2]], ...others, { place: 0, key: others[0] }, settled],
)
const changes = fc.array(fc.tuple(fc.nat(), rememberedJson), { maxLength: 3 })
const item = fc.record({ place: fc.constantFrom(0, 0, 1, -1), key: fc.constantFrom(...ours, ...others, '') })
const named = fc
  .record({ whole: fc.boolean(), failed: fc.array(item, { maxLength: 2 }) })
  .map(names => JSON.stringify({ ...remembered, ...names }))
const rememberedText = fc.oneof(
  named,
  rememberedJson,
  changes.map(list => replaced(remembered, list)),
)

const old = masterKey(1, Buffer.alloc(32, 1).toString('base64'))
const current = masterKey(2, Buffer.alloc(32, 2).toString('base64'))

/** A store with objects of ours and of others, all under the old key. */
async function shared() {
  const store = memoryStore()
  const sealed = await collectSource(a1(keyring(old, [])).seal(sourceOf(Buffer.from('a file'))))
  for (const key of [...ours, ...others]) await store.put(key, sourceOf(sealed), never)
  const idOf = async (key: string) => keyIdOf(await collect(await store.get(key, undefined, never)))
  return { store, idOf }
}

/** For as long as `use` lasts, a file with these bytes. */
function withFile<T>(bytes: string | Uint8Array, use: (file: string, folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'ocs-fuzz-'))
  const file = join(folder, 'file.json')
  try {
    writeFileSync(file, bytes, { mode: 0o600 })
    return use(file, folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** What `work` gives, or its fault, which says that something must be changed. */
function attempted<T>(work: () => T): T | Fault {
  try {
    return work()
  } catch (error) {
    assert.ok(error instanceof Fault && error.code === 'BadConfig', String(error))
    return error
  }
}

/** Warnings are for people at a terminal. */
function silently<T>(work: () => T): T {
  const { write } = process.stderr
  process.stderr.write = () => true
  try {
    return work()
  } finally {
    process.stderr.write = write
  }
}

const configJson = oddJson(['Name', 'Plugins', 'AwsS3Storage', 'BucketName', 'StorageEncryption', 'HybridMode'])
const configText = fc.oneof(
  configJson,
  fc
    .array(configJson, { maxLength: 3 })
    .map(values => `{${values.map((value, i) => `"Section${i}":${value}`).join(',')}}`),
  fc.tuple(configJson, edits).map(([text, list]) => edited(text, list)),
  fc
    .array(
      fc.constantFrom('{', '}', '//', '/*', '*/', '"', '\\', '$', '{HOME}', '{x:-', '}', ',', ':', '\n', '\ufeff', 'a'),
    )
    .map(parts => parts.join('')),
  fc
    .tuple(fc.constantFrom('/*', '//\n', '${a', '${a:-', '{"a":', '[', '"\\', '\ufeff'), fc.constantFrom(10, 50_000))
    .map(([text, n]) => text.repeat(n)),
)

const keyText = fc.oneof(
  fc.uint8Array({ maxLength: 6000 }),
  fc.base64String({ maxLength: 80 }).map(text => Buffer.from(text)),
  fc
    .tuple(fc.uint8Array({ minLength: 31, maxLength: 33 }), edits)
    .map(([bytes, list]) => Buffer.from(edited(Buffer.from(bytes).toString('base64'), list))),
)

const sealedStart = fc.constantFrom(
  '',
  'A1',
  'A1\u0001\u0000\u0000\u0000',
  'A1\u0009\u0000\u0000\u0000',
  `${'\u0000'.repeat(128)}DICM`,
)
const anyFile = fc
  .tuple(sealedStart, fc.uint8Array({ maxLength: 200 }))
  .map(([start, rest]) => Buffer.concat([Buffer.from(start, 'latin1'), rest]))

const parsed = (text: string) => attempted(() => JSON.parse(text)) as Json
const isWhole = (text: string) => (parsed(text) as { whole?: boolean } | null)?.whole === true

export const claims: Claims = {
  "a rotation that goes on from anything leaves others' objects alone, and none of its own behind": {
    property: fc.asyncProperty(rememberedText, async text => {
      const { store, idOf } = await shared()
      const names = sealedNames({ rootPath: 'pacs', structure: 'flat', legacyUnknownFiles: false })
      const keys = keyring(current, [old])
      const options = { places: [{ store, names }], keys, from: undefined, dryRun: false, concurrency: 2, identity: {} }
      const key = ours[1] ?? ''
      const shard = {
        number: shardOf(key.slice('pacs/'.length)),
        remember() {},
        line() {},
        failed() {},
        async *given() {},
      }
      const going = await new Rotation(options)
        .shard({ ...shard, remembered: parsed(text) }, never)
        .catch(error => Fault.from(error))
      if (going instanceof Fault) assert.equal(going.code, 'BadConfig')
      else if (!isWhole(text) || text.includes(key)) assert.equal(await idOf(key), 2)
      for (const other of others) assert.equal(await idOf(other), 1, other)
    }),
    runs: 200,
  },

  'a key file holds a key, or is refused without a word of it': {
    property: fc.property(keyText, bytes =>
      withFile(bytes, file => {
        const key = attempted(() => loadMasterKey({ id: 1, path: file, option: 'MasterKey' }, () => {}))
        if (!(key instanceof Fault)) return assert.equal(key.secret.symmetricKeySize, 32)
        const text = Buffer.from(bytes).toString('latin1').trim()
        if (text.length >= 8) assert.ok(!key.describe().includes(text.slice(0, 8)))
      }),
    ),
    runs: 200,
  },

  "a configuration of Orthanc's is read, or refused with its place": {
    property: fc.property(configText, text =>
      withFile(text, file => {
        const config = silently(() => attempted(() => readConfig([file])))
        if (config instanceof Fault) assert.ok(config.describe().length < 2000)
      }),
    ),
    runs: 150,
  },

  'any file is inspected, and none is decrypted that was not sealed': {
    property: fc.property(fc.array(anyFile, { minLength: 1, maxLength: 12 }), files =>
      withFile(Buffer.alloc(32, 1).toString('base64'), (key, folder) => {
        const names = files.map((bytes, i) => {
          writeFileSync(join(folder, `${i}`), bytes)
          return join(folder, `${i}`)
        })
        const [node = '', ...main] = program
        const inspected = spawnSync(node, [...main, 'inspect', '--json', ...names], { encoding: 'utf8' })
        assert.equal(inspected.status, 0, inspected.stderr)
        const kinds = JSON.parse(inspected.stdout).map((report: { kind: string }) => report.kind)
        assert.deepEqual(kinds, files.map(kindOf))
        const decrypted = spawnSync(
          node,
          [...main, 'decrypt', '--master-key', `1:${key}`, names[0] ?? '', join(folder, 'out')],
          { encoding: 'utf8' },
        )
        assert.equal(decrypted.status, 1)
        assert.match(decrypted.stderr, /^orthanc-cloud-storage: [^\n]*\[(Corrupt|BadConfig)\][^\n]*\n$/)
      }),
    ),
    runs: 2,
  },
}

function kindOf(bytes: Buffer): string {
  if (bytes.toString('latin1', 0, 2) !== 'A1' || bytes.byteLength < 6 || bytes.toString('latin1', 128, 132) === 'DICM')
    return 'plain'
  return bytes.byteLength < 86 ? 'damaged' : 'sealed'
}
