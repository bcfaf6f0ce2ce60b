/** The sections of Azure and Google; what all sections share is in config.test.ts. */
import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { describe, it } from 'node:test'
import { type AzureConfig, type GcsConfig, parseConfig } from '../src/config/config.ts'
import { Fault } from '../src/fault.ts'
import { fc } from './support/property.ts'

const parse = (root: unknown) => parseConfig(JSON.stringify(root))
const KEY = 'c2VjcmV0IGtleQ=='
const STRING = `DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=${KEY};EndpointSuffix=core.windows.net`
const azure = (more: object) => ({ AzureBlobStorage: { ContainerName: 'images', ConnectionString: STRING, ...more } })
const google = (more: object) => ({ GoogleCloudStorage: { BucketName: 'b', ...more } })
const azureOf = (more: object) => parse(azure(more)).config?.provider as AzureConfig
const gcsOf = (more: object) => parse(google(more)).config?.provider as GcsConfig

const limits = { connectTimeoutMs: 30_000, requestTimeoutMs: 1_200_000, maxConnections: 25, maxRetries: 10 }
const endpoint = 'https://acct.blob.core.windows.net'
const key = { kind: 'key', account: 'acct', key: KEY }

describe('AzureBlobStorage', () => {
  it('has the defaults of docs/configuration.md', () =>
    assert.deepEqual(azureOf({}), {
      kind: 'azure',
      account: 'acct',
      endpoint,
      credentials: key,
      container: 'images',
      createContainer: true,
      accessTier: undefined,
      ...limits,
    }))

  const fields: [object, Partial<AzureConfig>][] = [
    [
      { ContainerName: ' images ', ConnectionString: `\n ${STRING} ` },
      { container: 'images', account: 'acct' },
    ],
    [{ CreateContainerIfNotExists: 'false' }, { createContainer: false }],
    [{ AccessTier: 'Cold' }, { accessTier: 'Cold' }],
    [{ AccessTier: '' }, { accessTier: undefined }],
    [
      { ConnectionTimeout: 5, RequestTimeout: '60', MaxConnections: 100, MaxRetries: 0 },
      { connectTimeoutMs: 5000, requestTimeoutMs: 60_000, maxConnections: 100, maxRetries: 0 },
    ],
    [
      { ConnectionString: '', AccountUrl: 'acct.blob.core.windows.net' },
      { account: 'acct', endpoint, credentials: { kind: 'chain' } },
    ],
  ]
  for (const [options, expected] of fields)
    it(`takes ${JSON.stringify(options)}`, () => {
      const provider = azureOf(options)
      for (const [name, value] of Object.entries(expected)) assert.deepEqual(provider[name as keyof AzureConfig], value)
    })
})

describe('a token over plain http', () => {
  const refused = (root: object, line: RegExp) =>
    assert.throws(
      () => parse(root),
      (fault: unknown) => fault instanceof Fault && fault.code === 'BadConfig' && line.test(fault.describe()),
    )
  const SAS = 'sv=1&sig=SECRET'

  it('is refused, by the name of the option', () => {
    refused(
      azure({ ConnectionString: '', AccountUrl: 'http://azure.hospital.example/acct' }),
      /AzureBlobStorage\.AccountUrl/,
    )
    const file = '/etc/google.json'
    refused(google({ ServiceAccountFile: file, Endpoint: 'http://gcs:4443' }), /GoogleCloudStorage\.Endpoint/)
    refused(google({ ServiceAccountFile: file, Endpoint: 'http://127.0.0.1.example' }), /GoogleCloudStorage\.Endpoint/)
  })

  it('may go to this machine, and an emulator elsewhere is sent none', () => {
    for (const host of ['127.0.0.1:10000', 'localhost:10000', '[::1]:10000'])
      assert.ok(azureOf({ ConnectionString: '', AccountUrl: `http://${host}/acct` }))
    assert.ok(gcsOf({ ServiceAccountFile: '/etc/google.json', Endpoint: 'http://127.0.0.1:4443' }))
    assert.ok(gcsOf({ Endpoint: 'http://fake-gcs:4443' }))
    assert.ok(azureOf({ ConnectionString: `BlobEndpoint=http://azurite:1/acct;AccountName=acct;AccountKey=${KEY}` }))
  })

  it('is a WARNING when it is a shared access signature', () => {
    const given = (host: string) =>
      parse(azure({ ConnectionString: `BlobEndpoint=http://${host}/acct;SharedAccessSignature=${SAS}` })).warnings
    assert.deepEqual(given('127.0.0.1:1'), [])
    assert.match(given('azurite:1').join(), /ConnectionString sends its signature unencrypted/)
    assert.ok(!given('azurite:1').join().includes('SECRET'))
  })
})

