/** What no emulator can be made to say: Azure's errors, from a scripted server, in the words of its reference. */
import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import { describe, it } from 'node:test'
import { type AzureOptions, azureStore } from '../src/stores/azure/azure.ts'
import { chunked, never, noise } from './support/store.suite.ts'
import { listen, undo } from './support/undo.ts'

const key = { kind: 'key', account: 'acct', key: 'a2V5' } as const
const sas = { kind: 'sas', sas: 'sv=2021-12-02&sp=r&sig=SECRET' } as const

async function open(listener: RequestListener, more: Partial<AzureOptions> = {}) {
  const server = createServer((request, response) => {
    request.resume()
    response.setHeader('x-ms-request-id', 'R') // as Azure does
    request.on('end', () => listener(request, response))
  })
  const store = azureStore(
    {
      account: 'acct',
      endpoint: `http://127.0.0.1:${await listen(server)}/acct`,
      container: 'images',
      credentials: key,
      createContainer: false,
      accessTier: undefined,
      connectTimeoutMs: 60_000,
      requestTimeoutMs: 120_000,
      maxConnections: 4,
      maxRetries: 0,
      ...more,
    },
    { caFile: undefined, proxy: undefined, probeKey: 'probe' },
    { info: () => {}, warn: () => {} },
  )
  undo.push(() => store.close())
  return store
}

const says =
  (status: number, code: string, headers: Record<string, string> = {}): RequestListener =>
  (_request, response) => {
    const detail = '<AuthenticationErrorDetail>string to sign SECRET</AuthenticationErrorDetail>'
    const message = `<Message>words\nRequestId:1\nTime:2</Message>`
    response.writeHead(status, { 'x-ms-error-code': code, ...headers })
    response.end(`<?xml version="1.0"?><Error><Code>${code}</Code>${message}${detail}</Error>`)
  }

describe('Azure', () => {
  const late = { date: new Date(Date.now() + 20 * 60_000).toUTCString() }
  const cases: [string, RequestListener, Partial<AzureOptions>, string, RegExp][] = [
    ['a wrong key', says(403, 'AuthenticationFailed'), {}, 'Denied', /AccountKey is not .* account 'acct'/],
    ['a wrong clock', says(403, 'AuthenticationFailed', late), {}, 'Denied', /clock is 20 minutes behind/],
    ['a wrong SAS', says(403, 'AuthenticationFailed'), { credentials: sas }, 'Denied', /signature is not/],
    [
      'no role',
      says(403, 'AuthorizationPermissionMismatch'),
      { credentials: sas },
      'Denied',
      /signature needs the permission w \(write\) on container 'images'/,
    ],
    ['no keys allowed', says(403, 'KeyBasedAuthenticationNotPermitted'), {}, 'Denied', /AccountUrl/],
    [
      'an unknown tier',
      says(400, 'InvalidHeaderValue'),
      { accessTier: 'Premium' },
      'BadConfig',
      /AccessTier 'Premium'/,
    ],
    ['an archived object', says(409, 'BlobArchived'), {}, 'Archived', /rehydrate/],
    ['immutability', says(409, 'BlobImmutableDueToPolicy'), {}, 'Denied', /protects/],
    ['damage on the way', says(400, 'Md5Mismatch'), {}, 'Corrupt', /words/],
    ['a container on its way out', says(409, 'ContainerBeingDeleted'), {}, 'Unavailable', /words/],
    ['too much at a time', says(503, 'ServerBusy'), {}, 'Unavailable', /words/],
    ['what nobody foresaw', says(418, 'Teapot'), {}, 'Internal', /Teapot: words \(HTTP 418\)/],
  ]
  for (const [what, listener, more, code, line] of cases)
    it(`says what to do about ${what}`, async () => {
      const store = await open(listener, more)
      const fault = await store.put('k', chunked(noise(10)), never).then(
        () => assert.fail('it succeeded'),
        error => error,
      )
      assert.equal(fault.code, code)
      assert.match(fault.describe(), line)
      assert.ok(!fault.describe().includes('SECRET'))
      assert.ok(!fault.message.includes('RequestId'))
    })

  it('a HEAD that is refused tells by its header whether object or container is missing', async () => {
    const store = await open((request, response) => {
      const code = request.url?.includes('gone') ? 'ContainerNotFound' : 'BlobNotFound'
      response.writeHead(404, { 'x-ms-error-code': code }).end()
    })
    assert.equal(await store.stat('k', never), undefined)
    await assert.rejects(store.stat('gone', never), { code: 'BadConfig' })
  })

  it('an acknowledgement of other bytes is no success', async () => {
    const store = await open((_request, response) =>
      response.writeHead(201, { 'content-md5': 'b3RoZXIgYnl0ZXMgaGVyZQ==' }).end(),
    )
    await assert.rejects(store.put('k', chunked(noise(10)), never), { code: 'Corrupt', retryable: true })
  })

  it('one request for each operation, and a signature that is never logged', async () => {
    const lines: string[] = []
    const store = await open(
      (request, response) => {
        lines.push(`${request.method} ${request.url}`)
        if (request.method === 'GET') response.writeHead(200, { 'content-length': 3 }).end('abc')
        else response.writeHead(request.method === 'PUT' ? 201 : 202).end()
      },
      { credentials: sas },
    )
    await store.put('a/k ü', chunked(noise(10)), never)
    for await (const _ of (await store.get('a/k ü', undefined, never)).body);
    await store.remove('a/k ü', never)
    const path = `/acct/images/a/k%20%C3%BC?${sas.sas}`
    assert.deepEqual(lines, [`PUT ${path}`, `GET ${path}`, `DELETE ${path}`])
  })

  it('takes up names that XML cannot hold', async () => {
    const blob = (name: string) =>
      `<Blob>${name}<Properties><Content-Length>1</Content-Length><Last-Modified>Tue, 24 Nov 2026 00:00:00 GMT</Last-Modified></Properties></Blob>`
    const blobs = [blob('<Name Encoded="true">a%01b</Name>'), blob('<Name> c &amp; d </Name>')].join('')
    const store = await open((_request, response) =>
      response.end(`<EnumerationResults><Blobs>${blobs}</Blobs><NextMarker /></EnumerationResults>`),
    )
    const keys: string[] = []
    for await (const { key } of store.list('', never)) keys.push(key)
    assert.deepEqual(keys, ['a\u0001b', ' c & d '])
  })
})
