/**
 * Files that people give to the command line, and those that it left behind itself: keys, states, configurations,
 * objects.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { collect, collectSource, sourceOf } from '../../src/bytes.ts'
import { readConfig } from '../../src/cli/orthanc-config.ts'
import { readState, writeState } from '../../src/cli/rotation-state.ts'
import { loadMasterKey } from '../../src/config/key-file.ts'
import { Fault } from '../../src/fault.ts'
import { sealedNames } from '../../src/rotate/names.ts'
import { type Remembered, Rotation } from '../../src/rotate/rotation.ts'
import { a1, keyIdOf } from '../../src/seal/a1.ts'
import { keyring, masterKey } from '../../src/seal/keyring.ts'
import { memoryStore } from '../support/memory-store.ts'
import { program } from '../support/program.ts'
import { fc } from '../support/property.ts'
import { never } from '../support/tiers.ts'
import type { Claims } from './claim.ts'
import { edited, edits, oddJson, replaced } from './odd-json.ts'

const WORK = 'this work'
const uuid = (n: number) => `${n}a1b2c3d-4e5f-4a6b-8c7d-000000000001`
const ours = [0, 4, 9].map(n => `pacs/${uuid(n)}.dcm.enc`)
/** Sealed as ours are, and somebody else's. */
const others = [`other/${uuid(4)}.dcm.enc`, `pacs/deep/${uuid(4)}.dcm.enc`, `${uuid(4)}.dcm.enc`, 'pacs/report.enc']

const tally = { keys: { '1': 1 }, plain: 0, moved: 1, movedBytes: 100, vanished: 0 }
const state = { format: 1, work: WORK, after: ours[0], failed: [ours[1]], tally }
const stateJson = oddJson(
  ['format', 'work', 'after', 'failed', 'tally', 'keys', 'plain', '1', '-1', 'x'],
  [1, WORK, null, ours[1], 'pacs/', 'zzz', [ours[2]], ...others, others, tally],
)
const changes = fc.array(fc.tuple(fc.nat(), stateJson), { maxLength: 3 })
const anyKey = fc.constantFrom(...ours, ...ours, ...others, '', 'zzz')
const named = fc
  .record({ after: fc.option(anyKey), failed: fc.array(anyKey, { maxLength: 2 }) })
  .map(names => JSON.stringify({ ...state, ...names }))
const stateText = fc.oneof(
  named,
  stateJson,
  changes.map(list => replaced(state, list)),
  edits.map(list => edited(JSON.stringify(state), list)),
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

export const claims: Claims = {
  'a state of rotate-keys is what was written, or refused': {
    property: fc.property(stateText, text =>
      withFile(text, (file, folder) => {
        const remembered = attempted(() => readState(file, WORK))
        if (remembered === undefined || remembered instanceof Fault) return assert.ok(remembered, 'it is there')
        const again = join(folder, 'again')
        writeState(again, WORK, remembered)
        assert.equal(JSON.stringify(readState(again, WORK)), JSON.stringify(remembered))
      }),
    ),
    runs: 200,
  },

  "a rotation that goes on from any state leaves others' objects alone, and none of its own behind": {
    property: fc.asyncProperty(stateText, async text => {
      const resume = withFile(text, file => attempted(() => readState(file, WORK))) as Remembered | Fault
      if (resume instanceof Fault) return
      const { store, idOf } = await shared()
      const keys = keyring(current, [old])
      const options = {
        store,
        keys,
        names: sealedNames({ rootPath: 'pacs', structure: 'flat', legacyUnknownFiles: false }),
      }
      const rotation = attempted(
        () => new Rotation({ ...options, from: undefined, dryRun: false, concurrency: 2, resume, onFailure() {} }),
      )
      if (!(rotation instanceof Fault)) {
        await rotation.run(never)
        const passed = ours.filter(
          key => resume.after !== undefined && key <= resume.after && !resume.failed.includes(key),
        )
        for (const key of ours) if (!passed.includes(key)) assert.equal(await idOf(key), 2, key)
      }
      for (const key of others) assert.equal(await idOf(key), 1, key)
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
