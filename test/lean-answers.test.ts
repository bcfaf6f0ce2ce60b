/**
 * Servers that misbehave, and those that only look so: what is made of their answers, over real sockets. How answers
 * are cut into pieces makes no difference: see test/fuzz/http.ts.
 */
import assert from 'node:assert/strict'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { faultOfNetwork } from '../src/stores/network/faults.ts'
import { Reader } from '../src/stores/network/lean/reader.ts'
import { network } from '../src/stores/network/network.ts'
import { never } from './support/store.suite.ts'
import { undo } from './support/undo.ts'

type Expected =
  | { readonly status: number; readonly body?: string; readonly again?: boolean }
  | { readonly code: string; readonly says: RegExp; readonly body?: true }

const ok = 'HTTP/1.1 200 OK\r\n'
const sized = (size: number, rest: string) => `${ok}content-length: ${size}\r\n\r\n${rest}`
const chunked = (rest: string) => `${ok}transfer-encoding: chunked\r\n\r\n${rest}`
const damaged = (says = /not valid HTTP/): Expected => ({ code: 'Unavailable', says })
const foreign: Expected = { code: 'Unavailable', says: /does not begin as one of HTTP/ }
const inBody = (says = /not valid HTTP/): Expected => ({ code: 'Unavailable', says, body: true })
const cut: Expected = { code: 'Unavailable', says: /other side closed/, body: true }

