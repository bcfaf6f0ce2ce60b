/**
 * Configurations that the official plugin takes although something in them is wrong, or of no use; and what stands in a
 * wrong place.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  type AzureConfig,
  type EncryptionConfig,
  type EngineConfig,
  parseConfig,
  type S3Config,
} from '../src/config/config.ts'
import { loadKeyring } from '../src/config/key-file.ts'
import { Fault } from '../src/fault.ts'

const KEY = 'c2VjcmV0IGtleQ=='
const parse = (root: unknown) => parseConfig(JSON.stringify(root))
const s3 = (more: object) => ({ AwsS3Storage: { BucketName: 'b', Region: 'r', ...more } })
const azure = (more: object) => ({
  AzureBlobStorage: { ContainerName: 'images', ConnectionString: `AccountName=acct;AccountKey=${KEY}`, ...more },
})
const google = (more: object) => ({ GoogleCloudStorage: { BucketName: 'b', ...more } })
const provider = <T>(root: unknown) => parse(root).config?.provider as T
const warnings = (root: unknown) => parse(root).warnings.join('\n')

describe('the old section of Azure', () => {
  it('is ignored beside the new one, as by the official plugin', () => {
    const root = { ...azure({}), BlobStorage: { AccountName: 'acct', AccountKey: KEY, ContainerName: 'older' } }
    assert.equal(provider<AzureConfig>(root).container, 'images')
    assert.equal(warnings(root), 'the section "BlobStorage" is ignored: "AzureBlobStorage" is there')
  })
})

describe('encryption that is turned off', () => {
  const off = (more: object) => s3({ StorageEncryption: { Enable: false, ...more } })
  it('needs nothing of what an example had beside it', () => {
    for (const more of [
      { MasterKey: [] },
      { MasterKey: 'later' },
      { MasterKey: [1, '/k'], PreviousMasterKeys: [[1, '/k']] },
      { MaxConcurrentInputSize: 0 },
    ]) {
      assert.equal(parse(off(more)).config?.encryption, undefined)
      assert.match(warnings(off(more)), /StorageEncryption\..*As Enable is false, the rest of .* is ignored/)
    }
  })
  it('reads no key that is not there, and says what that means', () => {
    const said: string[] = []
    const { encryption } = parse(off({ MasterKey: [3, '/no/such/key'], PreviousMasterKeys: [[1, '/no/other']] }))
      .config as EngineConfig
    assert.deepEqual(loadKeyring(encryption as EncryptionConfig, line => said.push(line)).ids, [])
    assert.equal(said.length, 2)
    assert.match(said[0] ?? '', /MasterKey names \/no\/such\/key.*cannot be read$/)
  })
  it('shows no key that stands in place of its path', () => {
    const key = `${'A'.repeat(43)}=`
    assert.ok(!warnings(off({ MasterKey: [1, key] })).includes(key))
  })
})

describe('a place that is named twice', () => {
  it('the bucket in the path of the endpoint', () => {
    for (const VirtualAddressing of [true, false])
      assert.match(
        warnings(s3({ BucketName: 'scans', Endpoint: 'https://gw.host/s3/scans/', VirtualAddressing })),
        /^AwsS3Storage\.Endpoint has the bucket's name in it.*folder "scans\/".*still empty, write "https:\/\/gw\.host\/s3"/,
      )
    assert.equal(warnings(s3({ BucketName: 'scans', Endpoint: 'https://gw.host/other-scans' })), '')
  })
  it('the container in the BlobEndpoint', () => {
    const sas = 'SharedAccessSignature=sv=2022&sig=S3CR3T'
    const root = (path: string) =>
      azure({ ConnectionString: `BlobEndpoint=https://acct.blob.core.windows.net${path};${sas}` })
    assert.match(warnings(root('/images')), /ConnectionString has the container's name in its BlobEndpoint/)
    assert.ok(!warnings(root('/images/')).includes('S3CR3T'))
    assert.equal(warnings(root('/')), '')
  })
})

describe('a value beyond what is of use', () => {
  it('is taken, as far as it can be', () => {
    const { requestTimeoutMs, maxConnections, maxRetries } = provider<S3Config>(
      s3({ RequestTimeout: 1_000_000, MaxConnections: 5000, MaxRetries: 1000 }),
    )
    assert.deepEqual([requestTimeoutMs, maxConnections, maxRetries], [1_000_000_000, 5000, 1000])
    const parts = s3({ UseTransferManager: true, TransferPoolSize: 200, TransferBufferSize: 1 })
    assert.deepEqual(provider<S3Config>(parts).transfer, { concurrency: 200, partBytes: 5 * 1024 * 1024 })
  })
})

describe('what stands in a wrong place', () => {
  const refused = (root: unknown, line: RegExp) =>
    assert.throws(
      () => parse(root),
      (error: unknown) => {
        assert.ok(error instanceof Fault && error.code === 'BadConfig', String(error))
        assert.match(error.message, line)
        assert.ok(!error.message.includes('S3CR3T'), error.message)
        return true
      },
    )
  it('is not shown when it is a secret', () => {
    const url = 'https://acct.blob.core.windows.net'
    for (const AccountUrl of [`${url}/%3Fsv=2022&sig=S3CR3T`, `${url}/&SIG=S3CR3T`, `ftp://h/%3fsig=S3CR3T`])
      refused(azure({ ConnectionString: '', AccountUrl }), /AccountUrl is /)
    refused(azure({ ContainerName: 'AccountName=a;AccountKey=S3CR3T' }), /ContainerName is /)
    refused(azure({ ContainerName: 'BlobEndpoint=x;SharedAccessSignature=S3CR3T' }), /ContainerName is /)
    const file = { type: 'service_account', private_key: 'S3CR3T' }
    refused(google({ ServiceAccountFile: file }), /ServiceAccountFile is a secret/)
    refused(google({ ServiceAccountFile: JSON.stringify(file) }), /ServiceAccountFile holds a key.*path/)
  })
  it('is told, with the option where it belongs', () => {
    for (const root of [s3({ BucketName: 's3://scans' }), google({ BucketName: 'gs://scans/' })])
      refused(root, /BucketName is "..?:\/\/scans.*alone, "scans"/)
    for (const section of [s3, google])
      refused(section({ BucketName: 'scans/images' }), /"scans".*"images" belongs in RootPath/)
  })
})
