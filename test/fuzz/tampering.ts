/**
 * What becomes of an answer between a store and us. Written to the socket byte by byte, because an HTTP server would
 * not write most of it. A tampering never makes up what only the store can know: its words for an absence, or its mark
 * with a success.
 */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Meddle, Request } from '../support/clouds.ts'
import { fc } from '../support/property.ts'
import { bodies, errors } from './bodies.ts'

/** Somebody who stays between the store and us. */
const EVERY = 99

export interface Tampering {
  /** Which request, from 0; EVERY = all of them. */
  readonly nth: number
  /** `instead`: the store never gets the request. `after`: its answer is lost. `changed`: its answer is changed. */
  readonly how: 'instead' | 'after' | 'changed'
  /** 0 = as it is, or 200. */
  readonly status: number
  /** Name and value; a value of null takes a header out, a name in capitals adds one beside it. */
  readonly headers: readonly (readonly [string, string | null])[]
  /** The name of a body, or what is done to the right one. */
  readonly body: string
  readonly length: 'right' | 'none' | 'chunked' | 'both' | 'more' | 'less' | 'twice' | 'odd'
}

const MD5 = 'd41d8cd98f00b204e9800998ecf8427e'
const VALUES: Readonly<Record<string, readonly (string | null)[]>> = {
  etag: [null, '', '"', 'W/"x"', '"x"', `"${MD5}"`, `W/"${MD5}"`, 'x'.repeat(7000), '"e"', '\u00e9'],
  'content-type': [null, 'text/html', 'application/json', 'application/xml', 'application/octet-stream', ''],
  'content-range': [
    null,
    '',
    'bytes',
    'bytes 0-3/4',
    'bytes 0-3/*',
    'bytes */0',
    'bytes 5-1/9',
    'bytes 0-99999999999999999999/9',
    'x',
  ],
  'content-encoding': [null, 'gzip', 'br', 'identity', 'x'],
  'transfer-encoding': ['chunked', 'gzip, chunked', 'identity', 'x'],
  connection: ['close', 'keep-alive', 'upgrade'],
  upgrade: ['h2c'],
  trailer: ['x'],
  'retry-after': ['0.001', '-1', '', 'x', 'NaN', 'Fri, 31 Dec 1999 23:59:59 GMT'],
  date: [
    null,
    '',
    'x',
    'Sat, 13 Sep 275760 00:00:00 GMT',
    'Thu, 01 Jan 1970 00:00:00 GMT',
    '-1',
    'Fri, 01 Jan 2100 00:00:00 GMT',
  ],
  location: [
    null,
    '',
    'x',
    'http://',
    'https://elsewhere.example/',
    '//',
    'http://x/?upload_id=',
    `https://${'h'.repeat(5000)}/`,
    'javascript:alert(1)',
  ],
  'last-modified': [null, '', 'x'],
  range: [null, 'bytes=0-0', 'bytes=0-99999999', 'x'],
  'x-amz-request-id': [null, ''],
  'x-amz-bucket-region': ['\u001b[31m'.slice(1), 'r'.repeat(5000)],
  'x-ms-request-id': [null, ''],
  'x-ms-error-code': [
    null,
    '',
    'constructor',
    '__proto__',
    'ServerBusy',
    'e'.repeat(5000),
    'InvalidBlockList',
    'AuthenticationFailed',
  ],
  'x-guploader-uploadid': [null, ''],
  'x-goog-hash': [null, '', 'crc32c=', 'md5=x', 'crc32c=AAAAAA==', 'x'],
  'x-goog-stored-content-encoding': ['gzip', 'identity', ''],
  'x-goog-generation': [null, '', 'x', '\u00e9'],
  'content-md5': [null, '', 'x', '1B2M2Y8AsgTpgAmY7PhCfg=='],
  'x-ms-blob-content-md5': [null, '', 'x'],
  'x-amz-server-side-encryption': ['aws:kms', 'AES256'],
  huge: ['h'.repeat(20_000)],
} // prettier-ignore

const header = fc
  .constantFrom(...Object.keys(VALUES))
  .chain(name =>
    fc.tuple(
      fc.constantFrom(name, name, name, name.toUpperCase()),
      fc.constantFrom(...(VALUES[name] as (string | null)[])),
    ),
  )
const status = fc.oneof(
  { arbitrary: fc.constant(0), weight: 4 },
  {
    arbitrary: fc.constantFrom(
      200,
      201,
      202,
      203,
      204,
      205,
      206,
      207,
      301,
      302,
      304,
      307,
      308,
      400,
      401,
      403,
      404,
      405,
      408,
      409,
      410,
      411,
      412,
      413,
      416,
      418,
      429,
      431,
      451,
      499,
      500,
      501,
      502,
      503,
      504,
      505,
      507,
      511,
      520,
      599,
    ),
    weight: 6,
  },
  { arbitrary: fc.constantFrom(100, 101, 102, 103, 199, 600, 999, 99, 0), weight: 1 },
  { arbitrary: fc.integer({ min: 100, max: 599 }), weight: 1 },
) // prettier-ignore
const body = fc.oneof(
  { arbitrary: fc.constantFrom('same', 'same', 'flip', 'cut', 'longer', 'endless'), weight: 3 },
  { arbitrary: fc.constantFrom('empty', 'echo', 'page', 'text', 'health'), weight: 2 },
  { arbitrary: fc.constantFrom(...Object.keys(bodies)), weight: 5 },
)

