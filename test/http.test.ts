/** What no real server can be made to do, from a scripted one; the real ones are in test/live/s3.test.ts. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Fault } from '../src/fault.ts'
import { httpOptions } from '../src/stores/http/options.ts'
import { httpStore } from '../src/stores/http/store.ts'
import { s3Signing } from '../src/stores/s3/auth.ts'
import { s3Dialect } from '../src/stores/s3/s3.ts'
import { s3Options } from './support/s3-options.ts'
import { error, fail, get, give, MB, open, scripted, serve, take } from './support/scripted.ts'
import { chunked, never, noise } from './support/store.suite.ts'
import { listen, undo } from './support/undo.ts'

describe('requests', () => {
  it('are one for each operation, tags, class and MD5 in the PUT itself, without Expect', async () => {
    const bytes = noise(300_000)
    const { seen, store } = await serve(
      (request, response) =>
        /^(GET|HEAD)/.test(request.line) ? give(bytes, request, response) : take(request, response),
      { tags: { a: 'b c' }, storageClass: 'GLACIER_IR' },
    )
    await store.put('k', chunked(bytes), never)
    await store.put('big', chunked(noise(2 * MB)), never)
    await get(store)
    await get(store, { start: 5, end: 10 })
    await store.stat('k', never)
    await store.remove('k', never)
    assert.deepEqual(
      seen.map(request => request.line),
      ['PUT /bucket/k', 'PUT /bucket/big', 'GET /bucket/k', 'GET /bucket/k', 'HEAD /bucket/k', 'DELETE /bucket/k'],
    )
    for (const { headers, line, body } of seen) {
      assert.equal(headers.expect, undefined)
      assert.match(headers.authorization ?? '', /^AWS4-HMAC-SHA256 Credential=AKID\//)
      if (!line.startsWith('PUT')) continue
      assert.equal(headers['content-md5'], createHash('md5').update(body).digest('base64'))
      assert.equal(headers['x-amz-tagging'], 'a=b%20c')
      assert.equal(headers['x-amz-storage-class'], 'GLACIER_IR')
      assert.equal(Number(headers['content-length']), body.length)
      assert.equal(headers['transfer-encoding'], undefined)
    }
  })

  for (const [size, requests] of [
    [0, 2],
    [1, 1],
    [5 * MB, 1],
    [5 * MB + 1, 2],
    [17 * MB, 4],
  ] as const)
    it(`of the transfer manager for ${size} bytes are ${requests}, all of them GETs`, async () => {
      const bytes = noise(size)
      const { seen, store } = await serve((request, response) => give(bytes, request, response), {
        transfer: { concurrency: 2, partBytes: 5 * MB },
      })
      assert.deepEqual(await get(store), bytes)
      assert.deepEqual(
        seen.map(({ line }) => line),
        Array(requests).fill('GET /bucket/k'),
      )
      assert.ok(seen.slice(1).every(({ headers }) => size === 0 || headers['if-match'] === '"e"'))
    })

  it('go to the host of the bucket with virtual addressing', async () => {
    const { listener, seen } = scripted((_, response) => response.end())
    const port = await listen(createServer(listener))
    const store = open({ endpoint: `http://localhost:${port}`, virtualAddressing: true, bucket: 'bucket' })
    await store.remove('k', never).catch(() => undefined) // *.localhost does not resolve everywhere
    for (const { headers, line } of seen)
      assert.deepEqual([headers.host, line], [`bucket.localhost:${port}`, 'DELETE /k'])
  })
})

describe('what a bad server does', () => {
  it('a body that ends early is resumed, not believed', async () => {
    const bytes = noise(200_000)
    const { seen, store } = await serve((request, response, nth) => {
      if (nth > 1) return give(bytes, request, response)
      response.writeHead(200, { etag: '"e"', 'content-length': bytes.length })
      response.write(bytes.subarray(0, 150_000), () => response.destroy())
    })
    assert.deepEqual(await get(store), bytes)
    assert.match(seen[1]?.headers.range ?? '', /^bytes=\d+-199999$/)
  })

  it('an answer without a length is refused', async () => {
    const { store } = await serve((_, response) => {
      response.write('chunked')
      response.end()
    })
    await assert.rejects(get(store), { code: 'Internal' })
  })

  it('a whole object in place of a range is refused', async () => {
    const { store } = await serve((_, response) => response.writeHead(200, { 'content-length': 5 }).end('whole'))
    await assert.rejects(get(store, { start: 1, end: 3 }), { code: 'Internal' })
  })

  for (const [status, code] of [
    [529, 'SiteOverloaded'],
    [503, 'SlowDown'],
    [500, 'InternalError'],
    [429, 'TooManyRequests'],
    [400, 'RequestTimeout'],
    [400, 'BadDigest'],
  ] as const)
    it(`${status} ${code} is asked again`, async () => {
      const { seen, store } = await serve((request, response, nth) =>
        nth < 3 ? fail(response, status, code) : take(request, response),
      )
      await store.put('k', chunked(noise(1000)), never)
      assert.deepEqual(
        seen.map(({ body }) => body),
        Array(3).fill(noise(1000)),
      )
    })

  for (const [status, code, fault, remedy] of [
    [403, 'AccessDenied', 'Denied', /permission s3:PutObject/],
    [403, 'RequestTimeTooSkewed', 'Denied', /clock/],
    [403, 'InvalidObjectState', 'Archived', /archive/],
    [400, 'InvalidStorageClass', 'BadConfig', /StorageClass/],
    [400, 'ExpiredToken', 'Denied', /expired/],
    [501, 'NotImplemented', 'Internal', /^$/],
  ] as const)
    it(`${status} ${code} is told at once`, async () => {
      const { seen, store } = await serve((_, response) => fail(response, status, code))
      await assert.rejects(store.put('k', chunked(noise(10)), never), {
        code: fault,
        remedy,
        message: `${code}: words (HTTP ${status})`,
      })
      assert.equal(seen.length, 1)
    })

  it('a redirect names the right region', async () => {
    const { store } = await serve((_, response) =>
      fail(response, 301, 'PermanentRedirect', '<Region>us-west-2</Region>'),
    )
    await assert.rejects(get(store), {
      code: 'BadConfig',
      remedy: "Region is 'eu-west-1', but the bucket is in 'us-west-2'.",
    })
  })

  it('an answer to HEAD without a word names the region by its header', async () => {
    const { store } = await serve((_, response) =>
      response.writeHead(301, { 'x-amz-bucket-region': 'eu-central-1' }).end(),
    )
    await assert.rejects(store.stat('k', never), {
      code: 'BadConfig',
      remedy: "Region is 'eu-west-1', but the bucket is in 'eu-central-1'.",
    })
  })

  for (const status of [301, 302, 307, 308])
    it(`a ${status} to https says to write https`, async () => {
      const { seen, store } = await serve(({ line, headers }, response) => {
        response.removeHeader('x-amz-request-id') // an ingress, not the store
        response.writeHead(status, { location: `https://${headers.host}${line.split(' ')[1]}` }).end()
      })
      await assert.rejects(get(store), { code: 'BadConfig', remedy: /https:\/\/ in front of the endpoint/ })
      assert.equal(seen.length, 1)
    })

  for (const [what, status, text, remedy] of [
    [
      'a KMS key',
      403,
      error('AccessDenied').replace('words', 'not authorized to perform: kms:GenerateDataKey on x'),
      /permission kms:GenerateDataKey on the bucket's KMS key/,
    ],
    ['a KMS key that is disabled', 400, error('KMS.DisabledException'), /KMS key cannot be used/],
    [
      'a permission in a bucket whose name holds kms',
      403,
      error('AccessDenied', '<Resource>/a-kms-bucket/k</Resource>'),
      /permission s3:PutObject on bucket/,
    ],
    ['object tags', 501, error('NotImplemented'), /remove Tags/],
    [
      'a firewall',
      403,
      '<html><head><title>Blocked by policy 17</title></head></html>',
      /Something between Orthanc and the store/,
    ],
  ] as const)
    it(`what is missing is named: ${what}`, async () => {
      const { store } = await serve(
        (_, response) => {
          if (!text.startsWith('<?xml')) response.removeHeader('x-amz-request-id')
          response
            .writeHead(status, { 'content-type': text.startsWith('<?xml') ? 'application/xml' : 'text/html' })
            .end(text)
        },
        { tags: { a: 'b' }, maxRetries: 0 },
      )
      const fault = await store.put('k', chunked(noise(10)), never).then(
        () => assert.fail('it succeeded'),
        thrown => thrown as Fault,
      )
      assert.match(fault.describe(), remedy)
      if (what === 'a firewall') assert.match(fault.message, /Blocked by policy 17/)
      if (what.startsWith('a KMS')) assert.equal(fault.code, 'Denied')
    })

  it('"forbidden" to a read may mean "absent", to a write it does not', async () => {
    const { store } = await serve((_, response) => fail(response, 403, 'AccessDenied'))
    await assert.rejects(get(store), { code: 'Denied', perhapsAbsent: true })
    await assert.rejects(store.stat('k', never), { code: 'Denied', perhapsAbsent: true, remedy: /s3:ListBucket/ })
    await assert.rejects(store.put('k', chunked(noise(10)), never), { code: 'Denied', perhapsAbsent: false })
  })

  it('an upload that fails is abandoned only when nothing of it is on its way any more', async () => {
    let refused: ServerResponse | undefined
    let parts = 0
    const { seen, store } = await serve(
      ({ line }, response) => {
        if (line.endsWith('?uploads='))
          response.end('<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>')
        else if (!line.startsWith('PUT')) response.writeHead(204).end()
        else {
          // The other two are on their way, without an answer, when this one is refused.
          if (line.includes('partNumber=2')) refused = response
          if (++parts === 3 && refused) fail(refused, 403, 'AccessDenied')
        }
      },
      { transfer: { concurrency: 3, partBytes: 5 * MB } },
    )
    await assert.rejects(store.put('k', chunked(noise(26 * MB)), never), { code: 'Denied' })
    assert.equal(seen.at(-1)?.line, 'DELETE /bucket/k?uploadId=id')
    assert.equal(seen.length, 5, 'after the refusal, no other part was sent')
  })

  it('a 200 that turns out to be an error does not complete an upload', async () => {
    const { seen, store } = await serve(
      ({ line }, response) => {
        if (line.endsWith('?uploads='))
          response.end('<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>')
        else if (line.startsWith('PUT')) response.writeHead(200, { etag: '"p"' }).end()
        else response.end(line.startsWith('POST') ? error('AccessDenied') : undefined)
      },
      { transfer: { concurrency: 2, partBytes: 5 * MB } },
    )
    await assert.rejects(store.put('k', chunked(noise(6 * MB)), never), { code: 'Denied' })
    assert.equal(seen.at(-1)?.line, 'DELETE /bucket/k?uploadId=id')
  })

  it('a listing that is cut off without a token is not taken for the end', async () => {
    const { store } = await serve((_, response) =>
      response.end('<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>'),
    )
    await assert.rejects(
      async () => {
        for await (const _ of store.list('', never));
      },
      { code: 'Internal' },
    )
  })

  it('silence becomes a Timeout', async () => {
    const { store } = await serve(() => {}, { requestTimeoutMs: 1100 })
    await assert.rejects(open({ endpoint: 'http://127.0.0.1:1' }).check(never), { code: 'Unavailable' })
    await assert.rejects(store.check(never), { code: 'Timeout' })
  })

  it('a part may take longer than the longest silence, as long as its bytes move', async () => {
    const server = createServer(async (request, response) => {
      const md5 = createHash('md5')
      if (request.method === 'POST') {
        request.resume()
        const end = request.url?.includes('uploads=')
          ? '<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>'
          : '<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>'
        return response.end(end)
      }
      for await (const chunk of request) {
        md5.update(chunk)
        await new Promise(resolve => setTimeout(resolve, 5)) // a slow line: some 10 MB/s
      }
      response.writeHead(200, { etag: `"${md5.digest('hex')}"` }).end()
    })
    const endpoint = `http://127.0.0.1:${await listen(server)}`
    const transfer = { concurrency: 1, partBytes: 16 * MB }
    const environment = { caFile: undefined, proxy: undefined, probeKey: 'probe' }
    const s3 = { ...s3Options, endpoint, transfer, maxRetries: 0 }
    const http = httpOptions(s3, environment, endpoint, () => {})
    const signing = s3Signing(s3.credentials, { region: s3.region, dispatcher: http.dispatcher, warn: () => {} })
    const store = httpStore(s3Dialect(s3, 'probe', signing), {
      ...http,
      transfer,
      stallMs: 300,
    })
    undo.push(() => store.close())
    await store.put('k', chunked(noise(17 * MB), MB), never)
  })

  it('AccessDenied at the check is how S3 says "absent" to somebody who may not list', async () => {
    const { seen, store } = await serve(({ line }, response) =>
      line.startsWith('PUT') ? fail(response, 400, 'BadDigest') : fail(response, 403, 'AccessDenied'),
    )
    await store.check(never)
    const write = seen.find(({ line }) => line === 'PUT /bucket/probe')
    assert.equal(write?.body.toString(), 'x')
    const right = createHash('md5').update('x').digest('base64')
    assert.notEqual(write?.headers['content-md5'], right, 'a server that looks at the MD5 writes nothing')
  })

  it('AccessDenied to the write of the check names the permission', async () => {
    const { store } = await serve((_, response) => fail(response, 403, 'AccessDenied'))
    await assert.rejects(store.check(never), { code: 'Denied', remedy: /permission s3:PutObject on bucket 'bucket'/ })
  })

  it('an absent object in an absent bucket is not an absent object', async () => {
    const { store } = await serve((_, response) => fail(response, 404, 'NoSuchBucket'))
    await assert.rejects(store.stat('k', never), { code: 'BadConfig' })
    await assert.rejects(store.remove('k', never), { code: 'BadConfig' })
  })
})

describe('the corporate network', () => {
  it('a certificate is trusted when its authority is in HttpsCACertificates, and only then', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ocs-tls-'))
    undo.push(() => rmSync(folder, { recursive: true }))
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', cert, ...name],
      { stdio: 'ignore' },
    )
    const { listener } = scripted((request, response) => give(noise(10), request, response))
    const secure = createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) }, listener)
    const endpoint = `https://127.0.0.1:${await listen(secure as unknown as Server)}`
    await assert.rejects(get(open({ endpoint })), { code: 'Denied', remedy: /HttpsCACertificates/ })
    assert.deepEqual(await get(open({ endpoint }, { caFile: cert })), noise(10))
  })
})
