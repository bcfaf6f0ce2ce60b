/**
 * A write whose answer was lost may have happened: it is looked at, and neither repeated blindly nor called a failure.
 */
import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { describe, it } from 'node:test'
import { collect, type Source } from '../src/bytes.ts'
import { Fault } from '../src/fault.ts'
import { type Cloud, type CloudOptions, type Provider, providers, type Request } from './support/clouds.ts'
import { chunked, never, noise } from './support/store.suite.ts'
import { cloudOfTest } from './support/undo.ts'

const MB = 1024 * 1024

const inParts: Readonly<Record<Provider, { size: number; options: CloudOptions }>> = {
  s3: { size: 12 * MB, options: { s3: { transfer: { concurrency: 2, partBytes: 5 * MB } } } },
  azure: { size: 33 * MB, options: {} },
  gcs: { size: 65 * MB, options: {} },
}
const made = new Map<number, Buffer>()
/** The same large bytes for all tests, made once. */
function large(size: number): Buffer {
  const bytes = made.get(size) ?? noise(size)
  made.set(size, bytes)
  return bytes
}

/** The request that makes an object visible. */
const isWrite = ({ method, url }: Request) =>
  method === 'PUT' || (method === 'POST' && !url.searchParams.has('uploads'))
const isLast = ({ method, url, headers }: Request) =>
  (method === 'POST' && url.searchParams.has('uploadId')) ||
  url.searchParams.get('comp') === 'blocklist' ||
  (headers['content-range'] !== undefined &&
    /-(\d+)\/(\d+)$/
      .exec(headers['content-range'])
      ?.slice(1)
      .reduce((end, total) => String(Number(total) - Number(end))) === '1')

const hangUp = (response: ServerResponse) => {
  response.destroy()
  return true
}
const portal = (response: ServerResponse) => {
  for (const name of response.getHeaderNames()) response.removeHeader(name)
  response.writeHead(200, { 'content-type': 'text/html' }).end('<title>terms</title>')
  return true
}
const gateway = (response: ServerResponse) => {
  for (const name of response.getHeaderNames()) response.removeHeader(name)
  response.writeHead(502, { 'content-type': 'text/html' }).end('<title>502 Bad Gateway</title>')
  return true
}
/** As Ceph answers the second of two writes of one object at a time. */
const nothingThere =
  (provider: Provider) =>
  (response: ServerResponse): boolean => {
    const [name, text] = {
      s3: ['x-amz-request-id', '<Error><Code>NoSuchKey</Code></Error>'],
      azure: ['x-ms-request-id', '<Error><Code>BlobNotFound</Code></Error>'],
      gcs: ['x-guploader-uploadid', 'No such object: bucket/k'],
    }[provider] as [string, string]
    response.writeHead(404, { [name]: '1' }).end(text)
    return true
  }
/** The store itself, or what stands before it, saw the connection end. */
const cutOff = (response: ServerResponse) => {
  response.writeHead(499).end()
  return true
}
const losses = {
  'the connection broke': hangUp,
  'a portal answered': portal,
  'a gateway answered 502': gateway,
  'the server answered 499': cutOff,
}

/** As an object that its own new version replaces: once that is there, nobody can read what was before. */
const readOnce = (source: Source): Source => {
  let at = 0
  return {
    size: source.size,
    open(range = { start: 0, end: source.size }) {
      if (range.start !== at) throw new Fault('Corrupt', `byte ${range.start} is read again`)
      at = range.end
      return source.open(range)
    },
  }
}

/** Loses answers to requests that `which` picks: after they were carried out, or instead. */
function losing(
  cloud: Cloud,
  which: (request: Request) => boolean,
  lose: (response: ServerResponse) => boolean,
  times = 1,
  carriedOut = true,
) {
  let left = times
  cloud.meddle = (request, response, done) => {
    if (done !== carriedOut || left === 0 || !which(request)) return false
    left--
    return lose(response)
  }
}

