/** Whatever option holds a secret, whatever is wrong with it: no message shows the secret. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, it } from 'node:test'
import * as azure from '../src/config/azure.ts'
import * as cache from '../src/config/cache.ts'
import * as root from '../src/config/config.ts'
import * as directory from '../src/config/directory.ts'
import * as encryption from '../src/config/encryption.ts'
import * as gcs from '../src/config/gcs.ts'
import * as postgresql from '../src/config/postgresql.ts'
import * as s3 from '../src/config/s3.ts'
import { Fault } from '../src/fault.ts'
import { program } from './support/program.ts'
import { fc } from './support/property.ts'

const MARKER = 'S3cr3tM4rk3rS3cr3tM4rk3rS3cr3tM4'

/** Of every option of every section: where a secret may be in it. A new option must be put here. */
const HOLDS = {
  /** All of it. */
  secret: ['AccessKey', 'SecretKey', 'ConnectionString', 'AccountKey', 'HttpProxy', 'ConnectionUri', 'Password'],
  /** The path of a secret, in whose place people put the secret itself. */
  path: ['ServiceAccountFile', 'MasterKey', 'PreviousMasterKeys'],
  /** In a URL: as user, password, signature. */
  url: ['Endpoint', 'AccountUrl', 'BucketName', 'ContainerName'],
  nothing: [
    ...['Region', 'VirtualAddressing', 'UseTransferManager', 'TransferPoolSize', 'TransferBufferSize', 'StorageClass'],
    ...['Tags', 'EnableAwsSdkLogs', 'ConnectionTimeout', 'RequestTimeout', 'MaxConnections', 'MaxRetries', 'RootPath'],
    ...['StorageStructure', 'EnableLegacyUnknownFiles', 'HybridMode', 'MigrationFromFileSystemEnabled', 'AccessTier'],
    ...['StorageEncryption', 'NamingScheme', 'CreateContainerIfNotExists', 'AccountName', 'Path', 'Enable', 'Engine'],
    ...['MaxConcurrentInputSize', 'AllowUnencryptedRead', 'RangeReads', 'Node', 'StartupCheck', 'StartupTimeout'],
    ...['Cache', 'MaxSize', 'MaxDays', 'OnWrite', 'IndexDirectory'],
    ...['MoveConcurrency', 'NoProxy', 'HttpsCACertificates', 'StorageDirectory', 'SyncStorageArea', 'ReadOnly'],
    ...['DeferredDeletion', 'ReadAhead', 'ReadAheadMemory'],
    ...['EnableIndex', 'Host', 'Port', 'Database', 'Username', 'EnableSsl', 'Schema'],
  ],
} as const

interface Section {
  readonly options: readonly string[]
  /** The whole configuration, with one option of this section replaced. */
  with(option: Record<string, unknown>): unknown
}
const optionsOf = ({ shape }: { shape: object }) => Object.keys(shape)
const bucket = { BucketName: 'b', Region: 'r', AccessKey: MARKER, SecretKey: MARKER }
const sections: Readonly<Record<string, Section>> = {
  AwsS3Storage: { options: optionsOf(s3.s3Schema), with: o => ({ AwsS3Storage: { ...bucket, ...o } }) },
  AzureBlobStorage: {
    options: optionsOf(azure.azureSchema),
    with: o => ({
      AzureBlobStorage: {
        ContainerName: 'images',
        ...('AccountUrl' in o ? {} : { ConnectionString: `AccountName=a;AccountKey=${btoa(MARKER)}` }),
        ...o,
      },
    }),
  },
  BlobStorage: {
    options: optionsOf(azure.oldAzureSchema),
    with: o => ({ BlobStorage: { ContainerName: 'images', AccountName: 'a', AccountKey: MARKER, ...o } }),
  },
  GoogleCloudStorage: {
    options: optionsOf(gcs.gcsSchema),
    with: o => ({ GoogleCloudStorage: { BucketName: 'b', ServiceAccountFile: '/etc/account.json', ...o } }),
  },
  DirectoryStorage: {
    options: optionsOf(directory.directorySchema),
    with: o => ({ DirectoryStorage: { Path: '/d', ...o } }),
  },
  StorageEncryption: {
    options: optionsOf(encryption.encryptionSchema),
    with: o => ({
      DirectoryStorage: { Path: '/d', StorageEncryption: { MasterKey: [1, '/etc/key'], Enable: true, ...o } },
    }),
  },
  Cache: {
    options: optionsOf(cache.cacheSchema),
    with: o => ({ AwsS3Storage: bucket, CloudStorage: { Cache: { Path: '/c', ...o } } }),
  },
  PostgreSQL: {
    options: optionsOf(postgresql.postgresqlSchema),
    with: o => ({ PostgreSQL: { EnableIndex: true, Password: MARKER, ...o } }),
  },
  CloudStorage: { options: optionsOf(root.cloudStorage), with: o => ({ AwsS3Storage: bucket, CloudStorage: o }) },
  '': { options: optionsOf(root.orthanc), with: o => ({ AwsS3Storage: bucket, ...o }) },
}

/** All that a configuration makes anybody say. */
function saidOf(configuration: unknown): string {
  try {
    const text = JSON.stringify(configuration)
    postgresql.parsePostgresql(text)
    const { warnings, notes } = root.parseConfig(text, '/etc/orthanc')
    return [...warnings, ...notes].join('\n')
  } catch (error) {
    assert.ok(error instanceof Fault && error.code === 'BadConfig', String(error))
    return error.describe()
  }
}

