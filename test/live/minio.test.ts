/** The S3 store against MinIO, as a second server with its own ideas, and AWS's SDK on the other side. */
import { randomUUID } from 'node:crypto'
import { before, describe, it } from 'node:test'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { type S3Options, s3Store } from '../../src/stores/s3/s3.ts'
import type { Store } from '../../src/stores/store.ts'
import { itSays, VERBS } from '../support/faults.suite.ts'
import { describeBoth } from '../support/sdk.suite.ts'
import { describeStore, MANY } from '../support/store.suite.ts'
import { liveServer } from './support/servers.ts'

const server = liveServer('minio')

if (server) {
  const credentials = { accessKeyId: server.accessKey, secretAccessKey: server.secretKey }
  const { endpoint, region } = server
  const sdk = new S3Client({ endpoint, region, credentials, forcePathStyle: true })
  const open = (bucket: string, more: Partial<S3Options> = {}): Store =>
    s3Store(
      {
        bucket,
        region,
        credentials,
        endpoint,
        virtualAddressing: false,
        connectTimeoutMs: 60_000,
        requestTimeoutMs: 120_000,
        maxConnections: 25,
        maxRetries: 2,
        transfer: undefined,
        storageClass: undefined,
        tags: {},
        logRequests: false,
        ...more,
      },
      { caFile: undefined, proxy: undefined, probeKey: 'probe' },
      () => {},
    )
  const newBucket = async (): Promise<string> => {
    const Bucket = `t-${randomUUID()}`
    await sdk.send(new CreateBucketCommand({ Bucket }))
    return Bucket
  }
  const inBucket = async (more: Partial<S3Options>) => {
    const store = open(await newBucket(), more)
    return { store, dispose: () => store.close() }
  }
  const transfer = { concurrency: 4, partBytes: 5 * 1024 * 1024 }

  describeStore('minio', () => inBucket({}), { listed: MANY, storageClass: 'STANDARD' })
  describeStore('minio with the transfer manager', () => inBucket({ transfer }))

  describeBoth('minio and the official SDK', async () => {
    const Bucket = await newBucket()
    const store = open(Bucket, { transfer })
    return {
      store,
      write: async (Key, Body) => void (await sdk.send(new PutObjectCommand({ Bucket, Key, Body }))),
      read: async Key => {
        const { Body } = await sdk.send(new GetObjectCommand({ Bucket, Key }))
        return Buffer.from((await Body?.transformToByteArray()) ?? [])
      },
      dispose: () => store.close(),
    }
  })

  describe('minio says what is wrong', () => {
    let bucket = ''
    before(async () => {
      bucket = await newBucket()
    })
    const lacking = (more: Partial<S3Options>) => () => open(bucket, { maxRetries: 0, ...more })
    const wrong = { accessKeyId: server.accessKey, secretAccessKey: 'not the right one' }
    const mute = ['stat'] as const
    itSays(
      'a wrong secret key',
      lacking({ credentials: wrong }),
      'Denied',
      /SignatureDoesNotMatch.*SecretKey differs/,
      {
        secret: wrong.secretAccessKey,
        mute,
      },
    )
    itSays('a missing bucket', lacking({ bucket: 'no-such-bucket' }), 'BadConfig', /NoSuchBucket.*check BucketName/, {
      mute,
    })
    // The answer to HEAD is a 400 without a body.
    itSays('a wrong region', lacking({ region: 'us-west-2' }), 'BadConfig', /'us-west-2', but .*'eu-west-1'/, {
      verbs: VERBS.filter(verb => verb !== 'stat'),
    })
  })
} else it('needs MinIO', { skip: 'there is none' })
