/** Bytes that were damaged on the way or at rest are never a success; what another reading mends is read again. */
import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { describe, it } from 'node:test'
import { keysOf } from '../src/area/naming.ts'
import { objectArea } from '../src/area/object-area.ts'
import { VerifiedCache } from '../src/area/verified-cache.ts'
import { collect, type Range, sourceOf } from '../src/bytes.ts'
import { a1 } from '../src/seal/a1.ts'
import { Budget } from '../src/seal/budget.ts'
import { plain } from '../src/seal/envelope.ts'
import { keyring, masterKey } from '../src/seal/keyring.ts'
import { attempt } from '../src/stores/wrappers/retry.ts'
import { type Cloud, providers } from './support/clouds.ts'
import { chunked, never, noise } from './support/store.suite.ts'
import { cloudOfTest } from './support/undo.ts'

const MB = 1024 * 1024

const keys = keyring(masterKey(1, Buffer.alloc(32, 7).toString('base64')), [])
const naming = { rootPath: '', structure: 'flat', legacyUnknownFiles: false } as const

function areaOn({ store }: Cloud, sealed: boolean) {
  return objectArea({
    store,
    keysOf: (attachment, suffix) => keysOf(naming, suffix, attachment),
    envelopes: [sealed ? a1(keys) : plain],
    unsealIfSealed: get => get(),
    budget: new Budget(64 * MB),
    cache: new VerifiedCache(64 * MB, 16 * MB),
    again: (work, signal) =>
      attempt(
        work,
        { maxRetries: 3, firstDelayMs: 1 },
        signal,
        () => {},
        ({ code, retryable }) => code === 'Corrupt' && retryable,
      ),
  })
}

/** Answers reads with a byte flipped, so many times. */
function flipping(cloud: Cloud, times: number): void {
  let left = times
  cloud.meddle = ({ method }, response, done) => {
    if (method !== 'GET' || !done || left === 0) return false
    left--
    const end = response.end.bind(response)
    response.end = ((bytes: Buffer) => {
      const flipped = Buffer.from(bytes)
      const at = Math.floor(flipped.length / 2)
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (left % 8)) // each time another bit, as chance would
      return end(flipped)
    }) as ServerResponse['end']
    return false
  }
}

for (const provider of providers)
  for (const sealed of [false, true])
    describe(`${provider}, ${sealed ? 'encrypted' : 'plain'}, through something that flips bits`, () => {
      for (const size of [1, 1000, 3 * MB])
        for (const whole of [undefined, { start: 0, end: size }] as (Range | undefined)[]) {
          const what = `${size} bytes${whole ? ' asked as a range' : ''}`
          it(`${what} are read again until they are right`, async () => {
            const cloud = await cloudOfTest(provider)
            const area = areaOn(cloud, sealed)
            const file = { uuid: randomUUID(), type: 'dicom' } as const
            await area.create(file, sourceOf(noise(size)), never)
            flipping(cloud, 2)
            assert.deepEqual(await area.deliver(file, whole, collect, never), noise(size))
            assert.equal(cloud.seen.filter(({ method }) => method === 'GET').length, 3)
          })

          it(`${what} that are damaged for good are no success`, async () => {
            const cloud = await cloudOfTest(provider)
            const area = areaOn(cloud, sealed)
            const file = { uuid: randomUUID(), type: 'dicom' } as const
            await area.create(file, sourceOf(noise(size)), never)
            flipping(cloud, 100)
            await assert.rejects(area.deliver(file, whole, collect, never), { code: 'Corrupt', retryable: false })
          })
        }
    })

it('an object that is replaced while it is read in ranges, as by rotate-keys, is read again', async () => {
  const cloud = await cloudOfTest('s3', { s3: { transfer: { concurrency: 2, partBytes: 5 * MB } } })
  const area = areaOn(cloud, true)
  const file = { uuid: randomUUID(), type: 'dicom' } as const
  const bytes = noise(12 * MB)
  await area.create(file, sourceOf(bytes), never)
  let replaced = 0
  cloud.meddle = ({ headers }, response, done) => {
    if (done || headers['if-match'] === undefined || replaced++ > 0) return false
    response.writeHead(412).end('<Error><Code>PreconditionFailed</Code><Message>words</Message></Error>')
    return true
  }
  assert.ok((await area.deliver(file, undefined, collect, never)).equals(bytes))
  assert.ok(replaced > 1)
})
for (const provider of providers)
  describe(`${provider}, through a proxy that compresses`, () => {
    for (const range of [undefined, { start: 0, end: 100 }])
      it(`${range ? 'a range is' : 'a file is'} no success, and the line says so`, async () => {
        const cloud = await cloudOfTest(provider)
        await cloud.store.put('a', chunked(noise(1000)), never)
        cloud.meddle = ({ method }, response, done) => {
          if (method !== 'GET' || !done) return false
          const head = response.writeHead.bind(response)
          response.writeHead = ((status: number, given: Record<string, string>) =>
            head(status, { ...given, etag: 'W/"e"', 'content-encoding': 'gzip' })) as ServerResponse['writeHead']
          return false
        }
        await assert.rejects(cloud.store.get('a', range, never), {
          code: 'Unavailable',
          message: /compressed on the way \(gzip\)/,
        })
      })
  })

