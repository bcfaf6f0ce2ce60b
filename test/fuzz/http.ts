/** Bytes in place of an answer: what our reader makes of them. */
import assert from 'node:assert/strict'
import { get } from 'node:http'
import { Duplex } from 'node:stream'
import { fc } from '../support/property.ts'
import { type ReadAnswer, readAnswer } from '../support/read-answer.ts'
import type { Claims } from './claim.ts'

const token = fc.constantFrom(
  'x',
  'etag',
  'Content-Length',
  'transfer-encoding',
  'connection',
  'keep-alive',
  '__proto__',
)
const value = fc.oneof(
  fc.constantFrom('0', '3', '5, 5', '+3', '0x3', '-1', '99999999999999999999', ''),
  fc.constantFrom('chunked', 'gzip, chunked', 'CHUNKED', 'close', 'keep-alive', 'timeout=5', 'timeout=1', 'identity'),
  fc.string({ maxLength: 12 }),
)
const lineEnd = fc.oneof({ weight: 12, arbitrary: fc.constant('\r\n') }, fc.constantFrom('\n', '\r', '\r\r\n', ''))
const header = fc
  .tuple(token, fc.constantFrom(':', ': ', ':\t ', ' :', ''), value, lineEnd)
  .map(parts => parts.join(''))
const firstLine = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.constantFrom('HTTP/1.1 200 OK', 'HTTP/1.1 206', 'HTTP/1.0 200 OK', 'HTTP/1.1 404 Not Found'),
  },
  fc.constantFrom('HTTP/1.1 204 No Content', 'HTTP/1.1 304 x', 'HTTP/1.1 100 Continue', 'HTTP/1.1 101 x', 'HTTP/2 200'),
  fc.constantFrom('HTTP/1.1  200 OK', 'HTTP/1.1 20 OK', 'HTTP/1.1 2000 OK', 'http/1.1 200 OK', 'ICE/1.0 200 OK', ''),
)
const chunk = fc.constantFrom(
  '3\r\nabc\r\n',
  '3;x=y\r\nabc\r\n',
  '03\r\nabc\r\n',
  '3\nabc\r\n',
  'zz\r\n',
  '4\r\nabc\r\n',
)
const lastChunk = fc.constantFrom('0\r\n\r\n', '0\r\nx: y\r\n\r\n', '0\r\nbad\r\n\r\n', '0\r\n', '')
const body = fc.oneof(
  fc.constantFrom('', 'abc', 'abcdef', 'HTTP/1.1 200 OK\r\n\r\n'),
  fc.tuple(fc.array(chunk, { maxLength: 3 }), lastChunk).map(([chunks, last]) => chunks.join('') + last),
)
const message = fc
  .tuple(firstLine, lineEnd, fc.array(header, { maxLength: 4 }), lineEnd, body)
  .map(([first, end, headers, blank, rest]) => first + end + headers.join('') + blank + rest)
const bytes = fc
  .oneof(
    { weight: 8, arbitrary: message },
    fc.tuple(message, message).map(both => both.join('')),
    fc.uint8Array({ maxLength: 60 }).map(some => Buffer.from(some).toString('latin1')),
  )
  .map(text => Buffer.from(text, 'latin1'))
const method = fc.constantFrom('GET', 'HEAD')
const cuts = fc.array(fc.nat({ max: 300 }), { maxLength: 12 })

function piecesOf(all: Buffer, at: readonly number[]): Buffer[] {
  const places = [0, ...at.filter(place => place < all.byteLength).sort((a, b) => a - b), all.byteLength]
  return places.slice(1).map((end, i) => all.subarray(places[i], end))
}

function outcome(work: () => ReadAnswer): ReadAnswer | string {
  try {
    return work()
  } catch (error) {
    const { code, message: said } = error as Error & { code?: string }
    assert.match(String(code), /^(HPE_|UND_ERR_)/, said)
    return 'refused'
  }
}

/** What Node's own client makes of these bytes; undefined = it refuses them, or they do not end. */
function asNodeReads(all: Buffer, how: string): Promise<Pick<ReadAnswer, 'status' | 'body'> | undefined> {
  return new Promise(resolve => {
    const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
    let answered = false
    const request = get({ createConnection: () => socket as never, method: how, host: 'h' }, answer => {
      answered = true
      const chunks: Buffer[] = []
      answer
        .on('data', (one: Buffer) => chunks.push(one))
        .on('error', () => resolve(undefined))
        .on('close', () => {
          const text = Buffer.concat(chunks).toString('latin1')
          resolve(answer.complete ? { status: answer.statusCode ?? 0, body: text } : undefined)
        })
    })
    const none = () => {
      if (!answered) resolve(undefined)
    }
    request.on('error', none).on('close', none)
    request.once('socket', () =>
      setImmediate(() => {
        socket.push(all)
        socket.push(null)
      }),
    )
  })
}

export const claims: Claims = {
  'an answer is the same, however its bytes arrive': {
    runs: 3_000,
    property: fc.property(bytes, method, cuts, fc.boolean(), (all, how, at, ends) => {
      const whole = outcome(() => readAnswer([all], how, ends))
      const split = outcome(() => readAnswer(piecesOf(all, at), how, ends))
      assert.deepEqual(split, whole)
      const each = outcome(() => readAnswer(piecesOf(all, [...all.keys()]), how, ends))
      assert.deepEqual(each, whole)
    }),
  },
  "an answer that is complete is the same for Node's own client": {
    runs: 500,
    property: fc.asyncProperty(bytes, method, async (all, how) => {
      const found = outcome(() => readAnswer([all], how))
      if (typeof found === 'string' || found.end !== 'complete') return
      const { status, body: text } = found
      assert.deepEqual(await asNodeReads(all, how), { status, body: text })
    }),
  },
}
