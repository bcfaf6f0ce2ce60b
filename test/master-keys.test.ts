/** StorageEncryption fails closed: whatever is wrong with it stops the start. */
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { inspect } from 'node:util'
import { parseConfig } from '../src/config/config.ts'
import { loadKeyring } from '../src/config/key-file.ts'

const MB = 1024 * 1024
const parse = (encryption: unknown) =>
  parseConfig(JSON.stringify({ DirectoryStorage: { Path: '/d', StorageEncryption: encryption } }))
const path = 'DirectoryStorage.StorageEncryption'

describe('StorageEncryption', () => {
  const whole = {
    enabled: true,
    masterKey: { id: 3, path: '/k3', option: `${path}.MasterKey` },
    previousMasterKeys: [
      { id: 1, path: '/k1', option: `${path}.PreviousMasterKeys[0]` },
      { id: 4294967295, path: '/k2', option: `${path}.PreviousMasterKeys[1]` },
    ],
    budgetBytes: 1024 * MB,
    allowUnencryptedRead: false,
    rangeReads: false,
  }
  const keys = {
    MasterKey: [3, '/k3'],
    PreviousMasterKeys: [
      [1, '/k1'],
      ['4294967295', '/k2'],
    ],
  }
  const taken: [string, unknown, object | undefined, RegExp][] = [
    ['keys alone: enabled', keys, whole, /^$/],
    ['numbers and booleans as text', { ...keys, MasterKey: ['3', '/k3'], Enable: 'true' }, whole, /^$/],
    [
      'a budget of 4 GB and more',
      { ...keys, MaxConcurrentInputSize: 8192 },
      { ...whole, budgetBytes: 8192 * MB },
      /^$/,
    ],
    [
      'our own options',
      { ...keys, AllowUnencryptedRead: true, RangeReads: true },
      { ...whole, allowUnencryptedRead: true, rangeReads: true },
      /^$/,
    ],
    ['keys that are only read', { ...keys, Enable: false }, { ...whole, enabled: false }, /can still be read/],
    ['an empty section', {}, undefined, /is empty: files are stored without/],
    ['switched off', { Enable: false }, undefined, /Enable is false: files are stored without/],
    ['an option with a typo', { ...keys, RangeRead: true }, whole, /RangeRead is not an option.*RangeReads/],
  ]
  for (const [what, encryption, expected, warning] of taken)
    it(`takes ${what}`, () => {
      const { config, warnings } = parse(encryption)
      assert.deepEqual(config?.encryption, expected)
      assert.match(warnings.join('\n'), warning)
    })

  const refused: [string, unknown, RegExp][] = [
    ['no section', true, /StorageEncryption is true, but must be an object$/],
    ['no master key', { Enable: true }, /MasterKey is missing; it must be \[id, "path of the key file"\]/],
    ['previous keys only', { PreviousMasterKeys: [[1, '/k']] }, /MasterKey is missing/],
    ['a key without id', { MasterKey: '/k' }, /MasterKey .*must be \[id/],
    ['an id that is a word', { MasterKey: ['x', '/k'] }, /MasterKey.*must be \[id/],
    ['an id below 0', { MasterKey: [-1, '/k'] }, /MasterKey.*must be \[id/],
    ['an id beyond uint32', { MasterKey: [4294967296, '/k'] }, /MasterKey.*must be \[id/],
    ['an id with a fraction', { MasterKey: [1.5, '/k'] }, /MasterKey.*must be \[id/],
    ['no path', { MasterKey: [1] }, /MasterKey.*must be/],
    ['an empty path', { MasterKey: [1, ' '] }, /MasterKey.*must be/],
    ['three elements', { MasterKey: [1, '/k', 2] }, /MasterKey.*must be/],
    ['previous keys that are one pair', { ...keys, PreviousMasterKeys: [1, '/k'] }, /PreviousMasterKeys.*must be/],
    ['a malformed previous key', { ...keys, PreviousMasterKeys: [['1']] }, /PreviousMasterKeys.*must be/],
    [
      'a repeated id',
      { ...keys, PreviousMasterKeys: [[3, '/x']] },
      /PreviousMasterKeys\[0\] has the id 3, which another/,
    ],
    ['a budget of nothing', { ...keys, MaxConcurrentInputSize: 0 }, /MaxConcurrentInputSize is 0, but must be/],
    ['a word for Enable', { ...keys, Enable: 'yes' }, /Enable is "yes", but must be true or false/],
    ['a misspelt master key', { MasterKeys: [1, '/k'] }, /MasterKey is missing/],
  ]
  for (const [what, encryption, line] of refused)
    it(`refuses ${what}`, () => assert.throws(() => parse(encryption), { code: 'BadConfig', message: line }))

  it('does not repeat a key that stands in place of its path', () => {
    const key = Buffer.alloc(32, 9).toString('base64')
    for (const MasterKey of [[1, key], [key, '/k'], key])
      assert.throws(
        () => parse({ MasterKey }),
        (error: Error) => error.message.includes('MasterKey') && !error.message.includes(key),
      )
  })
})

describe('a key file', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-keys-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const load = (content: string | Buffer, mode = 0o600) => {
    const file = join(folder, 'key')
    writeFileSync(file, content)
    chmodSync(file, mode)
    const warnings: string[] = []
    const { encryption } = parse({ MasterKey: [7, file] }).config ?? {}
    if (!encryption) throw new Error('no encryption')
    return { ring: loadKeyring(encryption, line => warnings.push(line)), warnings }
  }
  const base64 = Buffer.alloc(32, 5).toString('base64')

  for (const [what, content] of [
    ['as openssl writes it', `${base64}\n`],
    ['with a line end of Windows', `${base64}\r\n`],
    ['without line end', base64],
    ['broken into lines', ` ${base64.slice(0, 20)}\n${base64.slice(20)} \n`],
  ] as const)
    it(`is read ${what}`, () => assert.deepEqual(load(content).ring.current?.secret.export(), Buffer.alloc(32, 5)))

  for (const [what, content] of [
    ['empty', ''],
    ['31 bytes', Buffer.alloc(31, 5).toString('base64')],
    ['33 bytes', Buffer.alloc(33, 5).toString('base64')],
    ['hexadecimal', Buffer.alloc(32, 5).toString('hex')],
    ['binary', Buffer.alloc(32, 5)],
    ['base64 with something else in it', `${base64.slice(0, 20)}!${base64.slice(20)}`],
    ['large', 'A'.repeat(1_000_000)],
  ] as const)
    it(`is refused when it is ${what}`, () =>
      assert.throws(
        () => load(content),
        (error: Error & { code?: string }) =>
          error.code === 'BadConfig' &&
          /MasterKey names .*key: the key is not 32 bytes in base64/.test(error.message) &&
          (content.length === 0 || !error.message.includes(String(content).slice(0, 20))),
      ))

  it('is refused when it is not there, or a folder', () => {
    for (const file of [join(folder, 'absent'), folder]) {
      const { encryption } = parse({ MasterKey: [7, file] }).config ?? {}
      assert.ok(encryption)
      assert.throws(() => loadKeyring(encryption, () => {}), { code: 'BadConfig', message: /cannot be read/ })
    }
  })

  it('is warned of when others may read it', () => {
    assert.deepEqual(load(base64).warnings, [])
    assert.match(load(base64, 0o644).warnings.join(), /other users may read.*chmod 600/)
  })

  it('shows its key in no inspection and no JSON', () => {
    const { ring } = load(base64)
    const shown = inspect(ring, { depth: 9, showHidden: true }) + JSON.stringify(ring.current)
    assert.ok(
      !shown.includes(base64) && !shown.includes('05050505') && !shown.includes('5,5,5') && !/05 05 05/.test(shown),
    )
  })
})
