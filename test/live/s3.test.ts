/** The S3 store against a real server, and against AWS's own SDK: what one writes the other reads. */
import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import {
  CreateBucketCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutBucketPolicyCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { collect, type Source } from '../../src/bytes.ts'
import { type S3Options, s3Store } from '../../src/stores/s3/s3.ts'
import type { Store } from '../../src/stores/store.ts'
import { withLog } from '../../src/stores/wrappers/log.ts'
import { withRetry } from '../../src/stores/wrappers/retry.ts'
import { itSays } from '../support/faults.suite.ts'
import { flaky } from '../support/flaky.ts'
import { sha256 } from '../support/sha256.ts'
import { chunked, describeStore, MANY, never, noise } from '../support/store.suite.ts'
import { s3Server } from './support/servers.ts'

const server = s3Server()
const silent = () => {}
const MB = 1024 * 1024

if (server) {
  const sdk = new S3Client({
    endpoint: server.endpoint,
    region: server.region,
    credentials: { accessKeyId: server.accessKey, secretAccessKey: server.secretKey },
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
  })
  const newBucket = async (): Promise<string> => {
    const Bucket = `t-${randomUUID()}`
    await sdk.send(new CreateBucketCommand({ Bucket }))
    return Bucket
  }
  const optionsFor = (bucket: string, more: Partial<S3Options> = {}): S3Options => ({
    bucket,
    region: server.region,
    credentials: { accessKeyId: server.accessKey, secretAccessKey: server.secretKey },
    endpoint: server.endpoint,
    virtualAddressing: true, // ignored for an IP address
    connectTimeoutMs: 60_000,
    requestTimeoutMs: 120_000,
    maxConnections: 25,
    maxRetries: 2,
    transfer: undefined,
    storageClass: undefined,
    tags: {},
    logRequests: false,
    ...more,
  })
  const open = (bucket: string, more: Partial<S3Options> = {}, log = silent): Store =>
    s3Store(optionsFor(bucket, more), { caFile: undefined, proxy: undefined, probeKey: 'probe' }, log)
  const transfer = { concurrency: 4, partBytes: 5 * MB }
  const inBucket = async (more: Partial<S3Options>, wrap: (store: Store) => Store = store => store) => {
    const store = open(await newBucket(), more)
    return { store: wrap(store), dispose: () => store.close() }
  }
  const retried = withRetry({ maxRetries: 10, firstDelayMs: 1 }, silent)

  describeStore('s3', () => inBucket({}), { listed: MANY, storageClass: 'STANDARD' })
  describeStore('s3 with the transfer manager', () => inBucket({ transfer }))
  describeStore('withLog(withRetry(flaky(s3)))', () => inBucket({}, store => withLog(silent)(retried(flaky(store)))))

  describe('s3 and the official SDK', () => {
    let Bucket: string
    let store: Store
    before(async () => {
      Bucket = await newBucket()
      store = open(Bucket)
    })
    after(() => store.close())

    const tagsOf = async (Key: string) => {
      const { TagSet = [] } = await sdk.send(new GetObjectTaggingCommand({ Bucket, Key }))
      return Object.fromEntries(TagSet.map(tag => [tag.Key, tag.Value]))
    }

    for (const [how, more] of [
      ['in one request', {}],
      ['in parts', { transfer }],
    ] as const)
      it(`it reads what we wrote ${how}, tags and storage class included`, async () => {
        const Key = `ours ${how} ü+`
        const bytes = noise(11 * MB)
        const tagged = open(Bucket, { ...more, tags: { 'a key': 'a/value+1', b: '' }, storageClass: 'STANDARD_IA' })
        await tagged.put(Key, chunked(bytes), never)
        await tagged.close()
        const answer = await sdk.send(new GetObjectCommand({ Bucket, Key }))
        assert.equal(sha256((await answer.Body?.transformToByteArray()) as Uint8Array), sha256(bytes))
        assert.equal(answer.StorageClass, 'STANDARD_IA')
        // Ceph 16 drops the tags of every upload in parts, so those of the SDK's upload are what we compare with.
        const Tagging = 'a%20key=a%2Fvalue%2B1&b='
        const theirs = { Bucket, Key: `theirs ${how}`, Body: bytes, Tagging }
        if (how === 'in parts') await new Upload({ client: sdk, params: theirs, partSize: 5 * MB }).done()
        else await sdk.send(new PutObjectCommand(theirs))
        assert.deepEqual(await tagsOf(Key), await tagsOf(theirs.Key))
        if (how === 'in one request') assert.deepEqual(await tagsOf(Key), { 'a key': 'a/value+1', b: '' })
        const head = await sdk.send(new HeadObjectCommand({ Bucket, Key }))
        assert.equal(head.ETag?.includes('-'), how === 'in parts')
      })

    it('we read what it wrote, multipart included', async () => {
      const small = noise(1000, 5)
      const large = noise(12 * MB, 6)
      await sdk.send(new PutObjectCommand({ Bucket, Key: 'theirs/small', Body: small }))
      await new Upload({ client: sdk, params: { Bucket, Key: 'theirs/large', Body: large }, partSize: 5 * MB }).done()
      for (const [key, bytes] of [
        ['theirs/small', small],
        ['theirs/large', large],
      ] as const)
        for (const more of [{}, { transfer }]) {
          const reader = open(Bucket, more)
          assert.equal(sha256(await collect(await reader.get(key, undefined, never))), sha256(bytes))
          await reader.close()
        }
    })

    it('an upload in parts that fails leaves no parts behind', async () => {
      const parts = open(Bucket, { transfer })
      const body: Source = {
        size: 20 * MB,
        open: range => (range?.start ? brokenBody() : chunked(noise(5 * MB)).open()),
      }
      await assert.rejects(parts.put('failed', body, never))
      await parts.close()
      assert.equal((await sdk.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads?.length ?? 0, 0)
    })
  })

  it('s3 names the permission that the check at start finds missing, and writes nothing to find it', async () => {
    const Bucket = await newBucket()
    const store = open(Bucket)
    const lines: string[] = []
    await store.check(never, { warn: line => lines.push(line) })
    assert.equal(lines.join(), '')
    assert.equal(await store.stat('probe', never), undefined)
    const Statement = [{ Effect: 'Deny', Principal: '*', Action: 's3:PutObject', Resource: `arn:aws:s3:::${Bucket}/*` }]
    const Policy = JSON.stringify({ Version: '2012-10-17', Statement })
    await sdk.send(new PutBucketPolicyCommand({ Bucket, Policy }))
    await assert.rejects(store.check(never), { code: 'Denied', remedy: /permission s3:PutObject on bucket/ })
    await store.check(never, { writes: false })
    await store.check(never, { purpose: 'status' })
    await sdk.send(new PutBucketPolicyCommand({ Bucket, Policy: Policy.replace('s3:PutObject', 's3:DeleteObject') }))
    await store.check(never, { warn: line => lines.push(line) })
    assert.match(lines.join('\n'), /^there is no permission to remove, .*s3:DeleteObject/)
    await store.close()
  })

  describe('s3 says what is wrong', () => {
    let Bucket: string
    before(async () => {
      Bucket = await newBucket()
    })

    const cases: [string, Partial<S3Options>, string, RegExp][] = [
      [
        'a wrong secret key',
        { credentials: { accessKeyId: server.accessKey, secretAccessKey: 'wrong' } },
        'Denied',
        /SignatureDoesNotMatch.*AccessKey or SecretKey differs/,
      ],
      [
        'an unknown access key',
        { credentials: { accessKeyId: 'NOBODY', secretAccessKey: 'wrong' } },
        'Denied',
        /InvalidAccessKeyId.*does not know this AccessKey/,
      ],
      [
        'a missing bucket',
        { bucket: 'no-such-bucket-here' },
        'BadConfig',
        /NoSuchBucket.*no bucket 'no-such-bucket-here'/,
      ],
      [
        'a port where nobody listens',
        { endpoint: 'http://127.0.0.1:1' },
        'Unavailable',
        /ECONNREFUSED.*Nothing listens/,
      ],
      ['a host that does not exist', { endpoint: 'http://no.such.host.invalid' }, 'Unavailable', /No such host|DNS/],
      [
        'TLS where there is none',
        { endpoint: server.endpoint.replace('http:', 'https:') },
        'BadConfig',
        /http:\/\/ in front/,
      ],
    ]
    for (const [what, more, code, line] of cases)
      itSays(what, () => open(Bucket, { maxRetries: 0, ...more }), code, line, {
        secret: server.secretKey,
        mute: ['stat'],
      })
  })

  it('streams 200 MB both ways without holding them', async () => {
    const store = open(await newBucket())
    const slice = noise(1 * MB)
    const big: Source = {
      size: 200 * MB,
      async *open() {
        for (let i = 0; i < 200; i++) yield slice
      },
    }
    collectGarbage() // of the tests before
    await store.put('big', big, never)
    const hash = createHash('sha256')
    let peak = 0
    for await (const chunk of (await store.get('big', undefined, never)).body) {
      hash.update(chunk)
      peak = Math.max(peak, process.memoryUsage().arrayBuffers)
    }
    const expected = createHash('sha256')
    for (let i = 0; i < 200; i++) expected.update(slice)
    assert.equal(hash.digest('hex'), expected.digest('hex'))
    assert.ok(peak < 100 * MB, `${peak} bytes were held`)
    await store.close()
  })
} else it('needs an S3 server', { skip: 'there is none' })

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
}

async function* brokenBody(): AsyncIterable<Uint8Array> {
  yield noise(10)
  throw new Error('broken on purpose')
}