for (const provider of providers)
  describe(`${provider}, when an answer is lost`, () => {
    for (const [how, lose] of Object.entries(losses)) {
      it(`${how}: a small write that happened is a success and is not repeated`, async () => {
        const cloud = await cloudOfTest(provider)
        losing(cloud, isWrite, lose)
        await cloud.store.put('k', chunked(noise(1000)), never)
        assert.deepEqual(cloud.objects.get('k'), noise(1000))
        assert.equal(cloud.seen.filter(isWrite).length, 1)
      })

      it(`${how}: a small write that did not happen is repeated`, async () => {
        const cloud = await cloudOfTest(provider)
        losing(cloud, isWrite, lose, 2, false)
        await cloud.store.put('k', chunked(noise(1000)), never)
        assert.deepEqual(cloud.objects.get('k'), noise(1000))
        assert.equal(cloud.seen.filter(isWrite).length, 3)
      })

      it(`${how}: a write in parts that was completed is a success, without a second upload`, async () => {
        const { size, options } = inParts[provider]
        const cloud = await cloudOfTest(provider, options)
        losing(cloud, isLast, lose)
        await cloud.store.put('k', chunked(large(size), MB), never)
        assert.ok(cloud.objects.get('k')?.equals(large(size)))
        const parts = cloud.seen.filter(request => isWrite(request) && !isLast(request))
        assert.ok(parts.length <= 5, `${parts.length} parts`)
      })
    }

    it('a write in parts is proven without another reading of what was sent', async () => {
      const { size, options } = inParts[provider]
      const cloud = await cloudOfTest(provider, options)
      losing(cloud, isLast, hangUp)
      await cloud.store.put('k', readOnce(chunked(large(size), MB)), never)
      assert.ok(cloud.objects.get('k')?.equals(large(size)))
    })

    it("'no such object' is no answer to a write: what happened is a success, what did not is repeated", async () => {
      for (const carriedOut of [true, false]) {
        const cloud = await cloudOfTest(provider)
        losing(cloud, isWrite, nothingThere(provider), 1, carriedOut)
        await cloud.store.put('k', chunked(noise(1000)), never)
        assert.deepEqual(cloud.objects.get('k'), noise(1000))
        assert.equal(cloud.seen.filter(isWrite).length, carriedOut ? 1 : 2)
      }
      const cloud = await cloudOfTest(provider)
      losing(cloud, isWrite, nothingThere(provider), 100, false)
      await assert.rejects(cloud.store.put('k', chunked(noise(1000)), never), { code: 'Unavailable' })
    })

    it('another object of the same size under the key is not taken for it', async () => {
      const cloud = await cloudOfTest(provider)
      await cloud.store.put('k', chunked(noise(1000, 2)), never)
      losing(cloud, isWrite, hangUp, 1, false)
      await cloud.store.put('k', chunked(noise(1000, 3)), never)
      assert.deepEqual(cloud.objects.get('k'), noise(1000, 3))
    })

    it('a write that happened, but was refused when it was repeated, is a success', async () => {
      const cloud = await cloudOfTest(provider)
      let writes = 0
      let looks = 0
      cloud.meddle = (request, response, done) => {
        if (isWrite(request)) {
          if (!done) return ++writes > 1 && refuse(response)
          return hangUp(response)
        }
        return !done && looks++ === 0 && hangUp(response) // the look fails as well, once
      }
      await cloud.store.put('k', chunked(noise(1000)), never)
      assert.deepEqual(cloud.objects.get('k'), noise(1000))
    })

    it('who may write but not read writes again', async () => {
      const cloud = await cloudOfTest(provider)
      losing(cloud, isWrite, hangUp)
      const { meddle } = cloud
      cloud.meddle = (request, response, done) =>
        isWrite(request) ? meddle(request, response, done) : !done && forbid(response)
      await cloud.store.put('k', chunked(noise(1000)), never)
      assert.equal(cloud.seen.filter(isWrite).length, 2)
    })

    it('an upload that the store forgot is begun again', async () => {
      const { size, options } = inParts[provider]
      const cloud = await cloudOfTest(provider, options)
      let forgotten = 0
      cloud.meddle = (request, response, done) => {
        const { url, headers } = request
        const second =
          url.searchParams.get('partNumber') === '2' ||
          url.searchParams.get('comp') === 'blocklist' ||
          String(headers['content-range']).startsWith(`bytes ${16 * MB}-`)
        return !done && second && forgotten++ === 0 && forget(provider, response)
      }
      await cloud.store.put('k', chunked(large(size), MB), never)
      assert.ok(cloud.objects.get('k')?.equals(large(size)))
      assert.ok(forgotten > 1)
    })

    it('a store that forgets every upload is a failure in the end', async () => {
      const { size, options } = inParts[provider]
      const cloud = await cloudOfTest(provider, { ...options, maxRetries: 1 })
      cloud.meddle = (request, response, done) => !done && isLast(request) && forget(provider, response)
      await assert.rejects(cloud.store.put('k', chunked(large(size), MB), never), {
        code: 'Unavailable',
        retryable: false,
      })
      assert.equal(cloud.objects.size, 0)
    })
  })

function refuse(response: ServerResponse): boolean {
  response.writeHead(403, { 'x-ms-error-code': 'BlobImmutableDueToPolicy' })
  response.end('<Error><Code>AccessDenied</Code><Message>the object may not be replaced</Message></Error>')
  return true
}

function forbid(response: ServerResponse): boolean {
  response.writeHead(403, { 'x-ms-error-code': 'AuthorizationPermissionMismatch' })
  response.end('<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>')
  return true
}

function forget(provider: Provider, response: ServerResponse): boolean {
  if (provider === 's3') response.writeHead(404).end('<Error><Code>NoSuchUpload</Code></Error>')
  else if (provider === 'azure') response.writeHead(400, { 'x-ms-error-code': 'InvalidBlockList' }).end()
  else response.writeHead(410).end()
  return true
}

