/** The proxy that tests break connections with: it does what the test says, and nothing else. */
import assert from 'node:assert/strict'
import { Agent, createServer, type IncomingHttpHeaders, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { until } from '../harness/until.ts'
import { type Decide, FaultProxy, MISHAP_KINDS, mishaps } from './live/support/fault-proxy.ts'
import { sha256 } from './support/sha256.ts'
import { noise } from './support/store.suite.ts'

const BODY = noise(300_000)
/** With one bit of one byte changed. */
const flipped = (bytes: Buffer, at: number) => {
  const copy = Buffer.from(bytes)
  copy[at] = (copy[at] as number) ^ 1
  return copy
}

describe('the fault proxy', () => {
  /** What the server has got: each body so far as it came. */
  let got: { line: string; chunks: Buffer[]; whole: boolean }[]
  let server: Server
  let proxy: FaultProxy
  let endpoint: string
  let agent: Agent

  before(async () => {
    server = createServer(async (asked, response) => {
      const one = { line: `${asked.method} ${asked.url}`, chunks: [] as Buffer[], whole: false }
      got.push(one)
      asked.on('error', () => {})
      asked.on('data', chunk => one.chunks.push(chunk))
      await new Promise(resolve => asked.once('end', resolve))
      one.whole = true
      if (asked.url === '/none') response.writeHead(204).end()
      else if (asked.url === '/chunked') {
        response.writeHead(200, { 'x-kind': 'chunked' })
        for (let at = 0; at < BODY.byteLength; at += 100_000) response.write(BODY.subarray(at, at + 100_000))
        response.end()
      } else response.writeHead(200, { 'content-length': BODY.byteLength }).end(BODY)
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  })
  after(() => {
    server.closeAllConnections()
    server.close()
  })
  beforeEach(async () => {
    got = []
    agent = new Agent({ keepAlive: true, maxSockets: 1 })
    proxy = new FaultProxy(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    endpoint = await proxy.open()
  })
  afterEach(async () => {
    agent.destroy()
    await proxy.close()
  })

  interface Answer {
    readonly status: number
    readonly headers: IncomingHttpHeaders
    readonly body: Buffer
    /** How it broke off; undefined when it came to its end. */
    readonly error: string | undefined
  }

  /** Resolves to as much as came. `signal` ends it. */
  const ask = (method: string, path: string, body?: Buffer, more: { chunked?: true; signal?: AbortSignal } = {}) =>
    new Promise<Answer>(resolve => {
      const headers = body && !more.chunked ? { 'content-length': body.byteLength } : {}
      const options = { method, agent, headers, ...(more.signal && { signal: more.signal }) }
      const chunks: Buffer[] = []
      let [status, heads]: [number, IncomingHttpHeaders] = [0, {}]
      const end = (error?: Error) =>
        resolve({ status, headers: heads, body: Buffer.concat(chunks), error: error?.message })
      const sent = request(`${endpoint}${path}`, options, answer => {
        status = answer.statusCode ?? 0
        heads = answer.headers
        answer.on('data', chunk => chunks.push(chunk))
        answer.on('error', end)
        answer.on('end', () => end())
      })
      sent.on('error', end)
      sent.end(body)
    })
  const noConnection = () => until('the end of the connection', () => Object.keys(agent.freeSockets).length === 0)
  const gotBody = (i = 0) => Buffer.concat(got[i]?.chunks ?? [])

  it('passes on whatever comes, one exchange after the other on one connection', async () => {
    let connections = 0
    const count = () => void connections++
    server.on('connection', count)
    for (const [method, path, body, chunked] of [
      ['GET', '/x?y=z', undefined],
      ['PUT', '/x', BODY],
      ['PUT', '/x', BODY, true],
      ['HEAD', '/x', undefined],
      ['DELETE', '/none', undefined],
      ['GET', '/chunked', undefined],
      ['PUT', '/none', Buffer.alloc(0)],
    ] as const) {
      const answer = await ask(method, path, body, chunked ? { chunked } : {})
      assert.equal(answer.error, undefined)
      const bodiless = method === 'HEAD' || path === '/none'
      assert.equal(sha256(answer.body), sha256(bodiless ? Buffer.alloc(0) : BODY), `${method} ${path}`)
      assert.equal(sha256(gotBody(got.length - 1)), sha256(body ?? Buffer.alloc(0)))
    }
    server.off('connection', count)
    assert.equal(connections, 1)
    assert.deepEqual(
      proxy.exchanges.map(({ method, path, status, harmed }) => [method, path, status, harmed]),
      got.map(({ line }) => [...line.split(' '), line.endsWith('/none') ? 204 : 200, undefined]),
    )
  })

  for (const [path, at] of [
    ['/x', 0],
    ['/x', 299_999],
    ['/chunked', 100_001],
  ] as const)
    it(`flips one bit of byte ${at} of the answer to GET ${path}`, async () => {
      proxy.decide = () => ({ response: { flipAt: at } })
      const { body, error } = await ask('GET', path)
      assert.deepEqual([error, sha256(body)], [undefined, sha256(flipped(BODY, at))])
      assert.equal(proxy.exchanges[0]?.harmed, 'flipped')
    })

  it('flips one bit of a request', async () => {
    proxy.decide = () => ({ request: { flipAt: 70_000 } })
    assert.equal((await ask('PUT', '/x', BODY)).status, 200)
    assert.equal(sha256(gotBody()), sha256(flipped(BODY, 70_000)))
  })

  for (const at of ['start', 0, 1, 100_000, 300_000] as const)
    it(`ends an answer at ${at}`, async () => {
      proxy.decide = () => ({ response: { endAt: at } })
      const { status, body, error } = await ask('GET', '/x')
      assert.equal(status, at === 'start' ? 0 : 200)
      assert.equal(sha256(body), sha256(BODY.subarray(0, at === 'start' ? 0 : at)))
      assert.equal(error === undefined, at === 300_000)
      assert.deepEqual([got[0]?.whole, proxy.exchanges[0]?.harmed], [true, 'ended'])
    })

  for (const at of [0, 1, 100_000])
    it(`ends a request at ${at}`, async () => {
      proxy.decide = () => ({ request: { endAt: at } })
      const { status } = await ask('PUT', '/x', BODY)
      assert.notEqual(status, 200)
      assert.deepEqual([sha256(gotBody()), got[0]?.whole], [sha256(BODY.subarray(0, at)), false])
    })

  it('ends a request before its head', async () => {
    proxy.decide = () => ({ request: { endAt: 'start' } })
    assert.equal((await ask('PUT', '/x', BODY)).status, 0)
    assert.deepEqual(got, [])
  })

  it('resets the connection either way', async () => {
    for (const trouble of [{ request: { resetAt: 5 } }, { response: { resetAt: 'start' } }] as const) {
      proxy.decide = () => trouble
      const { status, error } = await ask('PUT', '/x', BODY)
      assert.deepEqual([status, error !== undefined], [0, true])
      assert.equal(proxy.exchanges.at(-1)?.harmed, 'reset')
    }
    assert.equal(got.at(-1)?.whole, true)
  })

  it('stops in the middle of either and keeps the connection', async () => {
    for (const trouble of [{ request: { stopAt: 5 } }, { response: { stopAt: 5 } }]) {
      proxy.decide = () => trouble
      const abort = new AbortController()
      const asked = ask('PUT', '/x', BODY, { signal: abort.signal })
      await until('the end of all news', () => proxy.exchanges.at(-1)?.harmed === 'stopped')
      abort.abort()
      assert.notEqual((await asked).error, undefined)
    }
  })

  it('goes on slowly', async () => {
    const pace = { bytes: 50_000, ms: 1 }
    proxy.decide = () => ({ request: { pace }, response: { pace } })
    const { body } = await ask('PUT', '/x', BODY)
    assert.deepEqual([sha256(body), sha256(gotBody())], [sha256(BODY), sha256(BODY)])
  })

  it('answers in place of the server, which gets no request', async () => {
    const html = { 'content-type': 'text/html' }
    proxy.decide = ({ nth }) => (nth < 3 ? { answer: { status: 404, headers: html, body: '<html>' } } : undefined)
    const { status, headers, body } = await ask('PUT', '/x', BODY)
    assert.deepEqual([status, headers['content-type'], body.toString()], [404, 'text/html', '<html>'])
    assert.equal((await ask('HEAD', '/x')).headers['content-length'], '6')
    assert.deepEqual(got, [])
    assert.equal((await ask('GET', '/x')).status, 200)
  })

  it('may be away, and come back where it was', async () => {
    assert.equal((await ask('GET', '/x')).status, 200)
    await proxy.close()
    await noConnection()
    assert.match((await ask('GET', '/x')).error ?? '', /ECONNREFUSED/)
    assert.equal(await proxy.open(), endpoint)
    assert.equal((await ask('GET', '/x')).status, 200)
  })

  it('breaks when the server goes', async () => {
    await ask('GET', '/x')
    server.closeAllConnections()
    await noConnection()
    assert.equal((await ask('GET', '/x')).status, 200)
  })

  it('harms at random, the same for the same seed', async () => {
    const exchange = { nth: 1, method: 'PUT', path: '/x', headers: new Map([['content-length', '1000']]) }
    const told = (decide: Decide) =>
      Array.from({ length: 1000 }, () => {
        const trouble = decide(exchange)
        const response = trouble?.response
        return JSON.stringify([trouble, typeof response === 'function' && response({ status: 200, length: 1000 })])
      })
    const once = told(mishaps(7, 0.1))
    assert.deepEqual(told(mishaps(7, 0.1)), once)
    assert.notDeepEqual(told(mishaps(8, 0.1)), once)
    const harmed = once.filter(text => text !== '[null,false]')
    assert.ok(harmed.length > 50 && harmed.length < 200)
    for (const kind of MISHAP_KINDS) assert.ok(new Set(told(mishaps(1, 1, [kind]))).size >= 1)
    proxy.decide = mishaps(3, 1, ['flip response'])
    const { body, error } = await ask('GET', '/x')
    assert.equal(error, undefined)
    assert.equal(body.filter((byte, i) => byte !== BODY[i]).length, 1)
  })
})