const bytes = Buffer.from(MARKER)
const forms = [MARKER, encodeURIComponent(MARKER), bytes.toString('base64'), bytes.toString('hex')]
function betraysNothing(configuration: unknown): void {
  const said = saidOf(configuration)
  for (const form of forms) assert.ok(!said.includes(form), `${JSON.stringify(configuration)}: ${said}`)
}

/** A secret in a value of the wrong kind. */
const wrapped = (secret: unknown): unknown[] => [
  [secret],
  { key: secret },
  [[secret]],
  [1, secret, 2],
  [{ a: [secret] }],
]
const keys = ['base64', 'base64url', 'hex'].map(encoding => bytes.toString(encoding as BufferEncoding))
const files = [`-----BEGIN PRIVATE KEY-----\n${MARKER}`, `{"private_key":"${MARKER}"}`, `\n { "k": "${MARKER}" }`]
const urls = ['https://', 's3://', 'https://user:', ':', ''].flatMap(scheme => [
  `${scheme}${MARKER}@host/folder`,
  `${scheme}u:${MARKER}@host.blob.example/images/x`,
  ...['sig', 'X-Amz-Signature', 'token'].map(name => `https://host/folder/x?sv=1&${name}=${MARKER}`),
  `https://host/#${MARKER}`,
])
const odd = ['\n', '\u200b', '\0', ' '].map(character => `${MARKER}${character}${MARKER}`)

describe('a configuration', () => {
  it('has no option of which it is not known whether it may hold a secret', () => {
    const known: readonly string[] = Object.values(HOLDS).flat()
    const given = Object.values(sections).flatMap(({ options }) => options)
    assert.deepEqual(
      given.filter(option => !known.includes(option)),
      [],
    )
    assert.deepEqual(
      known.filter(option => !given.includes(option)),
      [],
    )
  })

  for (const [name, { options, with: having }] of Object.entries(sections))
    for (const option of options)
      it(`whose ${name}.${option} is wrong shows no secret`, () => {
        const isIn = (kind: keyof typeof HOLDS) => (HOLDS[kind] as readonly string[]).includes(option)
        const values = wrapped(MARKER)
        if (isIn('secret')) values.push(MARKER, ...forms, ...odd, ...urls, `AccountKey=${MARKER}`, `sig=${MARKER};`)
        if (isIn('path'))
          for (const key of [...keys, ...files, btoa(files[1] ?? '')]) values.push(key, [1, key], [key, key])
        if (isIn('path')) values.push([...keys.map(key => [7, key])])
        if (isIn('url')) values.push(...urls, `AccountName=a;AccountKey=${MARKER}`)
        for (const value of values) betraysNothing(having({ [option]: value }))
      })

  for (const name of [...Object.keys(sections), 'Tags'].filter(section => section !== ''))
    it(`whose ${name} is no section shows nothing of it`, () => {
      const whole = ['StorageEncryption', 'Tags'].includes(name)
      for (const value of [
        MARKER,
        `{"SecretKey": "${MARKER}"`,
        `AccessKey: ${MARKER}`,
        ...wrapped({ SecretKey: MARKER }),
      ]) {
        betraysNothing(whole ? { AwsS3Storage: { ...bucket, [name]: value } } : { [name]: value })
        betraysNothing({ AwsS3Storage: bucket, [name]: value })
      }
    })

  it('that is cut off, or no JSON, shows nothing of it', () => {
    const text = JSON.stringify({ AwsS3Storage: bucket })
    for (let length = 0; length < text.length; length++)
      assert.throws(
        () => root.parseConfig(text.slice(0, length)),
        (error: Fault) => !error.describe().includes(MARKER.slice(0, 8)),
      )
  })

  it('with secrets anywhere in anything shows none of them where a secret belongs', () => {
    const secretOptions = Object.values(sections).flatMap(({ options, with: having }) =>
      options
        .filter(option => (HOLDS.secret as readonly string[]).includes(option))
        .map(option => ({ option, having })),
    )
    const value = fc.letrec(tie => ({
      any: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom<unknown>(MARKER, `${MARKER};`, `x=${MARKER}`, `https://${MARKER}`, `\u0000${MARKER}`),
        fc.array(tie('any'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom('a', 'SecretKey', '0'), tie('any'), { maxKeys: 3 }),
      ),
    })).any
    fc.assert(
      fc.property(fc.constantFrom(...secretOptions), value, ({ option, having }, given) =>
        betraysNothing(having({ [option]: given })),
      ),
      { numRuns: 1000 },
    )
  })
})

describe('the command line', () => {
  it('does not repeat a key that is given in place of its file', () => {
    const [base64 = '', , hex = ''] = keys
    for (const args of [[base64], [`1:${base64}`], [`1:${hex}`], [`1:${files[0]}`], undefined]) {
      const option = args ? ['--master-key', ...args] : [`--master-keys=1:${base64}`]
      const [node = '', ...words] = program
      const { status, stdout, stderr } = spawnSync(node, [...words, 'decrypt', ...option, 'in', 'out'], {
        encoding: 'utf8',
      })
      assert.equal(status, 2)
      assert.ok(![...forms, MARKER].some(form => `${stdout}${stderr}`.includes(form)), stderr)
      assert.match(stderr, /^orthanc-cloud-storage: [^\n]*--master-key[^\n]*\n$/)
    }
  })
})