describe('a connection string', () => {
  const emulator = 'http://127.0.0.1:10000/devstoreaccount1'
  const sas = 'sv=2021-12-02&ss=b&sig=a%2Bb%3D'
  const strings: [string, string, string, string][] = [
    ['an account key', STRING, 'acct', endpoint],
    [
      'another cloud',
      `AccountName=acct;AccountKey=${KEY};EndpointSuffix=core.chinacloudapi.cn`,
      'acct',
      'https://acct.blob.core.chinacloudapi.cn',
    ],
    ['names in lower case', `accountname=acct;accountkey=${KEY}`, 'acct', endpoint],
    [
      'a private endpoint',
      `AccountName=acct;AccountKey=${KEY};BlobEndpoint=https://blob.hospital.example/`,
      'acct',
      'https://blob.hospital.example/',
    ],
    ['a shared access signature', `BlobEndpoint=${endpoint}/;SharedAccessSignature=?${sas}`, 'acct', `${endpoint}/`],
    ['a SAS and a name', `AccountName=acct;SharedAccessSignature=${sas}`, 'acct', endpoint],
    ['the emulator', 'UseDevelopmentStorage=true', 'devstoreaccount1', emulator],
    ['the emulator, as people write it', 'UseDevelopmentStorage=True;', 'devstoreaccount1', emulator],
    [
      'the emulator elsewhere',
      'UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://azurite',
      'devstoreaccount1',
      'http://azurite:10000/devstoreaccount1',
    ],
    [
      'an emulator in full',
      `AccountName=x1;AccountKey=${KEY};BlobEndpoint=http://azurite:10000/x1`,
      'x1',
      'http://azurite:10000/x1',
    ],
  ]
  for (const [what, ConnectionString, account, url] of strings)
    it(`with ${what}`, () => {
      const provider = azureOf({ ConnectionString })
      assert.deepEqual([provider.account, provider.endpoint], [account, url])
      if (what.includes('SAS') || what.includes('signature'))
        assert.deepEqual(provider.credentials, { kind: 'sas', sas })
    })

  for (const [what, ConnectionString, line] of [
    ['no pairs', 'hello', /not a connection string/],
    ['no key', 'AccountName=acct', /neither AccountKey nor SharedAccessSignature/],
    ['no account', `AccountKey=${KEY}`, /neither AccountName nor a BlobEndpoint/],
    ['a key that is cut off', 'AccountName=acct;AccountKey=c2VjcmV0IGtleQ=', /not base64/],
    [
      'an endpoint that is no URL',
      `AccountName=acct;AccountKey=${KEY};BlobEndpoint=acct`,
      /BlobEndpoint that is a URL/,
    ],
  ] as const)
    it(`with ${what} is refused without showing it`, () =>
      assert.throws(
        () => azureOf({ ConnectionString }),
        (error: unknown) => {
          assert.ok(error instanceof Fault && error.code === 'BadConfig')
          assert.match(error.message, line)
          assert.match(error.message, /^AzureBlobStorage\.ConnectionString /)
          return !error.message.includes('c2Vj')
        },
      ))

  it('never shows a part of itself, whatever it is', () =>
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 80 }), text => {
        const marked = text.replaceAll('=', '=S3CR3T')
        try {
          azureOf({ ConnectionString: marked })
        } catch (error) {
          assert.ok(error instanceof Fault && !error.describe().includes('S3CR3T'), String(error))
        }
      }),
      { numRuns: 500 },
    ))
})