/** What a server says, whether it closes behind that, and what is made of it. `again`: the connection serves again. */
const scripts: readonly (readonly [what: string, said: string, closes: boolean, expected: Expected])[] = [
  ['a length', sized(3, 'abc'), false, { status: 200, body: 'abc', again: true }],
  ['a length of nothing', sized(0, ''), false, { status: 200, body: '', again: true }],
  [
    'a reason of other letters',
    'HTTP/1.1 200 \xe9\xff\r\ncontent-length: 0\r\n\r\n',
    false,
    { status: 200, again: true },
  ],
  ['no reason', 'HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n', false, { status: 200, again: true }],
  ['chunks', chunked('3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'), false, { status: 200, body: 'abcde', again: true }],
  [
    'chunks with extensions',
    chunked('3;a="b"\r\nabc\r\n0;c\r\n\r\n'),
    false,
    { status: 200, body: 'abc', again: true },
  ],
  ['chunks and a trailer', chunked('3\r\nabc\r\n0\r\nx: y\r\n\r\n'), false, { status: 200, body: 'abc', again: true }],
  [
    'chunks of capitals',
    chunked('A\r\n0123456789\r\n0\r\n\r\n'),
    false,
    { status: 200, body: '0123456789', again: true },
  ],
  ['no length, and the end', `${ok}\r\nabc`, true, { status: 200, body: 'abc' }],
  [
    'nothing more to say',
    `${ok}connection: close\r\ncontent-length: 3\r\n\r\nabc`,
    false,
    { status: 200, body: 'abc' },
  ],
  ['an old version', 'HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc', false, { status: 200, body: 'abc' }],
  [
    'an old version that keeps the connection',
    'HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 3\r\n\r\nabc',
    false,
    { status: 200, body: 'abc', again: true },
  ],
  [
    'a connection for a second',
    `${ok}keep-alive: timeout=1\r\ncontent-length: 0\r\n\r\n`,
    false,
    { status: 200, again: true },
  ],
  ['a connection for no time', `${ok}keep-alive: timeout=0\r\ncontent-length: 0\r\n\r\n`, false, { status: 200 }],
  ['no body with 204', 'HTTP/1.1 204 No Content\r\n\r\n', false, { status: 204, body: '', again: true }],
  ['no body with 304', 'HTTP/1.1 304 x\r\ncontent-length: 9\r\n\r\n', false, { status: 304, body: '', again: true }],
  ['100 first', `HTTP/1.1 100 Continue\r\n\r\n${sized(1, 'a')}`, false, { status: 200, body: 'a', again: true }],
  [
    '103 twice first',
    `${'HTTP/1.1 103 x\r\na: b\r\n\r\n'.repeat(2)}${sized(1, 'a')}`,
    false,
    { status: 200, body: 'a' },
  ],
  ['bytes behind the answer', sized(3, 'abcde'), false, { status: 200, body: 'abc' }],
  ['a second answer', sized(1, 'a') + sized(1, 'b'), false, { status: 200, body: 'a' }],
  ['bytes behind the last chunk', chunked('0\r\n\r\nx'), false, { status: 200, body: '' }],
  ['a body with 204', 'HTTP/1.1 204 x\r\n\r\nabc', false, { status: 204, body: '' }],
  ['spaces around a value', `${ok}content-length: \t3 \t\r\n\r\nabc`, false, { status: 200, body: 'abc', again: true }],
  ['an end in the middle of its length', sized(9, 'abc'), true, cut],
  ['an end before its body', sized(9, ''), true, cut],
  ['an end in a chunk', chunked('9\r\nabc'), true, cut],
  ['an end between chunks', chunked('3\r\nabc\r\n'), true, cut],
  ['an end before the last line', chunked('3\r\nabc\r\n0\r\n'), true, cut],
  ['an end in the head', 'HTTP/1.1 200 OK\r\ncontent-le', true, { code: 'Unavailable', says: /other side closed/ }],
  ['nothing, and the end', '', true, { code: 'Unavailable', says: /other side closed/ }],
  ['another protocol', 'SSH-2.0-OpenSSH_9.6\r\n', false, foreign],
  ['an alert of TLS', '\x15\x03\x01\x00\x02\x02\x0a', false, foreign],
  ['a greeting of mail', '220 mail.example ESMTP\r\n', false, foreign],
  ['a page without a head', '<html></html>', false, foreign],
  ['an empty line first', `\r\n${sized(0, '')}`, false, foreign],
  ['HTTP/2', 'HTTP/2 200\r\n\r\n', false, damaged()],
  ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n', false, damaged()],
  ['a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n', false, damaged()],
  ['101', 'HTTP/1.1 101 x\r\n\r\n', false, damaged(/another protocol/)],
  [
    '100 that ends the connection',
    `HTTP/1.1 100 x\r\nconnection: close\r\n\r\n${sized(1, 'a')}`,
    false,
    damaged(/ends/),
  ],
  ['100 of an old version', `HTTP/1.0 100 x\r\n\r\n${sized(1, 'a')}`, false, damaged(/ends before/)],
  ['100 without end', 'HTTP/1.1 100 x\r\n\r\n'.repeat(50), false, damaged(/does not come to its point/)],
  ['two lengths', `${ok}content-length: 3\r\ncontent-length: 4\r\n\r\nabcd`, false, damaged(/length/)],
  ['the same length twice', `${ok}content-length: 3\r\ncontent-length: 3\r\n\r\nabc`, false, damaged(/length/)],
  ['a list of lengths', `${ok}content-length: 3, 3\r\n\r\nabc`, false, damaged(/length/)],
  ['a length below nothing', `${ok}content-length: -3\r\n\r\n`, false, damaged(/length/)],
  ['a length with a sign', `${ok}content-length: +3\r\n\r\nabc`, false, damaged(/length/)],
  ['a length in hex', `${ok}content-length: 0x3\r\n\r\nabc`, false, damaged(/length/)],
  ['a length beyond all numbers', `${ok}content-length: ${'9'.repeat(20)}\r\n\r\n`, false, damaged(/length/)],
  ['a length of nothing written', `${ok}content-length:\r\n\r\n`, false, damaged(/length/)],
  ['a length and chunks', `${ok}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n`, false, damaged(/length and/)],
  ['chunks in an old version', 'HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', false, damaged(/encoding/)],
  ['another transfer encoding', `${ok}transfer-encoding: gzip, chunked\r\n\r\n`, false, damaged(/encoding/)],
  ['chunks twice', `${ok}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n`, false, damaged(/encoding/)],
  ['a line that goes on', `${ok}x: a\r\n b\r\ncontent-length: 0\r\n\r\n`, false, damaged()],
  ['a line without a colon', `${ok}bad header\r\n\r\n`, false, damaged()],
  ['a space before the colon', `${ok}content-length : 3\r\n\r\nabc`, false, damaged()],
  ['a header without a name', `${ok}: x\r\n\r\n`, false, damaged()],
  ['a bare line feed', `${ok}x: a\ncontent-length: 0\r\n\r\n`, false, damaged()],
  ['a bare carriage return', `${ok}x: a\rcontent-length: 0\r\n\r\n`, false, damaged()],
  ['a NUL', `${ok}x: a\0b\r\n\r\n`, false, damaged()],
  ['a head without end', `${ok}x: ${'y'.repeat(40_000)}`, false, { code: 'Unavailable', says: /overflow/i }],
  ['many headers without end', ok + 'x: y\r\n'.repeat(9_000), false, { code: 'Unavailable', says: /overflow/i }],
  ['a chunk without a size', chunked('\r\nabc\r\n'), false, inBody(/no size/)],
  ['a chunk of a size that is none', chunked('zz\r\nabc\r\n'), false, inBody(/no size/)],
  ['a chunk of a size below nothing', chunked('-1\r\nabc\r\n'), false, inBody(/no size/)],
  ['a chunk beyond all numbers', chunked(`${'f'.repeat(17)}\r\nabc`), false, inBody(/no size/)],
  ['a chunk longer than its size', chunked('3\r\nabcd\r\n0\r\n\r\n'), false, inBody(/longer/)],
  ['a bare line feed after a size', chunked('3\nabc\r\n0\r\n\r\n'), false, inBody(/no end/)],
  ['a bare line feed after a chunk', chunked('3\r\nabc\n0\r\n\r\n'), false, inBody()],
  ['a size without end', chunked(`3;${'x'.repeat(9_000)}`), false, inBody(/too long/)],
  ['a trailer that is none', chunked('0\r\nbad\r\n\r\n'), false, inBody(/no header/)],
  ['a trailer without end', chunked(`0\r\n${'x: y\r\n'.repeat(9_000)}`), false, inBody(/too much/)],
]

