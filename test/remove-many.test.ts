/** Many objects removed with one request, by servers that answer as they should, as they should not, or not at all. */
import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { describe, it } from 'node:test'
import { Fault } from '../src/fault.ts'
import { multipart, partsOf } from '../src/stores/http/multipart.ts'
import { type Cloud, type Provider, providers, type Request } from './support/clouds.ts'
import { never, noise, sourceOf } from './support/store.suite.ts'
import { cloudOfTest } from './support/undo.ts'

const MOST: Readonly<Record<Provider, number>> = { s3: 1000, azure: 256, gcs: 100 }
const isBatch = ({ method, url }: Request) =>
  method === 'POST' &&
  (url.searchParams.has('delete') || url.searchParams.get('comp') === 'batch' || url.pathname.startsWith('/batch/'))
const isSingle = ({ method }: Request) => method === 'DELETE'

async function filled(provider: Provider, count: number): Promise<{ cloud: Cloud; keys: string[] }> {
  const cloud = await cloudOfTest(provider)
  const keys = Array.from({ length: count }, (_, i) => `f/${i}.dcm`)
  await cloud.store.put('f/stays', sourceOf(noise(1)), never)
  for (const key of keys) cloud.objects.set(key, noise(1))
  cloud.seen.length = 0
  return { cloud, keys }
}

/** Answers batches itself, instead of the server. */
function answering(cloud: Cloud, answer: (response: ServerResponse, request: Request) => void, times = 1000): void {
  let left = times
  cloud.meddle = (request, response, done) => {
    if (done || left === 0 || !isBatch(request)) return false
    left--
    answer(response, request)
    return true
  }
}

const marks: Readonly<Record<Provider, string>> = {
  s3: 'x-amz-request-id',
  azure: 'x-ms-request-id',
  gcs: 'x-guploader-uploadid',
}

