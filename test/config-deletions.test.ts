import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseConfig } from '../src/config/config.ts'
import { identityOf } from '../src/config/identity.ts'

const s3 = { AwsS3Storage: { BucketName: 'b', Region: 'r' } }
const parse = (root: object, folder?: string) => parseConfig(JSON.stringify(root), folder, '1.13.0').config
const deletions = (DeferredDeletion: unknown, more: object = {}, folder = '/etc/orthanc') =>
  parse({ ...s3, ...more, CloudStorage: { DeferredDeletion } }, folder)?.deletions

describe('DeferredDeletion', () => {
  it('is off by default, and knows where a journal may have been left', () => {
    const off = { enabled: false, folder: '/etc/orthanc/OrthancStorage/cloud-storage-deletions', makeAbove: true }
    assert.deepEqual(parse(s3, '/etc/orthanc')?.deletions, off)
    assert.equal(parse(s3)?.deletions, undefined)
  })

  for (const yes of [true, 'true', 1, 'True'])
    it(`is on with ${JSON.stringify(yes)}, below StorageDirectory`, () => {
      const folder = '/var/lib/orthanc/db/cloud-storage-deletions'
      const on = { enabled: true, folder, makeAbove: true }
      assert.deepEqual(deletions(yes, { StorageDirectory: '/var/lib/orthanc/db' }), on)
      assert.equal(deletions(yes, { StorageDirectory: 'db' }, '/var/lib/orthanc')?.folder, folder)
    })

  it('lies where Path says, from where Orthanc takes relative paths', () => {
    assert.deepEqual(deletions({ Path: '/data/d' }), { enabled: true, folder: '/data/d', makeAbove: false })
    assert.equal(deletions({ Path: 'd' })?.folder, '/etc/orthanc/d')
  })

  it('refuses what is neither', () => {
    const refused = (given: unknown, message: RegExp, more: object = {}, folder?: string) =>
      assert.throws(() => parse({ ...s3, ...more, CloudStorage: { DeferredDeletion: given } }, folder), {
        code: 'BadConfig',
        message,
      })
    for (const given of ['yes', 7, [], {}, { Pth: '/x' }, { Path: '/x', More: 1 }])
      refused(given, /^CloudStorage\.DeferredDeletion/, {}, '/etc/orthanc')
    refused(true, /^StorageDirectory must be an absolute path for CloudStorage\.DeferredDeletion/)
    refused({ Path: 'd' }, /^CloudStorage\.DeferredDeletion\.Path is "d", but must be an absolute path/)
  })

  it('refuses a Path among the files', () => {
    const inside = (Path: string) =>
      parse(
        {
          DirectoryStorage: { Path: '/objects' },
          StorageDirectory: '/db',
          CloudStorage: { DeferredDeletion: { Path } },
        },
        '/etc/orthanc',
      )
    for (const path of ['/objects', '/objects/d', '/objects/../objects/d', '/db', '/db/ab/cd'])
      assert.throws(
        () => inside(path),
        { message: /must not be inside (DirectoryStorage\.Path|StorageDirectory)/ },
        path,
      )
    for (const path of ['/d', '/objects-d', '/db/cloud-storage-deletions'])
      assert.equal(inside(path)?.deletions?.folder, path)
  })
})

describe('what tells a store from others', () => {
  const of = (root: object) => {
    const config = parse(root)
    assert.ok(config)
    return identityOf(config)
  }

  it('names provider, place and bucket, and no secret', () => {
    assert.equal(of(s3), 's3 aws r b')
    const keys = { AccessKey: 'AK', SecretKey: 'SK' }
    const own = { AwsS3Storage: { ...s3.AwsS3Storage, ...keys, Endpoint: 'https://s3.example:9000/x/' } }
    assert.equal(of(own), 's3 https://s3.example:9000/x b')
    assert.equal(of({ GoogleCloudStorage: { BucketName: 'b' } }), 'google google b')
    assert.equal(of({ DirectoryStorage: { Path: '/objects/' } }), 'directory /objects')
    const sas = 'BlobEndpoint=https://acct.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=SECRET'
    const azure = of({ AzureBlobStorage: { ConnectionString: sas, ContainerName: 'images' } })
    assert.equal(azure, 'azure https://acct.blob.core.windows.net images')
  })
})
