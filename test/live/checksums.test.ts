/**
 * CRC-32 on real S3 servers: MinIO verifies it, Ceph 16 ignores it. What is written is what AWS's SDK reads, with and
 * without object lock.
 */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'
import {
  CreateBucketCommand,
  GetObjectCommand,
  GetObjectRetentionCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectLockConfigurationCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { collect } from '../../src/bytes.ts'
import { digestOf } from '../../src/stores/digest.ts'
import { type S3Options, s3Store } from '../../src/stores/s3/s3.ts'
import { s3Options } from '../support/s3-options.ts'
import { chunked, describeStore, never, noise } from '../support/store.suite.ts'
import { undo } from '../support/undo.ts'
import { liveServer } from './support/servers.ts'

const MB = 1024 * 1024
const transfer = { concurrency: 4, partBytes: 5 * MB }
const SIZES = { nothing: 0, small: 1000, large: 3 * MB + 5 }

for (const [name, verifies] of [
  ['minio', true],
  ['ceph', false],
] as const) {
  const server = liveServer(name)
  if (!server) {
    it(`needs ${name}`, { skip: 'there is none' })
    continue
  }
  const credentials = { accessKeyId: server.accessKey, secretAccessKey: server.secretKey }
  const { endpoint, region } = server
  const sdk = new S3Client({ endpoint, region, credentials, forcePathStyle: true })

  /** A store after the check at Orthanc's start, which leaves nothing. */
  async function started(Bucket: string, more: Partial<S3Options> = {}) {
    const lines: string[] = []
    const store = s3Store(
      { ...s3Options, bucket: Bucket, region, credentials, endpoint, maxConnections: 25, maxRetries: 2, ...more },
      { caFile: undefined, proxy: undefined, probeKey: 'probe' },
      line => lines.push(line),
    )
    await store.check(never, { warn: line => lines.push(line) })
    const { Versions, DeleteMarkers } = await sdk.send(new ListObjectVersionsCommand({ Bucket, Prefix: 'probe' }))
    assert.deepEqual(Versions ?? [], [])
    // Ceph 16 ignores the condition of the removal that the check has always made, and leaves a mark of it.
    if (verifies) assert.deepEqual(DeleteMarkers ?? [], [])
    return { store, lines }
  }
  const newBucket = async (lock = false) => {
    const Bucket = `t-${randomUUID()}`
    await sdk.send(new CreateBucketCommand({ Bucket, ...(lock ? { ObjectLockEnabledForBucket: true } : {}) }))
    return Bucket
  }
  const opened = async (more: Partial<S3Options> = {}, lock = false) => {
    const Bucket = await newBucket(lock)
    const made = await started(Bucket, more)
    undo.push(() => made.store.close())
    return { Bucket, ...made }
  }
  const storeOf = async (more: Partial<S3Options> = {}) => {
    const { store } = await started(await newBucket(), more)
    return { store, dispose: () => store.close() }
  }

  describeStore(`${name}, after the check`, () => storeOf())
  describeStore(`${name}, after the check, with the transfer manager`, () => storeOf({ transfer }))

  describe(`${name} and CRC-32`, () => {
    it(`is ${verifies ? 'proven to verify it, also after the bytes' : 'not proven to verify it'}`, async () => {
      const { lines } = await opened()
      assert.match(lines.join('\n'), verifies ? /verifies, also after the bytes/ : /sent with Content-MD5: /)
    })

    const crcOf = async (Bucket: string, Key: string) => {
      const head = await sdk.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }))
      assert.equal(head.ContentEncoding, undefined)
      return head.ChecksumCRC32
    }
    for (const [how, more] of [
      ['in one request', {}],
      ['in parts', { transfer }],
    ] as const)
      it(`keeps what is written ${how}, and AWS's SDK reads it`, async () => {
        const { Bucket, store } = await opened(more)
        for (const [Key, size] of Object.entries({ ...SIZES, huge: 12 * MB })) {
          const bytes = noise(size)
          await store.put(Key, chunked(bytes, MB), never)
          const { Body } = await sdk.send(new GetObjectCommand({ Bucket, Key }))
          assert.ok(Buffer.from((await Body?.transformToByteArray()) ?? []).equals(bytes), Key)
          assert.equal(await crcOf(Bucket, Key), verifies ? digestOf('crc32', bytes) : undefined)
          assert.ok((await collect(await store.get(Key, undefined, never))).equals(bytes))
          assert.equal(await store.holds?.(Key, chunked(bytes, MB), never), true)
        }
        const { Uploads } = await sdk.send(new ListMultipartUploadsCommand({ Bucket }))
        assert.equal(Uploads?.length ?? 0, 0)
      })

    it("reads what AWS's SDK wrote, with its own checksums and without", async () => {
      const { Bucket, store } = await opened()
      for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'SHA256', undefined] as const) {
        const bytes = noise(6 * MB)
        const more = ChecksumAlgorithm ? { ChecksumAlgorithm } : {}
        const Key = `${ChecksumAlgorithm}`
        await sdk.send(new PutObjectCommand({ Bucket, Key, Body: bytes, ...more }))
        const params = { Bucket, Key: `${Key} in parts`, Body: bytes, ...more }
        await new Upload({ client: sdk, params, partSize: 5 * MB }).done()
        for (const key of [Key, params.Key]) {
          const { body, size, digest } = await store.get(key, undefined, never)
          assert.ok((await collect({ size, body })).equals(bytes))
          if (digest) assert.equal(digest.value, digestOf(digest.name, bytes), key)
        }
      }
    })

    it('works with object lock, and with versions, of which the check leaves none', async () => {
      for (const more of [{}, { transfer }]) {
        const { Bucket, store } = await opened(more, true)
        const Rule = { DefaultRetention: { Mode: 'GOVERNANCE', Days: 1 } } as const
        const ObjectLockConfiguration = { ObjectLockEnabled: 'Enabled', Rule } as const
        await sdk.send(new PutObjectLockConfigurationCommand({ Bucket, ObjectLockConfiguration }))
        for (const [Key, size] of Object.entries({ ...SIZES, huge: 11 * MB })) {
          const bytes = noise(size)
          await store.put(Key, chunked(bytes, MB), never)
          const { Retention } = await sdk.send(new GetObjectRetentionCommand({ Bucket, Key }))
          assert.equal(Retention?.Mode, 'GOVERNANCE')
          assert.ok((await collect(await store.get(Key, undefined, never))).equals(bytes))
          assert.equal(await crcOf(Bucket, Key), verifies ? digestOf('crc32', bytes) : undefined)
        }
      }
      const Bucket = await newBucket()
      const VersioningConfiguration = { Status: 'Enabled' } as const
      await sdk.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }))
      const { store } = await started(Bucket)
      await store.put('large', chunked(noise(SIZES.large), MB), never)
      await store.close()
    })
  })
}
