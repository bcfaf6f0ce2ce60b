/** What is said at start about options of Orthanc's that hold its storage up. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseConfig } from '../src/config/config.ts'

const s3 = { AwsS3Storage: { BucketName: 'b', Region: 'r' } }
const clouds = {
  S3: s3,
  Azure: { AzureBlobStorage: { AccountUrl: 'https://acct.blob.core.windows.net', ContainerName: 'images' } },
  Google: { GoogleCloudStorage: { BucketName: 'b' } },
}
const directory = { DirectoryStorage: { Path: '/d' } }
const withMode = (HybridMode: string, more: object = {}) => ({
  AwsS3Storage: { ...s3.AwsS3Storage, HybridMode },
  StorageDirectory: '/disk',
  ...more,
})

const warningsOf = (root: object, version = '1.13.0') =>
  parseConfig(JSON.stringify(root), '/etc/orthanc', version).warnings
/** What the one line says to set. */
function adviceOf(root: object, version?: string): unknown {
  const warnings = warningsOf(root, version)
  assert.ok(warnings.length <= 1, warnings.join('\n'))
  const [, json] = /: (\{.*\})$/.exec(warnings[0] ?? '') ?? []
  assert.equal(json === undefined, warnings.length === 0)
  return json && JSON.parse(json)
}
const good = { StorageLoaderThreadsCount: 16 }

describe('StorageLoaderThreadsCount', () => {
  for (const [name, cloud] of Object.entries(clouds)) {
    it(`should be 16 with ${name}, if Orthanc has it`, () => {
      assert.deepEqual(adviceOf(cloud), { StorageLoaderThreadsCount: 16 })
      assert.deepEqual(adviceOf({ ...cloud, StorageLoaderThreadsCount: 15 }), { StorageLoaderThreadsCount: 16 })
      for (const StorageLoaderThreadsCount of [16, 17, 100])
        assert.equal(adviceOf({ ...cloud, StorageLoaderThreadsCount }), undefined)
    })
  }

  for (const version of ['1.13.0', '1.13.4', '1.20.0', '2.0.0', 'mainline'])
    it(`is advised to ${version}`, () => assert.deepEqual(adviceOf(s3, version), { StorageLoaderThreadsCount: 16 }))
  for (const version of ['1.9.7', '1.10.1', '1.12.10', '', '1', 'x'])
    it(`is not to "${version}"`, () => assert.equal(adviceOf(s3, version), undefined))
  it('is not where the version is not known', () =>
    assert.deepEqual(parseConfig(JSON.stringify(s3), '/etc/orthanc').warnings, []))

  it('need not be more than MaxConnections', () => {
    const few = (MaxConnections: number) => ({ AwsS3Storage: { ...s3.AwsS3Storage, MaxConnections } })
    assert.deepEqual(adviceOf(few(8)), { StorageLoaderThreadsCount: 8 })
    for (const connections of [1, 4]) assert.equal(adviceOf(few(connections)), undefined)
  })
})

describe('other options of Orthanc', () => {
  it('MaximumStorageCacheSize should not be 0', () => {
    assert.deepEqual(adviceOf({ ...s3, ...good, MaximumStorageCacheSize: 0 }), { MaximumStorageCacheSize: 128 })
    for (const MaximumStorageCacheSize of [1, 128, 4000])
      assert.equal(adviceOf({ ...s3, ...good, MaximumStorageCacheSize }), undefined)
  })

  it('HttpThreadsCount should not be below 20', () => {
    assert.deepEqual(adviceOf({ ...s3, ...good, HttpThreadsCount: 19 }), { HttpThreadsCount: 50 })
    assert.equal(adviceOf({ ...s3, ...good, HttpThreadsCount: 20 }), undefined)
  })

  for (const mode of ['WriteToFileSystem', 'WriteToObjectStorage'])
    it(`SaveJobs should be true with ${mode}`, () => {
      const hybrid = withMode(mode, good)
      assert.deepEqual(adviceOf({ ...hybrid, SaveJobs: false }), { SaveJobs: true })
      for (const more of [{}, { SaveJobs: true }]) assert.equal(adviceOf({ ...hybrid, ...more }), undefined)
    })

  it('SaveJobs may be false where nothing moves', () => {
    assert.equal(adviceOf({ ...s3, ...good, SaveJobs: false }), undefined)
    assert.equal(adviceOf({ ...withMode('WriteToFileSystem', good), SaveJobs: false, ReadOnly: true }), undefined)
  })

  for (const index of ['PostgreSQL', 'MySQL', 'Odbc'])
    it(`SaveJobs may be false with an index in ${index}, which several Orthancs may share`, () => {
      const off = withMode('WriteToFileSystem', { ...good, SaveJobs: false })
      assert.equal(adviceOf({ ...off, [index]: { EnableIndex: true } }), undefined)
      for (const section of [{}, { EnableIndex: false }, null, 'x'])
        assert.deepEqual(adviceOf({ ...off, [index]: section }), { SaveJobs: true })
    })
})

it('a directory is fast enough for all of them', () => {
  const slow = { MaximumStorageCacheSize: 0, HttpThreadsCount: 1, SaveJobs: false }
  assert.equal(adviceOf({ ...directory, ...slow }), undefined)
  const hybrid = { DirectoryStorage: { Path: '/d', HybridMode: 'WriteToFileSystem' }, StorageDirectory: '/disk' }
  assert.deepEqual(adviceOf({ ...hybrid, ...slow }), { SaveJobs: true })
})

it('one line says all of it', () => {
  const slow = { StorageLoaderThreadsCount: 2, MaximumStorageCacheSize: 0, HttpThreadsCount: 10, SaveJobs: false }
  assert.deepEqual(warningsOf(withMode('WriteToObjectStorage', slow)), [
    'Orthanc does less with its files than it could: it reads no more than 2 at a time; ' +
      'it keeps none in memory and fetches each one every time; ' +
      'it answers no more than 10 requests at a time, and each waits for the store; ' +
      'its restart drops the moves under way. Set in its configuration: {"StorageLoaderThreadsCount": 16, ' +
      '"MaximumStorageCacheSize": 128, "HttpThreadsCount": 50, "SaveJobs": true}',
  ])
})

it('what Orthanc does not take is not judged', () => {
  for (const wrong of ['4', -1, true, [], {}, null])
    assert.equal(adviceOf({ ...s3, ...good, MaximumStorageCacheSize: wrong, HttpThreadsCount: wrong }), undefined)
})