describe('S3 says 200 to the end of an upload', () => {
  const answers = {
    'and nothing else': '',
    'and white space': ' \n \n',
    'and an error': '<Error><Code>InternalError</Code><Message>words</Message></Error>',
    'and an error with a namespace':
      '<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Code>InternalError</Code></Error>',
    'and a page': '<html><title>terms</title></html>',
    'and half a result': '<CompleteMultipartUploadResult><ETag>&quot;e-3&q',
    'and a result without a tag': '<CompleteMultipartUploadResult></CompleteMultipartUploadResult>',
  }
  const { size, options } = inParts.s3
  for (const [what, text] of Object.entries(answers)) {
    it(`${what}: not believed`, async () => {
      const cloud = await cloudOfTest('s3', { ...options, maxRetries: 1 })
      cloud.meddle = (request, response, done) => !done && isLast(request) && Boolean(response.end(text))
      await assert.rejects(cloud.store.put('k', chunked(large(size), MB), never), { code: 'Unavailable' })
    })

    it(`${what}: looked at, and found there`, async () => {
      const cloud = await cloudOfTest('s3', options)
      cloud.meddle = (request, response, done) => done && isLast(request) && Boolean(response.end(text))
      await cloud.store.put('k', chunked(large(size), MB), never)
      assert.ok(cloud.objects.get('k')?.equals(large(size)))
    })
  }

  it('a part without a tag has not arrived', async () => {
    const cloud = await cloudOfTest('s3', options)
    let first = true
    cloud.meddle = ({ url }, response, done) => {
      if (done || !first || url.searchParams.get('partNumber') !== '1') return false
      first = false
      return Boolean(response.writeHead(200).end())
    }
    await cloud.store.put('k', chunked(large(size), MB), never)
    assert.ok((await collect(await cloud.store.get('k', undefined, never))).equals(large(size)))
  })
})

describe('a small server that gives neither tags nor ids of requests', () => {
  const bare = (cloud: Cloud, lengths = true) => {
    cloud.meddle = (request, response, done) => {
      if (!done) return false
      response.removeHeader('x-amz-request-id')
      const head = response.writeHead.bind(response)
      response.writeHead = ((status: number, { etag: _etag, ...headers }: Record<string, string> = {}) => {
        if (request.method === 'HEAD' && !lengths) delete headers['content-length']
        return head(status, headers)
      }) as ServerResponse['writeHead']
      return false
    }
  }

  it('is believed when the object reads back as it was sent', async () => {
    const cloud = await cloudOfTest('s3')
    bare(cloud)
    await cloud.store.put('k', chunked(noise(1000)), never)
    assert.deepEqual(await collect(await cloud.store.get('k', undefined, never)), noise(1000))
    assert.equal((await cloud.store.stat('k', never))?.size, 1000)
    await cloud.store.remove('k', never)
    assert.equal(cloud.objects.size, 0)
  })

  for (const tag of ['"of its own"', undefined])
    it(`with tags of its own for writes, and ${tag ?? 'none'} for reads, is read back once, and believed then`, async () => {
      const cloud = await cloudOfTest('s3')
      cloud.meddle = ({ method }, response, done) => {
        if (!done) return false
        response.removeHeader('x-amz-request-id')
        const head = response.writeHead.bind(response)
        response.writeHead = ((status: number, { etag, ...headers }: Record<string, string> = {}) => {
          const own = method === 'PUT' ? '"of its own"' : tag
          return head(status, etag && own ? { ...headers, etag: own } : headers)
        }) as ServerResponse['writeHead']
        return false
      }
      for (const key of ['a', 'b', 'c']) await cloud.store.put(key, chunked(noise(1000)), never)
      assert.deepEqual(
        cloud.seen.map(({ method }) => method),
        ['PUT', 'GET', 'PUT', 'PUT'],
      )
    })

  it('is believed when it does not even tell lengths without bytes', async () => {
    const cloud = await cloudOfTest('s3')
    bare(cloud, false)
    await cloud.store.put('k', chunked(noise(1000)), never)
    assert.deepEqual(await collect(await cloud.store.get('k', undefined, never)), noise(1000))
    await assert.rejects(cloud.store.stat('k', never), { code: 'Unavailable' })
  })

  it('is not believed when it does not', async () => {
    const cloud = await cloudOfTest('s3')
    bare(cloud)
    const { meddle } = cloud
    cloud.meddle = (request, response, done) => {
      if (done && request.method === 'PUT') cloud.objects.set('k', noise(1000, 2))
      return meddle(request, response, done)
    }
    await assert.rejects(cloud.store.put('k', chunked(noise(1000)), never))
  })

  it('has not removed what is still there', async () => {
    const cloud = await cloudOfTest('s3')
    bare(cloud)
    const { meddle } = cloud
    await cloud.store.put('k', chunked(noise(1000)), never)
    cloud.meddle = (request, response, done) =>
      request.method === 'DELETE' ? !done && Boolean(response.writeHead(204).end()) : meddle(request, response, done)
    await assert.rejects(cloud.store.remove('k', never), { code: 'Unavailable' })
  })
})
