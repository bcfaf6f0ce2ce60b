/** Servers, and ways to them, that do what is allowed but unusual, or wrong in a way that nobody sees at once. */
import assert from 'node:assert/strict'
import { createServer, type ServerResponse } from 'node:http'
import { describe, it } from 'node:test'
import { until } from '../harness/until.ts'
import { Fault } from '../src/fault.ts'
import { s3Store } from '../src/stores/s3/s3.ts'
import { s3Options } from './support/s3-options.ts'
import { fail, get, give, MB, open, serve, take } from './support/scripted.ts'
import { chunked, never, noise } from './support/store.suite.ts'
import { listen, undo } from './support/undo.ts'

describe('an odd server', () => {
  it('a whole object in place of a range that is all of it is taken', async () => {
    const { store } = await serve((_, response) =>
      response.writeHead(200, { etag: '"e"', 'content-length': 5 }).end('whole'),
    )
    assert.equal((await get(store, { start: 0, end: 5 })).toString(), 'whole')
  })

  it('a proxy that hands bodies on without their length is asked for everything as a range', async () => {
    const bytes = noise(2 * MB)
    const { seen, store } = await serve((request, response) => {
      const head = response.writeHead.bind(response)
      response.writeHead = ((status: number, headers: Record<string, string> = {}) => {
        delete headers['content-length']
        return head(status, headers)
      }) as typeof response.writeHead
      const end = response.end.bind(response)
      response.end = ((body?: Buffer) => {
        if (body) response.write(body)
        return end()
      }) as typeof response.end
      give(bytes, request, response)
    })
    assert.deepEqual(await get(store), bytes)
    assert.equal(seen.length, 2)
  })

  it('acknowledgements that look like an empty page, as those of Google and of Flask, are taken', async () => {
    const { seen, store } = await serve(
      (request, response) => {
        response.removeHeader('x-amz-request-id')
        const head = response.writeHead.bind(response)
        response.writeHead = ((status: number, headers: Record<string, string>) =>
          head(status, { ...headers, 'content-type': 'text/html', 'content-length': 0 })) as typeof response.writeHead
        if (request.line.startsWith('PUT')) return take(request, response)
        response.writeHead = head
        if (request.line.includes('uploads='))
          response.end('<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>')
        else response.end('<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>')
      },
      { transfer: { concurrency: 2, partBytes: 5 * MB } },
    )
    await store.put('k', chunked(noise(1000)), never)
    assert.equal(seen.length, 1)
    await store.put('k', chunked(noise(6 * MB), MB), never)
    assert.equal(seen.length, 5)
  })

  for (const transfer of [undefined, { concurrency: 2, partBytes: 5 * MB }])
    it(`a piece in place of a whole object is refused${transfer ? ', also by the transfer manager' : ''}`, async () => {
      const { store } = await serve(
        (_, response) =>
          response.writeHead(206, { etag: '"e"', 'content-range': 'bytes 5-9/10', 'content-length': 5 }).end('piece'),
        { transfer },
      )
      await assert.rejects(get(store), { code: 'Internal' })
    })

  it('a piece is no answer to how large an object is', async () => {
    const { store } = await serve((_, response) =>
      response.writeHead(206, { etag: '"e"', 'content-range': 'bytes 0-3/10', 'content-length': 4 }).end(),
    )
    await assert.rejects(store.stat('k', never), { code: 'Unavailable' })
  })

  it('an acknowledgement of a write that comes before its last byte is none', async () => {
    const tag = { etag: '"0123456789abcdef0123456789abcdef"', 'x-amz-server-side-encryption': 'aws:kms' }
    const server = createServer((request, response) => {
      response.setHeader('x-amz-request-id', 'R')
      if (request.method !== 'PUT') return fail(response, 404, 'NoSuchKey')
      request.once('data', () => response.writeHead(200, tag).end())
    })
    const store = open({ endpoint: `http://127.0.0.1:${await listen(server)}` })
    await assert.rejects(store.put('k', chunked(noise(16 * MB), MB), never), {
      code: 'Unavailable',
      message: /acknowledged after \d+ of its 16777216 bytes/,
    })
  })

  it('a range whose length only its place tells is taken, and counted', async () => {
    let sent = 'hol'
    const { store } = await serve((_, response) => {
      response.writeHead(206, { etag: '"e"', 'content-range': 'bytes 1-3/5' }).write(sent)
      response.end()
    })
    assert.equal((await get(store, { start: 1, end: 4 })).toString(), 'hol')
    sent = 'hole'
    await assert.rejects(get(store, { start: 1, end: 4 }), { code: 'Corrupt' })
  })

  it('a tag that a proxy has made weak is no condition, and no receipt', async () => {
    const bytes = noise(12 * MB)
    let ended = ''
    const { seen, store } = await serve(
      (request, response) => {
        const head = response.writeHead.bind(response)
        response.writeHead = ((status: number, { etag, ...headers }: Record<string, string> = {}) =>
          head(status, etag === undefined ? headers : { ...headers, etag: `W/${etag}` })) as typeof response.writeHead
        if (request.headers['if-match']) fail(response, 412, 'PreconditionFailed')
        else if (request.line.startsWith('GET')) give(bytes, request, response)
        else if (request.line.startsWith('PUT')) take(request, response)
        else if (request.line.includes('uploads='))
          response.end('<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>')
        else {
          ended = request.body.toString()
          response.end('<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>')
        }
      },
      { transfer: { concurrency: 2, partBytes: 5 * MB } },
    )
    assert.deepEqual(await get(store), bytes)
    assert.equal(seen.length, 3)
    await store.put('k', chunked(bytes, MB), never)
    assert.match(ended, /<ETag>(&quot;|")[0-9a-f]{32}/)
  })

  it('a listing whose end is missing is no listing', async () => {
    const { seen, store } = await serve((_, response, nth) =>
      response.end(
        `<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>1</Size></Contents>${nth > 1 ? '</ListBucketResult>' : ''}`,
      ),
    )
    const keys: string[] = []
    for await (const { key } of store.list('', never)) keys.push(key)
    assert.deepEqual(keys, ['a'])
    assert.equal(seen.length, 2)
  })

  it('a HEAD that was refused for its signature only is asked once more, whatever MaxRetries is', async () => {
    const late = new Date(Date.now() + 3_600_000)
    const { endpoint } = await serve((request, response) => {
      const [, time = ''] = /^(\d{8}T\d{2})/.exec(String(request.headers['x-amz-date'])) ?? []
      response.setHeader('date', late.toUTCString())
      if (time === late.toISOString().replaceAll('-', '').slice(0, 11))
        return give(noise(10), { ...request, headers: {} }, response)
      if (request.line.startsWith('HEAD')) response.writeHead(403).end()
      else fail(response, 403, 'RequestTimeTooSkewed')
    })
    const once = s3Store(
      { ...s3Options, endpoint },
      { caFile: undefined, proxy: undefined, probeKey: 'probe' },
      () => {},
    )
    undo.push(() => once.close())
    assert.equal((await once.stat('k', never))?.size, 10)
  })

  it('what is missing in the middle of an upload is the upload, whatever it is called', async () => {
    let begun = 0
    const { store } = await serve(
      (request, response) => {
        if (request.line.includes('uploads='))
          response.end(`<InitiateMultipartUploadResult><UploadId>${++begun}</UploadId></InitiateMultipartUploadResult>`)
        else if (request.line.startsWith('POST'))
          response.end('<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>')
        else if (request.line.startsWith('PUT') && begun === 1) fail(response, 404, 'NoSuchKey')
        else take(request, response)
      },
      { transfer: { concurrency: 2, partBytes: 5 * MB } },
    )
    await store.put('k', chunked(noise(6 * MB), MB), never)
    assert.equal(begun, 2)
  })

  it('an upload that failed in bad weather is abandoned until the store has heard of it', async () => {
    const told: string[] = []
    const { store } = await serve(
      ({ line }, response) => {
        if (line.includes('uploads='))
          response.end('<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>')
        else if (line.startsWith('DELETE') && told.push(line) === 3) response.writeHead(204).end()
        else fail(response, 503, 'SlowDown')
      },
      { transfer: { concurrency: 1, partBytes: 5 * MB }, maxRetries: 2 },
    )
    await assert.rejects(store.put('k', chunked(noise(6 * MB), MB), never), { code: 'Unavailable' })
    assert.equal(told.length, 3)
  })

  it('a request that waits for a connection ends with its call', async () => {
    const { seen, store } = await serve(() => {}, { maxConnections: 1 })
    const [first, second] = [new AbortController(), new AbortController()]
    let pending = true
    const hung = store.stat('k', first.signal).catch(() => {
      pending = false
    })
    await until('the first request', () => seen.length === 1)
    const waiting = store.stat('k', second.signal)
    second.abort(new Fault('Timeout', 'too late', { retryable: false }))
    await assert.rejects(waiting, { code: 'Timeout', message: 'too late' })
    assert.ok(pending)
    first.abort()
    await hung
    assert.equal(seen.length, 1)
  })

  it('a large upload leaves room for others between its parts', async () => {
    const parts: string[] = []
    const begins: ServerResponse[] = []
    const { store } = await serve(
      (request, response) => {
        const [, key = ''] = /\/bucket\/(\w+)/.exec(request.line) ?? []
        if (request.line.includes('uploads=')) {
          if (begins.push(response) < 2) return
          const result = '<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>'
          for (const begun of begins) begun.end(result)
        } else if (request.line.startsWith('POST'))
          response.end('<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>')
        else {
          parts.push(key)
          take(request, response)
        }
      },
      { transfer: { concurrency: 1, partBytes: 5 * MB } },
    )
    const bytes = noise(20 * MB)
    await Promise.all(['a', 'b'].map(key => store.put(key, chunked(bytes, MB), never)))
    assert.equal(parts.length, 8)
    assert.ok(parts.indexOf('a') < parts.lastIndexOf('b'))
    assert.ok(parts.indexOf('b') < parts.lastIndexOf('a'))
  })
})