for (const provider of providers)
  describe(`removing many objects from ${provider}`, () => {
    it('takes as few requests as the provider allows', async () => {
      const { cloud, keys } = await filled(provider, MOST[provider] + 1)
      const removals = await cloud.store.removeMany(keys, never)
      assert.ok(keys.every(key => removals.get(key) === 'gone'))
      assert.deepEqual([...cloud.objects.keys()], ['f/stays'])
      assert.equal(cloud.seen.length, 2)
      assert.ok(cloud.seen.every(isBatch))
    })

    for (const [what, status] of [
      ['does not know such requests', 501],
      ['allows no such requests', 405],
      ['refuses such requests', 403],
      ['finds such requests malformed', 400],
    ] as const)
      it(`removes one by one where the server ${what}, and remembers it`, async () => {
        const { cloud, keys } = await filled(provider, 20)
        answering(cloud, response => response.writeHead(status, { [marks[provider]]: 'R' }).end())
        for (const half of [keys.slice(0, 10), keys.slice(10)]) {
          const removals = await cloud.store.removeMany(half, never)
          assert.ok(half.every(key => removals.get(key) === 'gone'))
        }
        assert.deepEqual([...cloud.objects.keys()], ['f/stays'])
        assert.equal(cloud.seen.filter(isBatch).length, 1)
        assert.equal(cloud.seen.filter(isSingle).length, 20)
      })

    it('asks little of a server that refuses everything, and says so of each key', async () => {
      const { cloud, keys } = await filled(provider, 20)
      cloud.meddle = (_request, response) => {
        response.writeHead(403, { [marks[provider]]: 'R' }).end()
        return true
      }
      const removals = await cloud.store.removeMany(keys, never)
      for (const key of keys) {
        const removal = removals.get(key)
        assert.equal(removal instanceof Fault && removal.code, 'Denied')
      }
      assert.ok(cloud.seen.length <= 4, `${cloud.seen.length} requests`)
    })

    it('removes one by one where a server without a mark of its own refuses three times', async () => {
      const { cloud, keys } = await filled(provider, 20)
      answering(cloud, response => response.writeHead(405).end())
      for (const half of [keys.slice(0, 10), keys.slice(10)]) await cloud.store.removeMany(half, never)
      assert.deepEqual([...cloud.objects.keys()], ['f/stays'])
      assert.equal(cloud.seen.filter(isBatch).length, 3)
    })

    it('removes singly what an answer does not name', async () => {
      const { cloud, keys } = await filled(provider, 5)
      const silence = {
        s3: '<DeleteResult><Deleted><Key>f/0.dcm</Key></Deleted><Deleted><Key>f/stays</Key></Deleted></DeleteResult>',
        azure: '--b\r\nContent-ID: 9\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n\r\n--b--',
        gcs: '--b\r\nContent-ID: <response-removal+9>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\r\n--b--',
      }[provider]
      cloud.meddle = (request, response, done) => {
        if (!done || !isBatch(request)) return false
        for (const key of keys.slice(1)) cloud.objects.set(key, noise(1))
        response.writeHead(200, { [marks[provider]]: 'R', 'content-type': 'multipart/mixed; boundary=b' }).end(silence)
        return true
      }
      const removals = await cloud.store.removeMany(keys, never)
      assert.ok(keys.every(key => removals.get(key) === 'gone'))
      assert.equal(removals.has('f/stays'), false)
      assert.equal(cloud.seen.filter(isSingle).length, provider === 's3' ? 4 : 5)
      assert.deepEqual([...cloud.objects.keys()], ['f/stays'])
    })

    for (const [what, answer] of [
      ['a portal', (response: ServerResponse) => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>x')],
      ['an empty success', (response: ServerResponse) => response.writeHead(200).end()],
    ] as const)
      it(`takes ${what} for no success`, async () => {
        const { cloud, keys } = await filled(provider, 3)
        cloud.meddle = (_request, response, done) => {
          if (done) return false
          for (const name of response.getHeaderNames()) response.removeHeader(name)
          answer(response)
          return true
        }
        const removals = await cloud.store.removeMany(keys, never)
        for (const key of keys) {
          const removal = removals.get(key)
          assert.ok(removal instanceof Fault && removal.code === 'Unavailable', `${key}: ${removal}`)
        }
        assert.equal(cloud.objects.size, 4)
      })

    it('repeats what was busy, and only that', async () => {
      const { cloud, keys } = await filled(provider, 3)
      answering(cloud, response => response.writeHead(503, { [marks[provider]]: 'R' }).end(), 1)
      const removals = await cloud.store.removeMany(keys, never)
      assert.ok(keys.every(key => removals.get(key) === 'gone'))
      assert.equal(cloud.seen.filter(isBatch).length, 2)
      assert.equal(cloud.seen.filter(isSingle).length, 0)
    })

    it('ends with a fault for each key when the server is gone', async () => {
      const { cloud, keys } = await filled(provider, 3)
      cloud.meddle = (_request, response) => {
        response.destroy()
        return true
      }
      const removals = await cloud.store.removeMany(keys, never)
      assert.deepEqual([...removals.keys()], keys)
      for (const removal of removals.values()) assert.equal(removal !== 'gone' && removal.code, 'Unavailable')
    })
  })

describe('the answer of S3 to a removal of many', () => {
  async function answered(text: string) {
    const { cloud, keys } = await filled('s3', 4)
    answering(cloud, response => response.writeHead(200).end(text))
    const removals = await cloud.store.removeMany(keys, never)
    return keys.map(key => {
      const removal = removals.get(key)
      return removal instanceof Fault ? removal.code : removal
    })
  }

  it('judges each key: refused, absent, busy, gone', async () => {
    const said = await answered(`<DeleteResult>
      <Error><Key>f/0.dcm</Key><Code>AccessDenied</Code><Message>retention</Message></Error>
      <Error><Key>f/1.dcm</Key><Code>NoSuchKey</Code></Error>
      <Error><Key>f/2.dcm</Key><Code>SlowDown</Code></Error>
      <Deleted><Key>f/3.dcm</Key><DeleteMarker>true</DeleteMarker></Deleted></DeleteResult>`)
    assert.deepEqual(said, ['Denied', 'gone', 'Unavailable', 'gone'])
  })

  it('that is an error with HTTP 200 removes nothing by itself: each key is removed singly', async () => {
    assert.deepEqual(await answered('<Error><Code>InternalError</Code></Error>'), Array(4).fill('gone'))
  })

  it('that is cut off proves nothing: each key is removed singly', async () => {
    const { cloud, keys } = await filled('s3', 4)
    answering(cloud, response => response.writeHead(200).end('<DeleteResult><Deleted><Key>f/0.dcm</Key></Deleted>'))
    await cloud.store.removeMany(keys, never)
    assert.deepEqual([...cloud.objects.keys()], ['f/stays'])
    assert.equal(cloud.seen.filter(isSingle).length, 4)
  })
})

describe('requests within a request', () => {
  const answer = (text: string, type = 'multipart/mixed; boundary="a b"') =>
    partsOf({ status: 200, headers: { 'content-type': type }, text, secrets: () => [] })

  it('end as RFC 2046 says, each with an empty line before the boundary', () => {
    const text = multipart('b', [{ id: '0', method: 'DELETE', path: '/k', headers: { 'x-h': 'v' } }])
    assert.ok(text.endsWith('\r\nDELETE /k HTTP/1.1\r\nx-h: v\r\nContent-Length: 0\r\n\r\n\r\n--b--\r\n'))
  })

  it('are found by their ids, with status, headers and text', () => {
    const parts = answer(
      '--a b\r\nContent-ID: 1\r\n\r\nHTTP/1.1 404 Not Found\r\nX-Odd: 1\r\n\r\nwords\r\n--a b\r\nContent-ID: 0\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n--a b--',
    )
    assert.deepEqual([...parts.keys()], ['1', '0'])
    assert.deepEqual(
      [parts.get('1')?.status, parts.get('1')?.headers['x-odd'], parts.get('1')?.text],
      [404, '1', 'words'],
    )
    assert.equal(parts.get('0')?.status, 202)
  })

  it('prove nothing when the end is missing, or the type is another', () => {
    const whole = '--a b\r\nContent-ID: 1\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n'
    assert.throws(() => answer(whole), { code: 'Unavailable' })
    assert.throws(() => answer(`${whole}--a b--`, 'text/html'), { code: 'Unavailable' })
  })
})
