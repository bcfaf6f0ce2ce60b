/** CRC-32 in place of MD5 on S3, once it is proven, and what happens when a server is not as it proved to be. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { collect, type Source, sourceOf } from '../src/bytes.ts'
import { digestOf, digestsOf } from '../src/stores/digest.ts'
import type { Dialect } from '../src/stores/http/dialect.ts'
import { s3Signing } from '../src/stores/s3/auth.ts'
import { awsChunked } from '../src/stores/s3/aws-chunked.ts'
import { Checksums } from '../src/stores/s3/checksums.ts'
import { s3Dialect } from '../src/stores/s3/s3.ts'
import { type Asked, unframed } from './support/checksum-server.ts'
import { CRC, LARGE, MB, type Opened, puts, readBack, SMALL, started } from './support/checksum-store.ts'
import { fc } from './support/property.ts'
import { s3Options } from './support/s3-options.ts'
import { chunked, never, noise } from './support/store.suite.ts'

describe('a server that verifies CRC-32', () => {
  it('gets it with a small write instead of an MD5, and its reads are compared with it', async () => {
    const { store, raw, since, lines, warnings } = await started()
    await store.put('k', chunked(SMALL), never)
    const [{ headers }] = since() as [Asked]
    assert.deepEqual([headers[CRC], headers['content-md5']], [digestOf('crc32', SMALL), undefined])
    assert.equal((await raw.get('k', undefined, never)).digest?.name, 'crc32')
    assert.deepEqual(await readBack(store), SMALL)
    assert.equal(since().at(-1)?.headers['x-amz-checksum-mode'], 'ENABLED')
    assert.match(lines.join('\n'), /verifies, also after the bytes/)
    assert.deepEqual(warnings, [])
  })

  it('gets it after the bytes of a large write, which are read once', async () => {
    const { store, since, objects } = await started()
    let opened = 0
    const body: Source = {
      size: LARGE.length,
      open(range) {
        opened++
        return chunked(LARGE, 300_000).open(range)
      },
    }
    await store.put('k', body, never)
    assert.equal(opened, 1)
    const [one] = since() as [Asked]
    assert.equal(one.headers['x-amz-decoded-content-length'], String(LARGE.length))
    assert.equal(one.headers['content-encoding'], 'aws-chunked')
    assert.ok(objects.get('k')?.bytes.equals(LARGE))
    assert.ok((await readBack(store)).equals(LARGE))
  })

  it('gets it with each part and with the whole of an upload in parts', async () => {
    const { store, since, objects } = await started({}, { transfer: { concurrency: 2, partBytes: 5 * MB } })
    const bytes = noise(12 * MB)
    await store.put('k', chunked(bytes, MB), never)
    assert.equal(objects.get('k')?.crc32, digestOf('crc32', bytes))
    const parts = puts(since())
    assert.equal(parts.length, 3)
    for (const { headers, body } of parts)
      assert.deepEqual([headers[CRC], headers['content-md5']], [digestOf('crc32', body), undefined])
    const end = since().find(({ method, query }) => method === 'POST' && query.has('uploadId'))
    assert.equal(end?.body.toString().match(/<ChecksumCRC32>/g)?.length, 3)
  })

  it('gets MD5s with parts when it does not say that it takes other checksums of these', async () => {
    const { store, since, objects, uploads } = await started(
      { parts: false },
      { transfer: { concurrency: 2, partBytes: 5 * MB }, maxRetries: 0 },
    )
    const bytes = noise(6 * MB)
    for (const key of ['k', 'l']) {
      await store.put(key, chunked(bytes, MB), never)
      assert.ok(objects.get(key)?.bytes.equals(bytes))
    }
    assert.equal(uploads.size, 0) // the first was begun twice, and abandoned once
    const begins = since().filter(({ query }) => query.has('uploads'))
    assert.deepEqual(
      begins.map(({ headers }) => headers['x-amz-checksum-algorithm']),
      ['CRC32', undefined, undefined],
    )
    for (const { headers } of puts(since()))
      assert.deepEqual([typeof headers['content-md5'], headers[CRC]], ['string', undefined])
  })

  it('has its damaged objects told by it, also those that came in parts', async () => {
    const { store, objects } = await started({}, { transfer: { concurrency: 2, partBytes: 5 * MB } })
    for (const [key, size] of [
      ['small', 1000],
      ['parts', 6 * MB],
    ] as const) {
      await store.put(key, chunked(noise(size), MB), never)
      const kept = objects.get(key)
      const damaged = Buffer.from(kept?.bytes ?? [])
      damaged[500] = (damaged[500] ?? 0) ^ 1
      if (kept) objects.set(key, { ...kept, bytes: damaged })
    }
    // Reads in ranges bring no checksums.
    const reader = await started()
    for (const [key, kept] of objects) {
      reader.objects.set(key, kept)
      await assert.rejects(readBack(reader.store, key), { code: 'Corrupt', message: /crc32/ })
    }
  })

  it('does not get it in a process that made no check, that only looked, or that may not write', async () => {
    for (const options of [
      null,
      { purpose: 'look' },
      { purpose: 'status' },
      { purpose: 'start', writes: false },
    ] as const) {
      const { store, since, asked } = await started({}, {}, options)
      if (!options) assert.equal(asked.length, 0)
      await store.put('k', chunked(SMALL), never)
      await store.put('large', chunked(LARGE, MB), never)
      await readBack(store)
      for (const { headers } of since()) {
        const names = Object.keys(headers).filter(name => /checksum|trailer|decoded/.test(name))
        assert.deepEqual(names, [])
      }
    }
  })

  it('shows with its first writes that ETags are MD5s, by which ranges are compared', async () => {
    const { store, since, objects } = await started()
    await store.put('k', chunked(SMALL), never)
    const kept = objects.get('k') ?? assert.fail()
    objects.set('k', { ...kept, bytes: noise(SMALL.length, 2) })
    const whole = async () => collect(await store.get('k', { start: 0, end: SMALL.length }, never))
    for (let i = 0; i < 3; i++) await assert.rejects(whole(), { code: 'Corrupt', message: /md5/ })
    assert.ok(since().every(({ key, query }) => key === 'k' && !query.has('list-type')))
  })

  it('has its objects of before, which have no checksum, compared by their ETag', async () => {
    const { raw, objects } = await started()
    objects.set('k', {
      bytes: SMALL,
      etag: `"${Buffer.from(digestOf('md5', SMALL), 'base64').toString('hex')}"`,
      crc32: undefined,
    })
    assert.equal((await raw.get('k', undefined, never)).digest?.name, 'md5')
  })

  it('and whose answer to a write is lost, is looked at', async () => {
    for (const [bytes, more] of [
      [SMALL, {}],
      [LARGE, {}],
      [noise(6 * MB), { transfer: { concurrency: 2, partBytes: 5 * MB } }],
    ] as const) {
      const { store, since, state, objects, endpoint } = await started({}, more)
      let lost = false
      state.interfere = ({ method, query, key, body, headers }, response) => {
        const last = bytes.length > 5 * MB ? method === 'POST' && query.has('uploadId') : method === 'PUT'
        if (!last || lost) return false
        lost = true
        // Carried out by another request, because the answer to this one is lost.
        const again = fetch(`${endpoint}/bucket/${key}?${query}`, {
          method,
          headers: Object.fromEntries(
            Object.entries(headers).filter(([name]) => /^(x-amz-|content-(md5|encoding))/.test(name)),
          ) as Record<string, string>,
          body: new Uint8Array(body),
        })
        void again.then(() => response.destroy())
        return true
      }
      await store.put('k', chunked(bytes, MB), never)
      assert.ok(lost)
      assert.ok(objects.get('k')?.bytes.equals(bytes))
      assert.ok(since().some(({ method }) => method === 'HEAD'))
    }
  })
})

describe('a server that has proven CRC-32, and then', () => {
  const withoutReceipt = (opened: Opened) => {
    opened.state.interfere = (_asked, response) => {
      const head = response.writeHead.bind(response)
      response.writeHead = ((status: number, { [CRC]: _gone, ...headers }: Record<string, string> = {}) =>
        head(status, headers)) as typeof response.writeHead
      return false
    }
  }

  it('acknowledges without it: the object is read back, and MD5 is used from then on', async () => {
    const opened = await started()
    withoutReceipt(opened)
    for (const key of ['a', 'b']) await opened.store.put(key, chunked(SMALL), never)
    assert.deepEqual(
      opened.since().map(({ method, headers }) => [method, headers[CRC] !== undefined]),
      [
        ['PUT', true],
        ['GET', false],
        ['PUT', false],
      ],
    )
    assert.match(opened.warnings.join('\n'), /with Content-MD5 again/)
  })

  it('acknowledges without it and may not be read: the write is repeated with MD5', async () => {
    const opened = await started()
    withoutReceipt(opened)
    const { interfere } = opened.state
    opened.state.interfere = (asked, response) => {
      if (asked.method === 'PUT') return interfere(asked, response)
      response.writeHead(403, { 'x-amz-request-id': 'R' }).end('<Error><Code>AccessDenied</Code></Error>')
      return true
    }
    await opened.store.put('k', chunked(SMALL), never)
    assert.equal(puts(opened.since()).at(-1)?.headers['content-md5'], digestOf('md5', SMALL))
  })

  it('acknowledges a part without it: the upload begins again with MD5s', async () => {
    const opened = await started({}, { transfer: { concurrency: 2, partBytes: 5 * MB } })
    withoutReceipt(opened)
    const bytes = noise(6 * MB)
    await opened.store.put('k', chunked(bytes, MB), never)
    assert.ok(opened.objects.get('k')?.bytes.equals(bytes))
    assert.equal(typeof puts(opened.since()).at(-1)?.headers['content-md5'], 'string')
  })

  it('acknowledges other bytes: it is no success', async () => {
    const opened = await started()
    opened.state.interfere = ({ method }, response) => {
      if (method !== 'PUT') return false
      response.writeHead(200, { etag: '"e"', 'x-amz-request-id': 'R', [CRC]: digestOf('crc32', LARGE) }).end()
      return true
    }
    for (const bytes of [SMALL, noise(2 * MB)])
      await assert.rejects(opened.store.put('k', chunked(bytes, MB), never), { code: 'Corrupt' })
  })

  for (const [status, code] of [
    [400, 'InvalidRequest'],
    [501, 'NotImplemented'],
  ] as const)
    it(`answers it with ${code}: the write is repeated with MD5`, async () => {
      for (const bytes of [SMALL, LARGE, noise(6 * MB)]) {
        const opened = await started(
          {},
          bytes.length > 5 * MB ? { transfer: { concurrency: 2, partBytes: 5 * MB } } : {},
        )
        opened.state.interfere = ({ headers }, response) => {
          if (!Object.keys(headers).some(name => /^x-amz-(checksum|trailer)/.test(name))) return false
          response.writeHead(status, { 'x-amz-request-id': 'R' }).end(`<Error><Code>${code}</Code></Error>`)
          return true
        }
        await Promise.all(['k', 'l', 'm'].map(key => opened.store.put(key, chunked(bytes, MB), never)))
        assert.ok((await readBack(opened.store)).equals(bytes))
        assert.equal(opened.warnings.length, 1)
      }
    })

  it('refuses to tell it: the object is read without', async () => {
    const opened = await started()
    await opened.store.put('k', chunked(SMALL), never)
    opened.state.interfere = ({ headers }, response) => {
      if (headers['x-amz-checksum-mode'] === undefined) return false
      response.writeHead(400, { 'x-amz-request-id': 'R' }).end('<Error><Code>InvalidRequest</Code></Error>')
      return true
    }
    assert.deepEqual(await readBack(opened.store), SMALL)
  })
})

describe('a checksum that comes with an object', () => {
  const crc32 = digestOf('crc32', SMALL)
  const cases: [string, Record<string, string>, boolean][] = [
    ['of an object in one piece', { [CRC]: crc32, etag: '"0123456789abcdef0123456789abcdef"' }, true],
    ['of the whole of one in parts', { [CRC]: crc32, etag: '"e-2"', 'x-amz-checksum-type': 'FULL_OBJECT' }, true],
    ['of checksums of parts', { [CRC]: `${crc32}-2`, etag: '"e-2"' }, false],
    ['of checksums of parts, by its type', { [CRC]: crc32, etag: '"e"', 'x-amz-checksum-type': 'COMPOSITE' }, false],
    ['of nobody knows what of an object in parts', { [CRC]: crc32, etag: '"e-2"' }, false],
    ['with a range', { [CRC]: crc32, etag: '"e"', 'content-range': 'bytes 0-9/10' }, false],
    ['that is none', { [CRC]: 'AAAA', etag: '"e"' }, false],
  ]
  for (const [what, headers, used] of cases)
    it(`${what} is ${used ? 'compared' : 'ignored'}`, () =>
      assert.equal(new Checksums(false).digestOf(headers)?.value, used ? crc32 : undefined))
})

describe('plain http to another machine', () => {
  const checksums = new Checksums(true)
  checksums.prove({ trailer: true })
  const dialect: Dialect = s3Dialect(
    { ...s3Options, endpoint: 'http://192.0.2.1' },
    'probe',
    s3Signing(s3Options.credentials, { region: 'r', dispatcher: undefined as never, warn: () => {} }),
    { checksums },
  )

  it('has bodies bound by the signature, as a signed MD5 does: a CRC can be made to fit', async () => {
    const digests = digestsOf(dialect.digests(), SMALL)
    const { headers } = await dialect.authorize(dialect.put('k', digests), SMALL.length, true, never)
    assert.equal(headers['x-amz-content-sha256'], Buffer.from(digestOf('sha256', SMALL), 'base64').toString('hex'))
    assert.match(headers['authorization'] ?? '', /SignedHeaders=[^,]*x-amz-content-sha256/)
    assert.equal(headers[CRC], digestOf('crc32', SMALL))
    assert.equal(dialect.putInOnePass?.('k', sourceOf(LARGE).open(), LARGE.length), undefined)
  })
})

describe('a body in chunks with a trailer', () => {
  it('has the length that was announced, and the bytes, however they are cut', async () => {
    const size = fc.oneof(
      fc.integer({ min: 0, max: 3000 }),
      fc.integer({ min: MB - 2, max: MB + 2 }),
      fc.constant(2 * MB),
    )
    await fc.assert(
      fc.asyncProperty(size, fc.integer({ min: 1, max: 2 * MB }), async (bytes, piece) => {
        const body = noise(bytes)
        const cuts = Math.max(piece, Math.ceil(bytes / 50))
        const trailer = { name: 'x-t', length: 3 }
        const framed = awsChunked(chunked(body, cuts).open(), bytes, trailer, () => 'end')
        const sent = await collect({ size: framed.size, body: framed.body })
        const { bytes: found, trailer: last } = unframed(sent)
        assert.ok(found.equals(body))
        assert.equal(last, 'x-t:end\r\n\r\n')
      }),
      { numRuns: 40 },
    )
  })

  it('is broken off when it is longer than announced', async () => {
    const framed = awsChunked(chunked(noise(10), 3).open(), 9, { name: 'x-t', length: 3 }, () => 'end')
    await assert.rejects(collect({ size: framed.size, body: framed.body }))
  })
})