/** A server that says `said` to the first request of all, and `sized(2, 'ok')` to others. */
async function serve(said: string, closes: boolean) {
  const sockets: Socket[] = []
  let asked = 0
  const server = createServer(socket => {
    sockets.push(socket)
    socket.on('error', () => {}).setNoDelay(true)
    socket.on('data', () => {
      if (asked++ > 0) return void socket.write(sized(2, 'ok'))
      socket.write(said, 'latin1')
      if (closes) socket.end()
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  undo.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets }
}

async function ask(client: ReturnType<typeof network>, origin: string) {
  const { statusCode, body } = await client.request({ origin, path: '/', method: 'GET' })
  try {
    return { status: statusCode, body: Buffer.from(await body.bytes()).toString('latin1') }
  } catch (error) {
    return { status: statusCode, error }
  }
}

describe('a server answers with', () => {
  for (const [what, said, closes, expected] of scripts)
    it(what, async () => {
      const { origin, sockets } = await serve(said, closes)
      const ways = { caFile: undefined, proxy: undefined, noProxy: [], store: origin }
      const client = network({ ...ways, connectTimeoutMs: 60_000, maxConnections: 1, info() {}, warn() {} })
      undo.push(() => client.destroy())
      const found = await ask(client, origin).catch((error: unknown) => ({ status: 0, error }))
      if ('code' in expected) {
        assert.ok('error' in found, `status ${found.status} came instead of an error`)
        const { code, retryable, message } = faultOfNetwork(found.error, never)
        assert.deepEqual([code, retryable], [expected.code, true])
        assert.match(message, expected.says)
        assert.equal(found.status, expected.body ? 200 : 0)
      } else {
        assert.ok(!('error' in found), String('error' in found && found.error))
        assert.equal(found.status, expected.status)
        if (expected.body !== undefined) assert.equal(found.body, expected.body)
      }
      // Whatever came, the next request has an answer of its own, over the same connection only if that is clean.
      assert.deepEqual(await ask(client, origin), { status: 200, body: 'ok' })
      if ('code' in expected) assert.equal(sockets.length, 2)
      else if (expected.again) assert.equal(sockets.length, 1)
    })
})

it('chunks of one byte do not become as many pieces in memory', () => {
  const pieces: Buffer[] = []
  const reader = new Reader({ head() {}, piece: bytes => void pieces.push(bytes), complete() {} })
  const said = Buffer.from(chunked(`${'1\r\nx\r\n'.repeat(10_000)}0\r\n\r\n`))
  reader.expect('GET')
  for (let at = 0; at < said.byteLength; ) {
    const taken = said.copy(reader.buffer(), 0, at)
    reader.received(taken)
    at += taken
  }
  assert.equal(Buffer.concat(pieces).toString(), 'x'.repeat(10_000))
  assert.ok(pieces.length < 10, `${pieces.length} pieces`)
})
