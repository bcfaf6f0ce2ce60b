/** No key and no RootPath leads anywhere else than it says: out of a folder, or into another bucket. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob'
import type { ContentType } from '../src/area/area.ts'
import { keysOf } from '../src/area/naming.ts'
import { collect } from '../src/bytes.ts'
import { parseConfig } from '../src/config/config.ts'
import { Fault } from '../src/fault.ts'
import { sealedNames } from '../src/rotate/names.ts'
import { directoryStore } from '../src/stores/directory/directory.ts'
import type { Store } from '../src/stores/store.ts'
import { type Cloud, type Provider, providers, startCloud } from './support/clouds.ts'
import { fc } from './support/property.ts'
import { chunked, never, noise } from './support/store.suite.ts'

const UUID = '0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0'
const odd = [
  ...[
    '',
    '.',
    '..',
    '...',
    ' ',
    '..%2f',
    '%2e%2e',
    '%2F',
    '%00',
    '?',
    '#',
    '&',
    '+',
    ';',
    '\\',
    '..\\',
    ':',
    '*',
    '~',
    "'",
  ],
  ...[
    '\0',
    '\n',
    '\r',
    '\ud800',
    'é',
    'e\u0301',
    'ÿ',
    '\u202e',
    '😀',
    'CON',
    '.x.tmp',
    '.orthanc-cloud-storage',
    '@',
    '//',
  ],
  ...['bucket', 'images', 'outside', 'acct', '?restype=container', '$root', 'a'.repeat(300), 'o', 'b', UUID],
]
const segment = fc.oneof(
  fc.constantFrom(...odd),
  fc.string({ unit: 'binary', maxLength: 8 }),
  fc.string({ maxLength: 8 }),
)
const path = fc.array(segment, { maxLength: 5 }).map(parts => parts.join('/'))

async function refusal(work: Promise<unknown>): Promise<Fault | undefined> {
  const error = await work.then(
    () => undefined,
    (cause: unknown) => cause,
  )
  assert.ok(error === undefined || error instanceof Fault, String(error))
  assert.notEqual(error?.code, 'Internal', error?.describe())
  return error
}

describe('a name of a file', () => {
  const types: ContentType[] = ['dicom', 'unknown', 'dicom-as-json', 'dicom-until-pixel-data']
  it('that is no UUID is refused, whatever the structure', () =>
    fc.assert(
      fc.property(
        path,
        fc.constantFrom(...types),
        fc.constantFrom('flat' as const, 'legacy' as const),
        (uuid, type, structure) => {
          fc.pre(uuid !== UUID)
          const naming = { rootPath: 'x', structure, legacyUnknownFiles: true }
          for (const smuggled of [uuid, `${UUID}/${uuid}`, `${UUID}${uuid}x`, `${uuid}/${UUID}`, `${UUID}\n`])
            assert.throws(() => keysOf(naming, '.enc', { uuid: smuggled, type }), { code: 'BadRequest' })
        },
      ),
    ))

  it('that is found in a store is rewritten by a rotation only where RootPath is', () =>
    fc.assert(
      fc.property(path, path, fc.constantFrom('flat' as const, 'legacy' as const), (before, between, structure) => {
        const { mayBeSealed } = sealedNames({ rootPath: 'root', structure, legacyUnknownFiles: false })
        const name = structure === 'flat' ? `${UUID}.dcm.enc` : `0f/1e/${UUID}`
        assert.ok(mayBeSealed(`root/${name}`))
        if (before !== 'root') assert.ok(!mayBeSealed(`${before}/${name}`))
        if (between !== '') assert.ok(!mayBeSealed(`root/${between}/${name}`))
      }),
    ))
})

describe('a folder', () => {
  let folder: string
  let store: Store
  const outside = () =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter(name => !name.startsWith('objects/'))
      .sort()
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'ocs-keys-'))
    mkdirSync(join(folder, 'outside'))
    for (const name of ['bait', 'outside/bait', 'objects-bait']) writeFileSync(join(folder, name), 'bait')
    store = directoryStore(join(folder, 'objects'))
    mkdirSync(join(folder, 'objects'))
  })
  after(async () => {
    await store.close()
    rmSync(folder, { recursive: true, force: true })
  })

  it('is not left by any key or prefix', async () => {
    await store.check(never)
    const inside = outside()
    const up = fc.constantFrom('../bait', '../outside/bait', '/../bait', 'x/../../bait', '../objects-bait', './../bait')
    await fc.assert(
      fc.asyncProperty(fc.oneof(path, up), async key => {
        const written = await refusal(store.put(key, chunked(noise(10)), never))
        const read = await refusal(store.get(key, undefined, never).then(content => collect(content)))
        if (written === undefined) {
          assert.equal(read, undefined)
          const listed: string[] = []
          for await (const { key: found } of store.list(key, never)) listed.push(found)
          assert.ok(listed.includes(key), JSON.stringify([key, listed]))
        } else assert.notEqual(read, undefined)
        for await (const { key: found } of store.list(key, never)) assert.ok(!found.includes('bait'))
        const removed = await refusal(store.remove(key, never))
        assert.equal(removed?.code === 'BadRequest', written?.code === 'BadRequest')
        assert.deepEqual(outside(), inside)
      }),
      { numRuns: 300 },
    )
    for (const name of ['bait', 'outside/bait', 'objects-bait'])
      assert.equal(readFileSync(join(folder, name), 'utf8'), 'bait')
  })
})

describe('a RootPath', () => {
  const sections: Readonly<Record<string, object>> = {
    AwsS3Storage: { BucketName: 'b', Region: 'r' },
    AzureBlobStorage: { ContainerName: 'images', ConnectionString: 'AccountName=a;AccountKey=a2V5' },
    GoogleCloudStorage: { BucketName: 'b' },
    DirectoryStorage: { Path: '/d' },
  }
  for (const [name, section] of Object.entries(sections))
    it(`of ${name} is refused, or has nothing in it that leads elsewhere`, () =>
      fc.assert(
        fc.property(path, RootPath => {
          let rootPath = ''
          try {
            rootPath = parseConfig(JSON.stringify({ [name]: { ...section, RootPath } })).config?.naming.rootPath ?? ''
          } catch (error) {
            assert.ok(error instanceof Fault && error.code === 'BadConfig', String(error))
            return
          }
          assert.ok(rootPath.isWellFormed() && !rootPath.startsWith('/'))
          assert.ok(!rootPath.split('/').includes('..') && !rootPath.includes('\0'))
          if (name !== 'GoogleCloudStorage') assert.ok(!rootPath.split('/').includes('.'))
        }),
        { numRuns: 500 },
      ))
})

/** What must come before the key in the path of any request about an object. */
const places: Readonly<Record<Provider, string>> = {
  s3: '/bucket/',
  azure: '/acct/images/',
  gcs: '/storage/v1/b/images/o/',
}