describe('BlobStorage', () => {
  const old = { BlobStorage: { AccountName: 'acct', AccountKey: KEY, ContainerName: 'images' } }
  it('is still taken, with a warning', () => {
    const { config, warnings } = parse(old)
    assert.deepEqual(config?.provider, { ...azureOf({}) })
    assert.match(warnings.join(), /"BlobStorage" is deprecated: use "AzureBlobStorage"/)
  })
  it('has its required options named', () =>
    assert.throws(() => parse({ BlobStorage: { ...old.BlobStorage, AccountKey: '' } }), /BlobStorage\.AccountKey is/))
})

describe('GoogleCloudStorage', () => {
  it('has the defaults of docs/configuration.md', () =>
    assert.deepEqual(gcsOf({}), {
      kind: 'gcs',
      bucket: 'b',
      serviceAccountFile: undefined,
      endpoint: undefined,
      storageClass: undefined,
      ...limits,
    }))

  const fields: [object, Partial<GcsConfig>][] = [
    [{ ServiceAccountFile: '/etc/orthanc/google.json' }, { serviceAccountFile: '/etc/orthanc/google.json' }],
    [{ ServiceAccountFile: 'google.json' }, { serviceAccountFile: resolve('google.json') }],
    [{ ServiceAccountFile: '' }, { serviceAccountFile: undefined }],
    [{ Endpoint: 'http://localhost:4443' }, { endpoint: 'http://localhost:4443' }],
    [{ Endpoint: 'storage.example' }, { endpoint: 'https://storage.example' }],
    [{ StorageClass: 'nearline' }, { storageClass: 'NEARLINE' }],
    [{ MaxConnections: 3 }, { maxConnections: 3 }],
  ]
  for (const [options, expected] of fields)
    it(`takes ${JSON.stringify(options)}`, () => {
      const provider = gcsOf(options)
      for (const [name, value] of Object.entries(expected)) assert.deepEqual(provider[name as keyof GcsConfig], value)
    })
})

describe('a refusal is one line that names the option', () => {
  const cases: [string, unknown, RegExp][] = [
    [
      'Azure without credentials',
      azure({ ConnectionString: undefined }),
      /^AzureBlobStorage\.ConnectionString is missing; .*AccountUrl/,
    ],
    ['Azure with two', azure({ AccountUrl: endpoint }), /both ConnectionString and AccountUrl/],
    ['no container', azure({ ContainerName: '' }), /^AzureBlobStorage\.ContainerName/],
    [
      'an impossible container',
      azure({ ContainerName: 'Images_1' }),
      /"Images_1", but must be a container's name: 3 to 63/,
    ],
    [
      'a misspelt tier',
      azure({ AccessTier: 'Cooll' }),
      /AccessTier is "Cooll", but must be .*"Hot" or "Cool" or.*did you mean Cool\?$/,
    ],
    ['no bucket', { GoogleCloudStorage: {} }, /^GoogleCloudStorage\.BucketName is missing/],
    ['a bad endpoint', google({ Endpoint: 'ftp://x' }), /^GoogleCloudStorage\.Endpoint/],
    ['two clouds', { ...azure({}), ...google({}) }, /AzureBlobStorage and GoogleCloudStorage are both there/],
  ]
  for (const [what, root, line] of cases)
    it(what, () =>
      assert.throws(
        () => parse(root),
        (error: unknown) => {
          assert.ok(error instanceof Fault && error.code === 'BadConfig', String(error))
          assert.match(error.message, line)
          assert.ok(!error.message.includes('\n') && !error.message.includes(KEY))
          return true
        },
      ),
    )
})
