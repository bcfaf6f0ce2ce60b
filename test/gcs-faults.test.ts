/** What no emulator can be made to say: Google's errors, from a scripted server, in the words of the real one. */
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { describe, it } from 'node:test'
import { collect } from '../src/bytes.ts'
import { digestOf } from '../src/stores/digest.ts'
import { type GcsOptions, gcsStore } from '../src/stores/gcs/gcs.ts'
import { withRetry } from '../src/stores/wrappers/retry.ts'
import { chunked, never, noise } from './support/store.suite.ts'
import { listen, undo } from './support/undo.ts'

type Script = (request: IncomingMessage & { body: Buffer }, response: ServerResponse) => void

async function open(script: Script, more: Partial<GcsOptions> = {}) {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    response.setHeader('x-guploader-uploadid', 'R') // as Google does
    script(Object.assign(request, { body: Buffer.concat(chunks) }), response)
  })
  const limits = { connectTimeoutMs: 60_000, requestTimeoutMs: 120_000, maxConnections: 4, maxRetries: 2 }
  const endpoint = `http://127.0.0.1:${await listen(server)}`
  const store = gcsStore(
    { bucket: 'images', endpoint, serviceAccountFile: undefined, storageClass: undefined, ...limits, ...more },
    { caFile: undefined, proxy: undefined, probeKey: 'probe' },
    () => {},
  )
  undo.push(() => store.close())
  return store
}

const json = (response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}) =>
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
const says =
  (code: number, message: string): Script =>
  (_request, response) =>
    json(response, code, { error: { code, message, errors: [{ message, domain: 'global', reason: 'x' }] } })

const MB = 1024 * 1024

