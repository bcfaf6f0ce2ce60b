import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type DirectoryConfig, parseConfig, type S3Config } from '../src/config/config.ts'
import { Fault } from '../src/fault.ts'
import { fc } from './support/property.ts'

const s3 = { BucketName: 'b', Region: 'r' }
const parse = (root: unknown) => parseConfig(JSON.stringify(root))
const parseS3 = (more: object, root: object = {}) => parse({ AwsS3Storage: { ...s3, ...more }, ...root })
const providerOf = (more: object) => parseS3(more).config?.provider as S3Config
const MB = 1024 * 1024

describe('AwsS3Storage', () => {
  it('has the defaults of docs/configuration.md', () => {
    assert.deepEqual(parseS3({}), {
      config: {
        provider: {
          kind: 's3',
          bucket: 'b',
          accessPoint: undefined,
          region: 'r',
          credentials: undefined,
          endpoint: undefined,
          virtualAddressing: true,
          connectTimeoutMs: 30_000,
          requestTimeoutMs: 1_200_000,
          maxConnections: 25,
          maxRetries: 10,
          transfer: undefined,
          storageClass: undefined,
          tags: {},
          logRequests: false,
        },
        naming: { rootPath: '', structure: 'flat', legacyUnknownFiles: false },
        encryption: undefined,
        hybrid: undefined,
        moveConcurrency: 8,
        ahead: { memoryBytes: 64 * 1024 * 1024 },
        http: { caFile: undefined, proxy: undefined, noProxy: [] },
        startupCheck: true,
        startupTimeoutMs: 60_000,
        readOnly: false,
      },
      warnings: [],
      notes: [],
    })
  })

  const fields: [object, Partial<S3Config>][] = [
    [{ AccessKey: 'A', SecretKey: 'S' }, { credentials: { accessKeyId: 'A', secretAccessKey: 'S' } }],
    [{ AccessKey: '', SecretKey: '' }, { credentials: undefined }],
    [{ AccessKey: 123, SecretKey: true }, { credentials: { accessKeyId: '123', secretAccessKey: 'true' } }],
    [{ Endpoint: 's3.fr-par.scw.cloud' }, { endpoint: 'https://s3.fr-par.scw.cloud' }],
    [{ Endpoint: 'http://localhost:9000/' }, { endpoint: 'http://localhost:9000/' }],
    [{ Endpoint: '' }, { endpoint: undefined }],
    [{ ConnectionTimeout: 5 }, { connectTimeoutMs: 5000 }],
    [{ ConnectTimeout: 6 }, { connectTimeoutMs: 6000 }],
    [{ ConnectTimeout: 6, ConnectionTimeout: 7 }, { connectTimeoutMs: 7000 }],
    [{ RequestTimeout: '60' }, { requestTimeoutMs: 60_000 }],
    [
      { MaxConnections: 100, MaxRetries: 0 },
      { maxConnections: 100, maxRetries: 0 },
    ],
    [{ VirtualAddressing: false }, { virtualAddressing: false }],
    [{ VirtualAddressing: 'false' }, { virtualAddressing: false }],
    [{ UseTransferManager: true }, { transfer: { concurrency: 10, partBytes: 5 * MB } }],
    [
      { UseTransferManager: true, TransferPoolSize: 3, TransferBufferSize: 16 },
      { transfer: { concurrency: 3, partBytes: 16 * MB } },
    ],
    [{ StorageClass: 'EXPRESS_ONEZONE' }, { storageClass: 'EXPRESS_ONEZONE' }],
    [{ StorageClass: '' }, { storageClass: undefined }],
    [{ Tags: { a: 'b', n: 7 } }, { tags: { a: 'b', n: '7' } }],
    [{ EnableAwsSdkLogs: true }, { logRequests: true }],
    [{ BucketName: ' trimmed ' }, { bucket: 'trimmed' }],
  ]
  for (const [options, expected] of fields)
    it(`takes ${JSON.stringify(options)}`, () => {
      const provider = providerOf(options)
      for (const [name, value] of Object.entries(expected)) assert.deepEqual(provider[name as keyof S3Config], value)
    })

  it('keeps a secret of many digits as it is written', () => {
    const json =
      '{"AwsS3Storage": {"BucketName": "b", "Region": "r", "AccessKey": 1, "SecretKey": 123456789012345678901234567890}}'
    const provider = parseConfig(json).config?.provider as S3Config
    assert.equal(provider.credentials?.secretAccessKey, '123456789012345678901234567890')
  })
})

