/** The frames of docs/protocol.md. Only this file and plugin/wire.h know their layout. */
import { Fault } from '../fault.ts'

export const PROTOCOL = 6
export const HEADER_BYTES = 16
export const MAX_PAYLOAD = 16 * 1024 * 1024
export const UUID_BYTES = 36
/** Content up to this size travels with its call. */
export const INLINE_BYTES = 256 * 1024

export const Kind = {
  hello: 1,
  call: 2,
  return: 3,
  pull: 4,
  data: 5,
  reserve: 6,
  fill: 7,
  log: 8,
  errorCode: 9,
  grow: 10,
  ping: 11,
  pong: 12,
  upcall: 13,
  reply: 14,
  submit: 15,
  register: 16,
  metric: 17,
} as const

export const Verb = {
  start: 1,
  create: 2,
  read: 3,
  readRange: 4,
  remove: 5,
  stop: 6,
  rest: 7,
  jobStep: 8,
  jobStop: 9,
  jobReset: 10,
  jobRestore: 11,
  metrics: 12,
  background: 13,
} as const

/** Flags of the RETURN to START. */
export const StartFlag = { on: 1, ranges: 2, background: 4 } as const

/** What a REGISTER registers with Orthanc: its flags. */
export const Registration = { route: 1, jobType: 2, metrics: 3, explorer: 4 } as const

/** What kind of answer a REST call has: the flags of its RETURN. */
export const AnswerKind = { body: 0, error: 1, methodNotAllowed: 2 } as const

const LAST_KIND = 17

export interface Header {
  readonly length: number
  readonly kind: number
  readonly flags: number
  readonly status: number
  readonly argument: number
}

/** The fields of a frame to send. What is absent is zero. */
export type Fields = Partial<Omit<Header, 'length' | 'kind'>>

/** Decodes and checks a header. `Internal` on anything that plugin/ could not have sent. */
export function decodeHeader(bytes: Buffer): Header {
  const length = bytes.readUInt32LE(0)
  const kind = bytes.readUInt8(4)
  const argument = bytes.readUInt32LE(8) + bytes.readUInt32LE(12) * 2 ** 32
  if (length > MAX_PAYLOAD) throw new Fault('Internal', `a frame announces ${length} bytes, more than ${MAX_PAYLOAD}`)
  if (kind < 1 || kind > LAST_KIND) throw new Fault('Internal', `a frame is of unknown kind ${kind}`)
  if (!Number.isSafeInteger(argument)) throw new Fault('Internal', 'a frame has an argument beyond 2^53 - 1')
  return { length, kind, flags: bytes.readUInt8(5), status: bytes.readUInt16LE(6), argument }
}

/** The 16 bytes of a header. A payload of `length` bytes follows them. */
export function encodeHeader(kind: number, length: number, fields: Fields = {}): Buffer {
  const argument = fields.argument ?? 0
  const header = Buffer.allocUnsafe(HEADER_BYTES)
  header.writeUInt32LE(length, 0)
  header.writeUInt8(kind, 4)
  header.writeUInt8(fields.flags ?? 0, 5)
  header.writeUInt16LE(fields.status ?? 0, 6)
  header.writeUInt32LE(argument % 2 ** 32, 8)
  header.writeUInt32LE(Math.floor(argument / 2 ** 32), 12)
  return header
}

/** The plugin keeps no more of a log line, of a description or of the details of an answer. */
const MAX_TEXT = 4096

/** A text as a payload, cut to what the plugin keeps of it, between two characters. */
export function cutText(text: string): Buffer {
  const bytes = Buffer.from(text)
  if (bytes.byteLength <= MAX_TEXT) return bytes
  let end = MAX_TEXT
  while ((bytes.readUInt8(end) & 0xc0) === 0x80) end--
  return bytes.subarray(0, end)
}

/** Several texts in one payload: of each a u32 length, then its bytes. */
export function pack(...texts: readonly (string | Uint8Array)[]): Buffer {
  return Buffer.concat(
    texts.flatMap(text => {
      const bytes = Buffer.from(text as string)
      const length = Buffer.allocUnsafe(4)
      length.writeUInt32LE(bytes.byteLength)
      return [length, bytes]
    }),
  )
}

/** The texts of pack(). `Internal` when a length does not fit. */
export function unpack(payload: Buffer): string[] {
  const texts: string[] = []
  for (let rest = payload; rest.byteLength > 0; ) {
    const [text, after] = unpackFirst(rest)
    texts.push(text)
    rest = after
  }
  return texts
}

/** The first text of pack(), and what comes after it. */
export function unpackFirst(payload: Buffer): [text: string, rest: Buffer] {
  const end = payload.byteLength >= 4 ? 4 + payload.readUInt32LE(0) : Number.POSITIVE_INFINITY
  if (end > payload.byteLength) throw new Fault('Internal', 'a payload ends in the middle of a text')
  return [payload.toString('utf8', 4, end), payload.subarray(end)]
}