export const tampering: fc.Arbitrary<Tampering> = fc.record({
  nth: fc.oneof(
    { arbitrary: fc.nat({ max: 2 }), weight: 4 },
    { arbitrary: fc.nat({ max: 9 }), weight: 1 },
    { arbitrary: fc.constant(EVERY), weight: 2 },
  ),
  how: fc.constantFrom('changed', 'after', 'instead'),
  status,
  headers: fc.array(header, { maxLength: 3 }),
  body,
  length: fc.constantFrom(
    'right',
    'right',
    'right',
    'right',
    'none',
    'chunked',
    'both',
    'more',
    'less',
    'twice',
    'odd',
  ),
})

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

/** Of the requests since it was made, those that `tamperings` name are answered as they say. */
export function meddling(tamperings: readonly Tampering[]): Meddle & { readonly count: () => number } {
  const turns = new WeakMap<Request, number>()
  let count = 0
  const meddle: Meddle = (request, response, done) => {
    const turn = turns.get(request) ?? count++
    turns.set(request, turn)
    const found = tamperings.find(({ nth }) => nth === turn || nth === EVERY)
    if (!found || (found.how === 'instead') === done) return false
    const nothing: Answer = { status: 200, headers: {}, body: Buffer.alloc(0) }
    if (found.how === 'changed') captured(response, answer => write(found, request, response, answer))
    else write(found, request, response, nothing)
    return found.how !== 'changed'
  }
  return Object.assign(meddle, { count: () => count })
}

/** What the server was about to answer. */
function captured(response: ServerResponse, use: (answer: Answer) => void): void {
  let status = 200
  response.writeHead = ((code: number, headers: Record<string, string> = {}) => {
    status = code
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, String(value))
    return response
  }) as ServerResponse['writeHead']
  response.end = ((bytes?: string | Buffer) => {
    const headers = Object.fromEntries(
      Object.entries(response.getHeaders()).map(([name, value]) => [name, String(value)]),
    )
    use({ status, headers, body: Buffer.from(bytes ?? '') })
    return response
  }) as ServerResponse['end']
}

function write(tampering: Tampering, request: Request, { socket }: ServerResponse, answer: Answer): void {
  if (!socket) return
  const status = tampering.status || answer.status
  const lines = Object.entries(answer.headers).filter(([name]) => name !== 'content-length')
  for (const [name, value] of tampering.headers) {
    const lower = name.toLowerCase()
    if (name === lower) for (let i = lines.length - 1; i >= 0; i--) if (lines[i]?.[0] === lower) lines.splice(i, 1)
    if (value !== null) lines.push([name, value])
  }
  const bytes = bodyOf(tampering.body, request, answer.body)
  const length = request.method === 'HEAD' ? (answer.headers['content-length'] ?? '0') : String(bytes.byteLength)
  const framing: Record<Tampering['length'], [string, string][]> = {
    right: [['content-length', length]],
    none: [],
    chunked: [['transfer-encoding', 'chunked']],
    both: [
      ['content-length', length],
      ['transfer-encoding', 'chunked'],
    ],
    more: [['content-length', String(Number(length) + 1)]],
    less: [['content-length', String(Math.max(0, Number(length) - 1))]],
    twice: [
      ['content-length', length],
      ['content-length', String(Number(length) + 1)],
    ],
    odd: [['content-length', '-1']],
  } // prettier-ignore
  const chunks = /chunked|both/.test(tampering.length)
  const head = [...lines, ...framing[tampering.length]].map(([name, value]) => `${name}: ${value}\r\n`).join('')
  socket.on('error', () => {})
  socket.write(Buffer.from(`HTTP/1.1 ${String(status).padStart(3, '0')} Words\r\n${head}\r\n`, 'latin1'))
  if (request.method === 'HEAD') return void socket.end()
  if (tampering.body === 'endless') endless(socket, chunks)
  else
    socket.end(
      chunks
        ? Buffer.concat([Buffer.from(`${bytes.byteLength.toString(16)}\r\n`), bytes, Buffer.from(`\r\n0\r\n\r\n`)])
        : bytes,
    )
}

function bodyOf(name: string, { line, headers }: Request, right: Buffer): Buffer {
  if (name === 'same') return right
  if (name === 'cut') return right.subarray(0, right.byteLength >> 1)
  if (name === 'longer') return Buffer.concat([right, Buffer.from('more')])
  if (name === 'flip') return Buffer.from(right.map((byte, i) => (i === right.byteLength >> 1 ? byte ^ 1 : byte)))
  if (name === 'echo') return Buffer.from(`<html><title>Blocked: ${line} ${JSON.stringify(headers)}</title></html>`)
  return Buffer.from(bodies[name] ?? '')
}

/** Until the reader ends. */
function endless(socket: Socket, chunks: boolean): void {
  const piece = Buffer.alloc(64 * 1024, 'a')
  const sent = chunks ? Buffer.concat([Buffer.from('10000\r\n'), piece, Buffer.from('\r\n')]) : piece
  const more = () => {
    while (!socket.destroyed && socket.writable && socket.write(sent));
  }
  socket.on('drain', more)
  more()
}

export const isErrorBody = (name: string) => name in errors
