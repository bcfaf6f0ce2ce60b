/** Real configurations: what works with the official plugin works here, and what cannot work is reported. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { keysOf } from '../src/area/naming.ts'
import {
  type AzureConfig,
  type DirectoryConfig,
  type GcsConfig,
  parseConfig,
  type S3Config,
} from '../src/config/config.ts'
import { Fault } from '../src/fault.ts'
import { s3PlaceOf } from '../src/stores/s3/place.ts'
import { fc } from './support/property.ts'

const UNSET = 'MUST BE DEFINED BY YOU'
const KEY = 'c2VjcmV0IGtleQ=='
const parse = (root: unknown, folder?: string) => parseConfig(JSON.stringify(root), folder)
const s3 = (more: object) => ({ AwsS3Storage: { BucketName: 'b', Region: 'r', ...more } })
const azure = (more: object) => ({
  AzureBlobStorage: { ContainerName: 'images', ConnectionString: `AccountName=acct;AccountKey=${KEY}`, ...more },
})
const google = (more: object) => ({ GoogleCloudStorage: { BucketName: 'b', ...more } })
const provider = <T>(root: unknown) => parse(root).config?.provider as T
const warnings = (root: unknown) => parse(root).warnings.join('\n')
function refused(root: unknown, line: RegExp, folder?: string): string {
  let said = ''
  assert.throws(
    () => parse(root, folder),
    (error: unknown) => {
      assert.ok(error instanceof Fault && error.code === 'BadConfig', String(error))
      said = error.describe()
      assert.match(said, line)
      return true
    },
  )
  return said
}

describe('what nobody has defined counts as absent', () => {
  for (const nothing of [UNSET, ` ${UNSET}`, null, '', ' '])
    it(JSON.stringify(nothing), () => {
      const url = 'https://acct.blob.core.windows.net'
      const chain = provider<AzureConfig>(azure({ ConnectionString: nothing, AccountUrl: url, AccessTier: nothing }))
      assert.deepEqual([chain.credentials, chain.accessTier], [{ kind: 'chain' }, undefined])
      assert.equal(provider<AzureConfig>(azure({ AccountUrl: nothing })).credentials.kind, 'key')
      assert.equal(provider<GcsConfig>(google({ ServiceAccountFile: nothing })).serviceAccountFile, undefined)
      const bucket = provider<S3Config>(
        s3({ AccessKey: nothing, SecretKey: nothing, Endpoint: nothing, Tags: nothing }),
      )
      assert.deepEqual([bucket.credentials, bucket.endpoint, bucket.tags], [undefined, undefined, {}])
      const defaults = { RootPath: nothing, HybridMode: nothing, MaxRetries: nothing, ConnectionTimeout: nothing }
      const orthanc = { HttpProxy: nothing, HttpsCACertificates: nothing, ReadOnly: nothing, CloudStorage: nothing }
      if (nothing === null) assert.deepEqual(parse({ ...s3(defaults), ...orthanc }), parse(s3({})))
      else assert.deepEqual(parse(s3(defaults)), parse(s3({})))
      assert.equal(provider<S3Config>(s3({ ConnectTimeout: 6, ConnectionTimeout: nothing })).connectTimeoutMs, 6000)
    })

  it('but for encryption: files may not be stored plain by oversight', () => {
    for (const nothing of [UNSET, null, ''])
      refused(s3({ StorageEncryption: nothing }), /^AwsS3Storage\.StorageEncryption is .*must be an object/)
    refused(s3({ StorageEncryption: { Enable: null, MasterKey: UNSET } }), /MasterKey is missing/)
  })
})

describe('a section that does not say where to store', () => {
  const whole = google({})
  for (const [what, section] of [
    ['no bucket', { AccessKey: 'stray' }],
    ['an empty bucket', { BucketName: ' ' }],
    ["the image's placeholder", { BucketName: UNSET, Region: UNSET, AccessKey: 'stray' }],
    ['a bucket that is null', { BucketName: null }],
    ['nothing at all', null],
  ] as const)
    it(`with ${what}, is ignored with a warning beside one that does`, () => {
      const { config, warnings } = parse({ ...whole, AwsS3Storage: section })
      assert.equal(config?.provider.kind, 'gcs')
      assert.match(warnings.join(), /^the section "AwsS3Storage" is ignored: it has no BucketName, and "GoogleCloud/)
    })

  it('is told of when it is alone, or when none says it', () => {
    refused({ AwsS3Storage: { AccessKey: 'stray' } }, /^AwsS3Storage\.BucketName is missing/)
    refused({ AwsS3Storage: null }, /^AwsS3Storage is null, but must be an object/)
    refused({ DirectoryStorage: { Path: '' }, AzureBlobStorage: {} }, /^AzureBlobStorage\.ContainerName is missing/)
  })

  it('does not hide that two others do', () => {
    refused({ ...whole, ...azure({}), AwsS3Storage: {} }, /AzureBlobStorage and GoogleCloudStorage are both there/)
  })
})

describe('values that the official plugin takes', () => {
  it('no region, with an own endpoint, is us-east-1, and the log says so', () => {
    for (const Region of [undefined, '', ' ', null, UNSET]) {
      const { config, notes } = parse(s3({ Region, Endpoint: 'http://minio:9000' }))
      assert.ok(config?.provider.kind === 's3' && config.provider.region === 'us-east-1')
      assert.match(notes.join(), /^AwsS3Storage\.Region is not set: .* us-east-1 is used$/)
    }
    refused(s3({ Region: '' }), /^AwsS3Storage\.Region is missing/)
  })

  it('a time-out of 0 is the default', () => {
    for (const zero of [0, '0']) {
      const { connectTimeoutMs, requestTimeoutMs } = provider<S3Config>(
        s3({ ConnectionTimeout: zero, RequestTimeout: zero }),
      )
      assert.deepEqual([connectTimeoutMs, requestTimeoutMs], [30_000, 1_200_000])
    }
  })

  it('booleans and numbers as people and environments write them', () => {
    for (const yes of [true, 'true', 'True', ' TRUE ', 1, '1'])
      assert.equal(provider<S3Config>(s3({ UseTransferManager: yes })).transfer?.concurrency, 10)
    for (const no of [false, 'false', 'False', 0, '0'])
      assert.equal(provider<S3Config>(s3({ VirtualAddressing: no })).virtualAddressing, false)
    assert.equal(provider<S3Config>(s3({ MaxRetries: ' 3 ' })).maxRetries, 3)
    assert.equal(provider<AzureConfig>(azure({ AccessTier: 'cool' })).accessTier, 'Cool')
    for (const maybe of ['yes', 2, '01']) refused(s3({ VirtualAddressing: maybe }), /must be true or false/)
  })

  // As the official plugin joins a path, and as its libraries send it: AWS's takes doubled slashes away, HTTP's "./".
  const uuid = '4a8c9c1e-8b1f-4b7a-9f5e-0a1b2c3d4e5f'
  for (const [RootPath, ofS3, ofAzure, ofGoogle] of [
    ['orthanc/', 'orthanc/', 'orthanc/', 'orthanc/'],
    ['a/b/', 'a/b/', 'a/b/', 'a/b/'],
    ['a//b', 'a/b/', 'a//b/', 'a//b/'],
    ['a//', 'a/', 'a//', 'a//'],
    ['./a', 'a/', 'a/', './a/'],
    ['a/.', 'a/', 'a/', 'a/./'],
    ['.', '', '', './'],
    ['./', '', '', './'],
    ['.a/..b', '.a/..b/', '.a/..b/', '.a/..b/'],
    ['', '', '', ''],
  ] as const)
    it(`RootPath ${JSON.stringify(RootPath)}`, () => {
      const prefix = (root: unknown) => {
        const { config } = parse(root)
        assert.ok(config)
        return keysOf(config.naming, '', { uuid, type: 'dicom' })[0].replace(`${uuid}.dcm`, '')
      }
      assert.deepEqual(
        [prefix(s3({ RootPath })), prefix(azure({ RootPath })), prefix(google({ RootPath }))],
        [ofS3, ofAzure, ofGoogle],
      )
      assert.equal(prefix({ DirectoryStorage: { Path: '/d', RootPath } }), ofS3)
    })
  it('but no RootPath that leads elsewhere', () => {
    for (const RootPath of ['/a', '/', '..', 'a/../b', '../a', 'a/..'])
      for (const root of [s3({ RootPath }), azure({ RootPath }), google({ RootPath })]) refused(root, /RootPath is "/)
  })
})

describe('ReadOnly and the time that a start may take', () => {
  it('are taken', () => {
    assert.equal(parse({ ...s3({}), ReadOnly: true }).config?.readOnly, true)
    const of = (StartupTimeout: unknown) =>
      parse({ ...s3({}), CloudStorage: { StartupTimeout } }).config?.startupTimeoutMs
    assert.deepEqual([of(undefined), of(0), of('5'), of(3600)], [60_000, 0, 5000, 3_600_000])
    refused(
      { ...s3({}), CloudStorage: { StartupTimeout: 3601 } },
      /^CloudStorage\.StartupTimeout is 3601.*from 0 to 3600/,
    )
    refused({ ...s3({}), CloudStorage: { StartupTimeout: 1.5 } }, /^CloudStorage\.StartupTimeout/)
  })
})

describe('an endpoint that begins with the bucket', () => {
  const Endpoint = 'https://scans.fra1.digitaloceanspaces.com'
  it('is refused where the bucket would come in front of it once more', () => {
    refused(
      s3({ BucketName: 'scans', Endpoint }),
      /^AwsS3Storage\.Endpoint is ".*write "https:\/\/fra1\.digitaloceanspaces\.com"/,
    )
    refused(s3({ BucketName: 'scans', Endpoint: 'scans.host:9000/gw' }), /write "https:\/\/host:9000\/gw"/)
  })
  it('is warned of otherwise, with the keys of the official plugin', () => {
    const root = s3({ BucketName: 'scans', Endpoint, VirtualAddressing: false })
    assert.match(warnings(root), /^AwsS3Storage\.Endpoint has the bucket's name in it.*folder "scans\/"/)
    assert.equal(s3PlaceOf(provider<S3Config>(root)).base, '/scans')
  })
  it('is not seen where there is none', () => {
    for (const more of [
      { BucketName: 'minio', Endpoint: 'http://minio:9000' },
      { BucketName: '127', Endpoint: 'http://127.0.0.1:9000', VirtualAddressing: false },
      { BucketName: 'scan', Endpoint },
    ])
      assert.equal(warnings(s3(more)), '')
  })
})

describe('what stands for a bucket', () => {
  it('an access point, by its ARN: its own host, its own region', () => {
    const config = provider<S3Config>(
      s3({ BucketName: 'arn:aws:s3:eu-west-1:123456789012:accesspoint/orthanc', Region: '' }),
    )
    assert.equal(config.region, 'eu-west-1')
    assert.deepEqual(s3PlaceOf(config), {
      origin: 'https://orthanc-123456789012.s3-accesspoint.eu-west-1.amazonaws.com',
      host: 'orthanc-123456789012.s3-accesspoint.eu-west-1.amazonaws.com',
      base: '',
    })
  })
  it('another ARN is refused, and the line says what to give', () => {
    const arn = (text: string) => s3({ BucketName: `arn:aws:s3:${text}` })
    refused(arn('::scans'), /write its name alone, "scans"/)
    refused(arn(':123456789012:accesspoint/x.mrap'), /alias of the access point/)
    refused(s3({ BucketName: 'arn:aws:s3-outposts:eu-west-1:1:outpost/o/accesspoint/a' }), /cannot be used here/)
    const own = {
      BucketName: 'arn:aws:s3:eu-west-1:123456789012:accesspoint/orthanc',
      Endpoint: 'http://127.0.0.1:9000',
    }
    refused(s3(own), /cannot be used together with Endpoint; write the bucket's name, or the alias/)
  })
  it('a directory bucket is refused at AWS, and is a name like others elsewhere', () => {
    const BucketName = 'scans--euw1-az1--x-s3'
    refused(s3({ BucketName }), /S3 Express One Zone.*general purpose bucket/)
    assert.equal(provider<S3Config>(s3({ BucketName, Endpoint: 'http://minio:9000' })).bucket, BucketName)
  })
  it('in any partition of AWS', () => {
    const host = (region: string) =>
      s3PlaceOf({ bucket: 'scans', region, endpoint: undefined, virtualAddressing: true }).host
    assert.deepEqual(
      ['eu-west-1', 'us-gov-west-1', 'cn-north-1', 'us-iso-east-1', 'us-isob-east-1', 'eusc-de-east-1'].map(host),
      [
        'scans.s3.eu-west-1.amazonaws.com',
        'scans.s3.us-gov-west-1.amazonaws.com',
        'scans.s3.cn-north-1.amazonaws.com.cn',
        'scans.s3.us-iso-east-1.c2s.ic.gov',
        'scans.s3.us-isob-east-1.sc2s.sgov.gov',
        'scans.s3.eusc-de-east-1.amazonaws.eu',
      ],
    )
  })
})

describe('a secret in a URL', () => {
  const url = 'https://acct.blob.core.windows.net'
  const sas = 'sv=2022-11-02&ss=b&sig=S3CR3T'
  it('in AccountUrl is refused without showing it, and the line says where it belongs', () => {
    for (const AccountUrl of [`${url}/?${sas}`, `${url}/images?${sas}`, `acct.blob.core.windows.net?${sas}`]) {
      const said = refused(
        azure({ ConnectionString: '', AccountUrl }),
        /AccountUrl is ".*"BlobEndpoint=.*SharedAccessSig/,
      )
      assert.doesNotMatch(said, /S3CR3T/)
    }
  })
  it('in a connection string that is a URL, or in its BlobEndpoint', () => {
    assert.doesNotMatch(refused(azure({ ConnectionString: `${url}/?${sas}` }), /is a URL; .*BlobEndpoint=/), /S3CR3T/)
    const { endpoint, credentials } = provider<AzureConfig>(azure({ ConnectionString: `BlobEndpoint=${url}/?${sas}` }))
    assert.deepEqual([endpoint, credentials], [`${url}/`, { kind: 'sas', sas }])
  })
  it('is shown in no message, whatever else is wrong', () => {
    const secrets = [
      'http://user:S3CR3T@host',
      'user:S3CR3T@host',
      'http://us"er:S3/CR3T@h',
      `http://h/?x=S3CR3T`,
      'h#S3CR3T',
    ]
    for (const text of secrets)
      for (const root of [
        s3({ Endpoint: text }),
        s3({ Endpoint: [text] }),
        google({ Endpoint: text }),
        azure({ ConnectionString: '', AccountUrl: text }),
        s3({ RootPath: `/${text}` }),
      ])
        assert.doesNotMatch(refused(root, /is /), /S3CR3T|CR3T|S3\//)
  })
  it('is shown in no message, whatever the URL', () =>
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 20 }), fc.constantFrom('@', '?', '#'), (text, mark) => {
        const value = mark === '@' ? `ftp://${text}S3CR3T@h` : `ftp://h${mark}${text}S3CR3T`
        assert.doesNotMatch(refused(s3({ Endpoint: value }), /Endpoint/), /S3CR3T/)
      }),
      { numRuns: 300 },
    ))
  it('and a container in AccountUrl would be there twice', () => {
    refused(azure({ ConnectionString: '', AccountUrl: `${url}/images` }), /account's URL alone/)
    const local = provider<AzureConfig>(
      azure({ ConnectionString: '', AccountUrl: 'http://127.0.0.1:10000/devstoreaccount1' }),
    )
    assert.equal(local.account, 'devstoreaccount1')
  })
})

describe('a warning', () => {
  it('of a class that cannot be read at once', () => {
    for (const root of [
      s3({ StorageClass: 'GLACIER' }),
      s3({ StorageClass: 'deep_archive' }),
      azure({ AccessTier: 'archive' }),
    ])
      assert.match(warnings(root), /(StorageClass|AccessTier) is ".*Orthanc cannot read such objects before/)
    for (const root of [
      s3({ StorageClass: 'GLACIER_IR' }),
      azure({ AccessTier: 'Cold' }),
      google({ StorageClass: 'ARCHIVE' }),
    ])
      assert.equal(warnings(root), '')
  })
})

describe('names that would hide files', () => {
  it('are refused', () => {
    for (const root of [
      s3({ NamingScheme: 'x' }),
      google({ NamingScheme: 'OrthancDefault' }),
      azure({ NamingScheme: 'y' }),
    ])
      refused(root, /NamingScheme is ".*but must be left out: /)
    refused(s3({ HybridMode: 'WriteRedundant' }), /HybridMode is "WriteRedundant", but must be/)
    assert.ok(provider<DirectoryConfig>({ DirectoryStorage: { Path: '/d', NamingScheme: UNSET } }))
  })
})

describe('the official plugin beside ours', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ocs-plugins-'))
  after(() => rmSync(folder, { recursive: true, force: true }))
  const library = (name: string, text: string) => {
    mkdirSync(join(folder, name, '..'), { recursive: true })
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const official = library('official/libOrthancAwsS3Storage.so.2.5.4', 'OrthancAwsS3Storage')
  const azures = library('azure/libOrthancAzureBlobStorage.so', 'x')
  const advanced = library('advanced/libOrthancAdvancedStorage.so', 'x')
  const renamed = library('ours/libOrthancAwsS3Storage.so', 'ELF ... orthanc-cloud-storage ...')

  it('is refused, as a file, in a folder, and by a relative path', () => {
    for (const path of [official, join(folder, 'official'), 'official'])
      refused(
        { ...s3({}), Plugins: ['/nowhere', path] },
        /^Plugins has .*libOrthancAwsS3Storage\.so\.2\.5\.4, .*AwsS3Storage/,
        folder,
      )
    refused({ ...s3({}), Plugins: [advanced], AdvancedStorage: { Enable: true } }, /^Plugins has .*AdvancedStorage/)
  })
  it('is let alone where it is off: another section, or none', () => {
    for (const root of [
      { ...s3({}), Plugins: [azures, advanced] },
      { ...google({}), Plugins: [official] },
      { ...azure({}), Plugins: [join(folder, 'official')], AdvancedStorage: { Enable: false } },
    ])
      assert.ok(parse(root).config)
  })
  it('is ours, when ours was put in its place under its name', () => {
    assert.ok(parse({ ...s3({}), Plugins: [renamed] }).config)
  })
})