describe('what all providers share', () => {
  it('takes names, proxy and authorities', () => {
    const { config } = parseS3(
      { RootPath: 'a/b', StorageStructure: 'legacy', EnableLegacyUnknownFiles: true },
      {
        HttpProxy: 'proxy:3128',
        HttpsCACertificates: '/etc/ca.crt',
        CloudStorage: { StartupCheck: false, Node: '/n' },
      },
    )
    assert.deepEqual(config?.naming, { rootPath: 'a/b', structure: 'legacy', legacyUnknownFiles: true })
    assert.deepEqual(config?.http, { caFile: '/etc/ca.crt', proxy: 'proxy:3128', noProxy: [] })
    assert.equal(config?.startupCheck, false)
  })

  it('takes hosts that no proxy leads to, as a list or as NO_PROXY has them', () => {
    const of = (NoProxy: unknown) => parseS3({}, { CloudStorage: { NoProxy } }).config?.http.noProxy
    assert.deepEqual(of(['minio', ' .hospital.example', '']), ['minio', '.hospital.example'])
    assert.deepEqual(of('minio, 10.0.0.0/8'), ['minio', '10.0.0.0/8'])
    assert.throws(() => of(7), {
      code: 'BadConfig',
      message: /CloudStorage\.NoProxy is 7, but must be a list of hosts/,
    })
  })

  it('tells of characters that cannot be sent, and shows no secret', () => {
    const keys = { AccessKey: 'AKID', SecretKey: 'SECRET' }
    assert.throws(() => parseS3({ ...keys, AccessKey: 'AK\u200bID' }), {
      code: 'BadConfig',
      message: /AwsS3Storage\.AccessKey has a character that cannot be sent \(U\+200B at position 3\)/,
    })
    assert.throws(() => parseS3({ ...keys, StorageClass: 'A\u00a0B' }), {
      message: /AwsS3Storage\.StorageClass.*U\+00A0/,
    })
    const { warnings } = parseS3({ ...keys, SecretKey: 'SEC\u200bRET' })
    assert.match(warnings.join(), /SecretKey has an invisible character \(U\+200B at position 4\)/)
    const provider = parseS3({ ...keys, AccessKey: '\ufeffAKID\u00a0' }).config?.provider as S3Config
    assert.equal(provider.credentials?.accessKeyId, 'AKID', 'at the ends they are cut off')
  })

  it('takes a directory', () => {
    const provider = parse({ DirectoryStorage: { Path: '/data' } }).config?.provider as DirectoryConfig
    assert.deepEqual(provider, { kind: 'directory', path: '/data' })
  })

  it("takes a hybrid mode, with Orthanc's own options about its disk", () => {
    const of = (options: object, orthanc: object = {}) =>
      parse({ DirectoryStorage: { Path: '/o', ...options }, StorageDirectory: '/var/lib/orthanc', ...orthanc })
    const disk = { directory: '/var/lib/orthanc', sync: true }
    assert.deepEqual(of({ HybridMode: 'WriteToFileSystem' }).config?.hybrid, { writesTo: 'file-system', ...disk })
    const unsynced = of({ HybridMode: 'WriteToObjectStorage' }, { SyncStorageArea: false })
    assert.deepEqual(unsynced.config?.hybrid, { ...disk, writesTo: 'object-storage', sync: false })
    assert.equal(of({ HybridMode: 'Disabled' }).config?.hybrid, undefined)
  })

  it('takes a relative StorageDirectory, and the default, from where Orthanc does', () => {
    const root = { DirectoryStorage: { Path: '/o', HybridMode: 'WriteToFileSystem' } }
    const of = (more: object) =>
      parseConfig(JSON.stringify({ ...root, ...more }), '/etc/orthanc').config?.hybrid?.directory
    assert.equal(of({}), '/etc/orthanc/OrthancStorage')
    assert.equal(of({ StorageDirectory: '../db' }), '/etc/db')
    assert.equal(of({ StorageDirectory: '/var/lib/orthanc' }), '/var/lib/orthanc')
  })

  it('takes MigrationFromFileSystemEnabled for the mode it once meant, with a warning', () => {
    const of = (options: object) =>
      parse({ DirectoryStorage: { Path: '/o', ...options }, StorageDirectory: '/var/lib/orthanc' })
    const alone = of({ MigrationFromFileSystemEnabled: true })
    assert.equal(alone.config?.hybrid?.writesTo, 'object-storage')
    assert.match(alone.warnings.join(), /deprecated: it is read as HybridMode "WriteToObjectStorage"/)
    const both = of({ MigrationFromFileSystemEnabled: true, HybridMode: 'WriteToFileSystem' })
    assert.equal(both.config?.hybrid?.writesTo, 'file-system')
    assert.match(both.warnings.join(), /deprecated and ignored/)
  })

  it('is disabled without a section', () =>
    assert.deepEqual(parse({ Name: 'x' }), { config: undefined, warnings: [], notes: [] }))

  it('is frozen to the depth', () => {
    const { config } = parseS3({ Tags: { a: 'b' } })
    assert.ok(config && Object.isFrozen(config) && Object.isFrozen((config.provider as S3Config).tags))
  })
})

