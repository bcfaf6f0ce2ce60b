/** What listings, and answers about one object, tell of its storage class. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { sourceOf } from '../src/bytes.ts'
import { type Provider, startCloud } from './support/clouds.ts'
import { never } from './support/store.suite.ts'

/** A listing of one object, as the provider writes it. */
const listings: Readonly<Record<Provider, (said: string) => string>> = {
  s3: said =>
    `<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>k</Key><Size>9</Size>${said}</Contents></ListBucketResult>`,
  azure: said =>
    `<EnumerationResults><Blobs><Blob><Name>k</Name><Properties><Content-Length>9</Content-Length>${said}</Properties></Blob></Blobs><NextMarker /></EnumerationResults>`,
  gcs: said => `{"kind": "storage#objects", "items": [{"name": "k", "size": "9"${said}}]}`,
}

describe('the storage class of an object', () => {
  const cases: readonly [Provider, string, string | undefined][] = [
    ['s3', '<StorageClass>DEEP_ARCHIVE</StorageClass>', 'DEEP_ARCHIVE'],
    ['s3', '<StorageClass>123</StorageClass>', '123'],
    ['s3', '<StorageClass/>', undefined],
    ['s3', '<StorageClass><Odd>x</Odd></StorageClass>', undefined],
    ['s3', `<StorageClass>${'x'.repeat(65)}</StorageClass>`, undefined],
    ['s3', '<StorageClass>two\nlines</StorageClass>', undefined],
    ['s3', '', undefined],
    ['azure', '<AccessTier>Cool</AccessTier><AccessTierInferred>true</AccessTierInferred>', 'Cool'],
    ['azure', '<AccessTier />', undefined],
    ['azure', '', undefined],
    ['gcs', ', "storageClass": "COLDLINE"', 'COLDLINE'],
    ['gcs', ', "storageClass": 7', undefined],
    ['gcs', '', undefined],
  ]
  for (const [provider, said, storageClass] of cases)
    it(`${provider} lists ${said.slice(0, 50) || 'nothing of it'}`, async () => {
      const cloud = await startCloud(provider)
      cloud.meddle = (_request, response) => {
        response.writeHead(200, { 'x-amz-request-id': 'R', 'x-ms-request-id': 'R', 'x-guploader-uploadid': 'R' })
        response.end(listings[provider](said))
        return true
      }
      const found = []
      for await (const stat of cloud.store.list('', never)) found.push(stat.storageClass)
      assert.deepEqual(found, [storageClass])
      await cloud.close()
    })

  it('gcs is asked for it', async () => {
    const cloud = await startCloud('gcs')
    for await (const _ of cloud.store.list('', never));
    await cloud.store.stat('k', never)
    for (const { url } of cloud.seen) assert.match(url.searchParams.get('fields') ?? '', /storageClass/)
    await cloud.close()
  })

  for (const [provider, header] of [
    ['s3', 'x-amz-storage-class'],
    ['azure', 'x-ms-access-tier'],
  ] as const)
    it(`${provider} tells it of one object in ${header}`, async () => {
      const cloud = await startCloud(provider)
      await cloud.store.put('k', sourceOf(Buffer.from('x')), never)
      cloud.meddle = ({ method }, response, done) => {
        if (method === 'HEAD' && !done) response.setHeader(header, 'Cold')
        return false
      }
      assert.equal((await cloud.store.stat('k', never))?.storageClass, 'Cold')
      await cloud.close()
    })
})