describe('Google', () => {
  const account = 'orthanc@p.iam.gserviceaccount.com'
  const denied = (permission: string) =>
    `${account} does not have ${permission} access to the Google Cloud Storage object. Permission '${permission}' denied on resource (or it may not exist).`
  const cases: [string, Script, Partial<GcsOptions>, string, RegExp][] = [
    ['a missing bucket', says(404, 'The specified bucket does not exist.'), {}, 'BadConfig', /no bucket 'images'/],
    [
      'no permission',
      says(403, denied('storage.objects.create')),
      {},
      'Denied',
      /need storage\.objects\.create on bucket/,
    ],
    ['an unknown class', says(400, 'Invalid storage class: WARM'), { storageClass: 'WARM' }, 'BadConfig', /'WARM'/],
    [
      'damage on the way',
      says(400, `Provided CRC32C "a" doesn't match calculated CRC32C "b".`),
      {},
      'Corrupt',
      /doesn't match/,
    ],
    ['too much at a time', says(429, 'The rate limit was exceeded'), {}, 'Unavailable', /rate limit/],
    ['a closed account', says(403, 'The billing account for the owning project is disabled'), {}, 'Denied', /billing/],
  ]
  for (const [what, script, more, code, line] of cases)
    it(`says what to do about ${what}`, async () => {
      const store = await open(script, more)
      const fault = await store.put('k', chunked(noise(10)), never).then(
        () => assert.fail('it succeeded'),
        error => error,
      )
      assert.equal(fault.code, code)
      assert.match(fault.describe(), line)
    })

  for (const name of ['retention-10y', 'threshold', 'hospital-billing', 'storage-class', 'rate-limit'])
    it(`a name such as '${name}' is no word of Google's`, async () => {
      const key = `${name}/1/k`
      const absent = await open(says(404, `No such object: ${name}/${key}`), { bucket: name })
      assert.equal(await absent.stat(key, never), undefined)
      await absent.remove(key, never)
      const words = denied('storage.objects.get').replace(account, `orthanc@${name}.iam.gserviceaccount.com`)
      const fault = await (await open(says(403, words), { bucket: name })).stat(key, never).catch(error => error)
      assert.equal(fault.code, 'Denied')
      assert.ok(fault.perhapsAbsent)
      assert.match(fault.remedy, /storage\.objects\.get/)
    })

  it('a session that lost what had arrived before is begun again', async () => {
    const bytes = noise(72 * MB)
    let begun = 0
    const store = await open(({ method, headers }, response) => {
      if (method === 'POST') return json(response, 200, {}, { location: `http://x/upload?upload_id=${++begun}` })
      const [, start, end] = /^bytes (\d+)-(\d+)/.exec(String(headers['content-range'])) ?? []
      if (headers['x-goog-hash']) return json(response, 200, { crc32c: digestOf('crc32c', bytes) })
      response.writeHead(308, { range: `bytes=0-${begun === 1 && Number(start) > 0 ? 99 : end}` }).end()
    })
    const anew = withRetry({ maxRetries: 2, firstDelayMs: 1 }, () => {})(store)
    await anew.put('k', chunked(bytes, MB), never)
    assert.equal(begun, 2)
  })

  it('an absent object in an absent bucket is not an absent object', async () => {
    const store = await open(says(404, 'The specified bucket does not exist.'))
    await assert.rejects(store.stat('k', never), { code: 'BadConfig' })
    await assert.rejects(store.remove('k', never), { code: 'BadConfig' })
    const absent = await open(says(404, 'No such object: images/k'))
    assert.equal(await absent.stat('k', never), undefined)
    await absent.remove('k', never)
    await assert.rejects(absent.get('k', undefined, never), { code: 'NotFound' })
  })

  it('the check at start names the permissions that are missing', async () => {
    const store = await open(({ url = '' }, response) => {
      assert.match(url, /^\/storage\/v1\/b\/images\/iam\/testPermissions\?permissions=storage\.objects\.create&/)
      json(response, 200, { permissions: ['storage.objects.get'] })
    })
    await assert.rejects(store.check(never), {
      code: 'Denied',
      message: 'permission storage.objects.create is missing',
      remedy: /Storage Object User/,
    })
  })

  it('the check does not need the permission to list', async () => {
    const all = ['create', 'get', 'delete'].map(verb => `storage.objects.${verb}`)
    const store = await open((request, response) =>
      request.url?.includes('testPermissions')
        ? json(response, 200, { permissions: all })
        : says(403, denied('storage.objects.list'))(request, response),
    )
    await store.check(never)
  })

  it('one request for each operation; a write carries its name, class and checksum', async () => {
    const lines: string[] = []
    const bytes = noise(1000)
    const crc32c = digestOf('crc32c', bytes)
    const store = await open(
      ({ method, url, body }, response) => {
        lines.push(`${method} ${url}`)
        if (method === 'POST') {
          assert.ok(
            body.includes(
              JSON.stringify({
                name: 'a/k',
                crc32c,
                contentType: 'application/octet-stream',
                storageClass: 'COLDLINE',
              }),
            ),
          )
          assert.ok(body.includes(bytes))
          json(response, 200, { crc32c })
        } else if (method === 'GET')
          response
            .writeHead(200, {
              'content-length': 1000,
              'x-goog-hash': [`crc32c=${crc32c}`, 'md5=x'] as unknown as string,
            })
            .end(bytes)
        else response.writeHead(204).end()
      },
      { storageClass: 'COLDLINE' },
    )
    await store.put('a/k', chunked(bytes), never)
    const content = await store.get('a/k', undefined, never)
    assert.deepEqual(content.digest, { name: 'crc32c', value: crc32c })
    assert.deepEqual(await collect(content), bytes)
    await store.remove('a/k', never)
    assert.deepEqual(lines, [
      'POST /upload/storage/v1/b/images/o?fields=crc32c&name=a%2Fk&uploadType=multipart',
      'GET /storage/v1/b/images/o/a%2Fk?alt=media',
      'DELETE /storage/v1/b/images/o/a%2Fk',
    ])
  })

  for (const [what, text] of [
    ['other bytes', '{"crc32c": "AAAAAA=="}'],
    ['nothing', ''],
  ] as const)
    it(`an acknowledgement of ${what} is no success`, async () => {
      const store = await open((_request, response) => response.writeHead(200).end(text))
      await assert.rejects(store.put('k', chunked(noise(10)), never), { code: 'Corrupt', retryable: true })
    })

  it('a part of which Google kept only a piece is sent again; the last one carries the checksum of all', async () => {
    const bytes = noise(72 * MB)
    const seen: string[] = []
    const store = await open(({ method, headers, body }, response) => {
      if (method === 'POST') return json(response, 200, {}, { location: 'http://x/upload?upload_id=ID' })
      const range = String(headers['content-range'])
      seen.push(range)
      const [, start, end, total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(range) ?? []
      assert.equal(body.length, Number(end) + 1 - Number(start))
      assert.equal(
        headers['x-goog-hash'],
        Number(end) + 1 === Number(total) ? `crc32c=${digestOf('crc32c', bytes)}` : undefined,
      )
      if (headers['x-goog-hash']) return json(response, 200, { crc32c: digestOf('crc32c', bytes) })
      const kept = seen.length === 2 ? Number(start) + 256 * 1024 - 1 : Number(end)
      response.writeHead(308, { range: `bytes=0-${kept}` }).end()
    })
    await store.put('k', chunked(bytes), never)
    const ranges = [0, 16, 32, 48, 64].map(at => `bytes ${at * MB}-${Math.min(at + 16, 72) * MB - 1}/${72 * MB}`)
    assert.deepEqual(seen, [ranges[0], ranges[1], ...ranges.slice(1)])
  })
})