describe('a refusal is one line that names the option', () => {
  const directory = (more: object) => ({ DirectoryStorage: { Path: '/d', ...more } })
  const bucket = (more: object) => ({ AwsS3Storage: { ...s3, ...more } })
  const cases: [string, unknown, RegExp][] = [
    [
      'a missing bucket',
      { AwsS3Storage: { Region: 'r' } },
      /^AwsS3Storage.BucketName is missing; it must be the bucket's name$/,
    ],
    ['an empty region of AWS', { AwsS3Storage: { BucketName: 'b', Region: ' ' } }, /^AwsS3Storage.Region is missing/],
    ["the image's placeholder", bucket({ BucketName: 'MUST BE DEFINED BY YOU' }), /^AwsS3Storage.BucketName/],
    ['one key of two', bucket({ AccessKey: 'A' }), /only one of AccessKey and SecretKey/],
    ['a bad endpoint', bucket({ Endpoint: 'http://' }), /^AwsS3Storage.Endpoint .* host name/],
    ['a bad scheme', bucket({ Endpoint: 'ftp://h' }), /^AwsS3Storage.Endpoint/],
    [
      'a number out of range',
      bucket({ MaxConnections: 0 }),
      /^AwsS3Storage.MaxConnections is 0, but must be a whole number of connections from 1 to 10000$/,
    ],
    ['a fraction', bucket({ MaxRetries: 1.5 }), /^AwsS3Storage.MaxRetries is "?1.5/],
    [
      'a word for a number',
      bucket({ RequestTimeout: 'long' }),
      /^AwsS3Storage.RequestTimeout is "long", but must be a whole number of seconds/,
    ],
    ['no part', bucket({ TransferBufferSize: 0 }), /from 1 to 1024/],
    [
      'a word for a boolean',
      bucket({ VirtualAddressing: 'yes' }),
      /^AwsS3Storage.VirtualAddressing is "yes", but must be true or false$/,
    ],
    ['a list of tags', bucket({ Tags: ['a'] }), /^AwsS3Storage.Tags/],
    [
      'too many tags',
      bucket({ Tags: Object.fromEntries(Array.from({ length: 11 }, (_, i) => [i, 'x'])) }),
      /at most 10 tags/,
    ],
    ['a section that is a list', { AwsS3Storage: [] }, /^AwsS3Storage is \[\], but must be an object$/],
    ['an absolute root path', directory({ RootPath: '/a' }), /^DirectoryStorage.RootPath is "\/a"/],
    ['a root path that climbs', directory({ RootPath: 'a/../b' }), /^DirectoryStorage.RootPath/],
    [
      'a misspelt structure',
      directory({ StorageStructure: 'legcy' }),
      /but must be "flat" or "legacy"; did you mean legacy\?$/,
    ],
    ['a misspelt hybrid mode', directory({ HybridMode: 'WriteToFilesystem' }), /did you mean WriteToFileSystem\?$/],
    [
      'a hybrid mode without a folder, when nobody can tell where Orthanc has it',
      directory({ HybridMode: 'WriteToFileSystem' }),
      /^StorageDirectory is missing.*absolute path/,
    ],
    [
      'a hybrid mode with a relative folder, when nobody can tell from where',
      { ...directory({ HybridMode: 'WriteToFileSystem' }), StorageDirectory: 'OrthancStorage' },
      /^StorageDirectory is "OrthancStorage", but must be an absolute path for DirectoryStorage.HybridMode/,
    ],
    [
      'no files at a time',
      { ...directory({}), CloudStorage: { MoveConcurrency: 0 } },
      /CloudStorage.MoveConcurrency is 0/,
    ],
    [
      'a relative folder',
      { DirectoryStorage: { Path: 'data' } },
      /^DirectoryStorage.Path is "data", but must be an absolute path$/,
    ],
    ['two providers', { ...directory({}), ...bucket({}) }, /AwsS3Storage and DirectoryStorage are both there/],
    ['no object at all', [], /not a JSON object/],
  ]
  for (const [what, root, line] of cases)
    it(what, () =>
      assert.throws(
        () => parse(root),
        (error: unknown) => {
          assert.ok(error instanceof Fault && error.code === 'BadConfig', String(error))
          assert.match(error.message, line)
          assert.ok(!error.message.includes('\n'))
          return true
        },
      ),
    )

  it('what is not JSON', () => assert.throws(() => parseConfig('{'), { code: 'BadConfig' }))
})

describe('a warning', () => {
  const warned = (root: unknown, line: RegExp) => assert.match(parse(root).warnings.join('\n'), line)

  it('names the nearest option', () =>
    warned(
      { AwsS3Storage: { ...s3, MaxConection: 3 } },
      /^AwsS3Storage.MaxConection is not an option.*did you mean MaxConnections\?$/,
    ))
  it('names the nearest section', () =>
    warned({ AwsS3storage: {} }, /"AwsS3storage" is ignored; did you mean "AwsS3Storage"/))
  it('says that certificates are verified all the same', () =>
    warned({ HttpsVerifyPeers: false, AwsS3Storage: s3 }, /verified all the same/))
})

describe('whatever is configured', () => {
  it('is taken, or refused with BadConfig, and never with a secret in a message', () => {
    const secret = 'S3CR3T-marker'
    const names = [
      'BucketName',
      'Region',
      'Endpoint',
      'MaxRetries',
      'Tags',
      'RootPath',
      'StorageEncryption',
      'Odd',
      'VirtualAddressing',
    ]
    const section = fc.record({
      AccessKey: fc.constantFrom<unknown>(secret, '', [secret], { a: secret }),
      SecretKey: fc.constantFrom<unknown>(secret, [secret], 7),
      options: fc.dictionary(fc.constantFrom(...names), fc.jsonValue({ maxDepth: 2 })),
    })
    fc.assert(
      fc.property(section, fc.jsonValue({ maxDepth: 2 }), ({ options, AccessKey, SecretKey }, cloud) => {
        const root = {
          AwsS3Storage: { ...options, AccessKey, SecretKey },
          CloudStorage: cloud,
          HttpProxy: { p: secret },
        }
        let said = ''
        try {
          said = parse(root).warnings.join()
        } catch (error) {
          assert.ok(error instanceof Fault && error.code === 'BadConfig', String(error))
          said = error.describe()
        }
        assert.ok(!said.includes(secret), said)
      }),
      { numRuns: 1000 },
    )
  })
})