describe('ETags of S3', () => {
  const foreign = (bytes: Buffer) => createHash('sha1').update(bytes).digest('hex').slice(0, 32)
  /** A server whose ETags are 32 hex digits, but not the MD5. */
  const odd = (cloud: Cloud, headers: Record<string, string> = {}) => {
    cloud.meddle = (request, response, done) => {
      if (!done) return false
      const bytes =
        request.method === 'PUT' ? request.body : cloud.objects.get(request.url.pathname.replace('/bucket/', ''))
      const head = response.writeHead.bind(response)
      response.writeHead = ((status: number, given: Record<string, string>) =>
        head(
          status,
          bytes ? { ...given, etag: `"${foreign(bytes)}"`, ...headers } : given,
        )) as ServerResponse['writeHead']
      return false
    }
  }
  const gets = ({ seen }: Cloud) => seen.filter(({ method }) => method === 'GET').length

  it('that are no MD5 are found out by reading one object back; after that nothing is read twice', async () => {
    const cloud = await cloudOfTest('s3')
    odd(cloud)
    for (const key of ['a', 'b', 'c']) await cloud.store.put(key, chunked(noise(1000)), never)
    assert.equal(gets(cloud), 1)
    assert.deepEqual(await collect(await cloud.store.get('b', undefined, never)), noise(1000))
    assert.equal(gets(cloud), 2)
  })

  it('of objects under a KMS key are not compared', async () => {
    const cloud = await cloudOfTest('s3')
    odd(cloud, { 'x-amz-server-side-encryption': 'aws:kms' })
    await cloud.store.put('a', chunked(noise(1000)), never)
    assert.deepEqual(await collect(await cloud.store.get('a', undefined, never)), noise(1000))
    assert.equal(gets(cloud), 1)
  })

  it('that do not fit what somebody else wrote are believed only when two readings agree', async () => {
    const cloud = await cloudOfTest('s3')
    cloud.objects.set('a', noise(1000))
    odd(cloud)
    await assert.rejects(async () => collect(await cloud.store.get('a', undefined, never)), { code: 'Corrupt' })
    assert.deepEqual(await collect(await cloud.store.get('a', undefined, never)), noise(1000))
    assert.deepEqual(await collect(await cloud.store.get('a', undefined, never)), noise(1000))
  })

  it('of one object that is damaged at rest do not end the comparing of the others', async () => {
    const cloud = await cloudOfTest('s3')
    for (const key of ['a', 'b']) await cloud.store.put(key, chunked(noise(1000)), never)
    // Another engine, which knows nothing yet.
    const { store } = await cloudOfTest('s3', { maxRetries: 0, s3: { endpoint: cloud.endpoint } })
    cloud.objects.set('a', noise(1000, 2))
    // It may not list.
    cloud.meddle = ({ line }, response) =>
      line.includes('list-type') &&
      Boolean(response.writeHead(403).end('<Error><Code>AccessDenied</Code><Message>words</Message></Error>'))
    for (let i = 0; i < 5; i++) await collect(await store.get('a', undefined, never)).catch(() => {})
    cloud.objects.set('b', noise(1000, 3))
    await assert.rejects(async () => collect(await store.get('b', undefined, never)), { code: 'Corrupt' })
    cloud.objects.set('b', noise(1000))
    assert.deepEqual(await collect(await store.get('b', undefined, never)), noise(1000))
    await assert.rejects(async () => collect(await store.get('a', undefined, never)), { code: 'Corrupt' })
  })

  it('of other objects tell whether one that was never read before is damaged at rest', async () => {
    const cloud = await cloudOfTest('s3')
    for (const key of ['a', 'b', 'c']) await cloud.store.put(key, chunked(noise(1000)), never)
    cloud.objects.set('a', noise(1000, 2))
    const { store } = await cloudOfTest('s3', { s3: { endpoint: cloud.endpoint } })
    for (let i = 0; i < 3; i++)
      await assert.rejects(async () => collect(await store.get('a', undefined, never)), { code: 'Corrupt' })
    assert.deepEqual(await collect(await store.get('b', undefined, never)), noise(1000))
  })

  it('are compared where they are written in capitals, without quotes or as weak ones', async () => {
    for (const write of [(tag: string) => tag.toUpperCase(), (tag: string) => `W/"${tag}"`, (tag: string) => tag]) {
      const cloud = await cloudOfTest('s3')
      cloud.meddle = (_, response, done) => {
        if (!done) return false
        const head = response.writeHead.bind(response)
        response.writeHead = ((status: number, { etag, ...headers }: Record<string, string> = {}) =>
          head(status, etag ? { ...headers, etag: write(etag.replaceAll('"', '')) } : headers)) as never
        return false
      }
      await cloud.store.put('k', chunked(noise(1000)), never)
      assert.equal(gets(cloud), 0)
      cloud.objects.set('k', noise(1000, 2))
      await assert.rejects(async () => collect(await cloud.store.get('k', undefined, never)), { code: 'Corrupt' })
    }
  })

  it('tell of a write that arrived as other bytes on a server that ignores Content-MD5', async () => {
    const cloud = await cloudOfTest('s3')
    await cloud.store.put('known', chunked(noise(10)), never)
    let once = true
    cloud.meddle = (request, response, done) => {
      if (!done || request.method !== 'PUT' || !once) return false
      once = false
      response.writeHead(200, { etag: `"${createHash('md5').update('others').digest('hex')}"` }).end()
      return true
    }
    await cloud.store.put('k', chunked(noise(1000)), never)
    assert.equal(cloud.seen.filter(({ line }) => line === 'PUT /bucket/k').length, 2)
  })
})