for (const provider of providers)
  describe(`a request to ${provider}`, () => {
    let cloud: Cloud
    let paths: string[] = []
    before(async () => {
      cloud = await startCloud(provider, { maxRetries: 0 })
      cloud.meddle = ({ line }) => {
        paths.push(line.split(' ')[1] ?? '')
        return false
      }
    })
    after(() => cloud.close())

    it('is about the key that was meant, or is not sent', () =>
      fc.assert(
        fc.asyncProperty(path, async key => {
          paths = []
          const verbs = [() => cloud.store.stat(key, never), () => cloud.store.remove(key, never)]
          for (const call of verbs) {
            const fault = await refusal(call())
            const resolved = key.split('/').some(part => part === '.' || part === '..') && provider !== 'gcs'
            const impossible = key === '' || key === '.' || key === '..' || !key.isWellFormed()
            assert.equal(fault?.code === 'BadRequest', resolved || impossible, JSON.stringify([key, fault?.describe()]))
          }
          for (const sent of paths) {
            const [raw = ''] = sent.split('?')
            assert.match(raw, /^[A-Za-z0-9._~%/-]*$/)
            assert.ok(raw.startsWith(places[provider]), raw)
            assert.equal(decodeURIComponent(raw.slice(places[provider].length)), key)
            // What parsers of URLs make of it is the same.
            assert.equal(new URL(`http://host${raw}`).pathname, raw)
          }
        }),
        { numRuns: 300 },
      ))
  })

describe("the vendors' own libraries", () => {
  const names = odd.filter(part => !['', '.', '..'].includes(part) && part.isWellFormed() && !part.includes('//'))
  const keys = names.map(name => `root/${name}/${name}x`)

  async function compare(provider: 's3' | 'azure', ask: (endpoint: string, key: string) => Promise<unknown>) {
    const cloud = await startCloud(provider, { maxRetries: 0 })
    let seen = ''
    cloud.meddle = ({ line }) => {
      ;[, seen = ''] = line.split(' ')
      return false
    }
    try {
      for (const key of keys) {
        await ask(cloud.endpoint, key).catch(() => {}) // it is absent
        const theirs = decodeURIComponent(seen.split('?')[0] ?? '')
        await cloud.store.get(key, undefined, never).catch(() => {})
        assert.equal(decodeURIComponent(seen.split('?')[0] ?? ''), theirs, key)
      }
    } finally {
      await cloud.close()
    }
  }

  it('of AWS names the same objects in its requests', async () => {
    const credentials = { accessKeyId: 'a', secretAccessKey: 's' }
    await compare('s3', async (endpoint, Key) => {
      const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials, maxAttempts: 1 })
      await client.send(new GetObjectCommand({ Bucket: 'bucket', Key })).finally(() => client.destroy())
    })
  })

  it('of Azure names the same objects in its requests', () => {
    const key = new StorageSharedKeyCredential('acct', 'a2V5')
    return compare('azure', async (endpoint, name) => {
      const service = new BlobServiceClient(`${endpoint}/acct`, key, { retryOptions: { maxTries: 1 } })
      await service.getContainerClient('images').getBlobClient(name).download()
    })
  })
})
