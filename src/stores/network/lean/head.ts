/**
 * The head of an answer. Strict: what two programs may read differently is refused, because then one of them could be
 * made to take the bytes of one answer for those of another.
 */

/** Status line and headers together. */
export const LONGEST_HEAD = 16 * 1024

/** How the end of a body is found: by its length, by its chunks, or by the end of the connection. */
export type Framing = number | 'chunked' | 'until-close'

export interface Head {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[]>>
  readonly framing: Framing
  /** Whether its sender goes on with the connection. */
  readonly persists: boolean
  /** Whether the connection may serve again afterwards. */
  readonly keeps: boolean
  /** How long the server keeps it without a request, in ms, if it says so. */
  readonly idleMs: number | undefined
}

const BEGIN = 'HTTP/1.'
const STATUS = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [\t -~\x80-\xff]*)?$/
const HEADER = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t -~\x80-\xff]*)$/
const LENGTH = /^\d{1,15}$/
/** A server may close a connection a little earlier than it says. Orthanc says one second. */
const CLOSES_EARLIER_MS = 1000
const earlierOf = (ms: number) => Math.min(CLOSES_EARLIER_MS, ms / 2)

/** `text`: in latin1, without the empty line at its end. Throws on everything that is not a head of HTTP/1.0 or 1.1. */
export function parseHead(text: string, method: string): Head {
  const [first = '', ...lines] = text.split('\r\n')
  const [, minor, digits] = STATUS.exec(first) ?? []
  if (digits === undefined) throw invalid('its first line is none')
  const headers: Record<string, string | string[]> = Object.create(null)
  for (const line of lines) {
    const [, name, value] = HEADER.exec(line) ?? []
    if (name === undefined || value === undefined) throw invalid('a line is no header')
    add(headers, name.toLowerCase(), value.trimEnd())
  }
  const status = Number(digits)
  const framing = framingOf(headers, minor === '0')
  const bodiless = method === 'HEAD' || status < 200 || status === 204 || status === 304
  const connection = String(headers['connection'] ?? '').toLowerCase()
  const persists = minor === '0' ? /\bkeep-alive\b/.test(connection) : !/\bclose\b/.test(connection)
  const idleMs = idleOf(headers['keep-alive'])
  return {
    status,
    headers,
    framing: bodiless ? 0 : framing,
    persists,
    keeps: persists && (bodiless || framing !== 'until-close') && (idleMs ?? 1) > 0,
    idleMs,
  }
}

/** Whether these bytes may be the beginning of a head. What speaks another protocol need not send a whole line. */
export function mayBeHead(bytes: Buffer): boolean {
  const length = Math.min(bytes.byteLength, BEGIN.length)
  return bytes.toString('latin1', 0, length) === BEGIN.slice(0, length) || bytes.toString('latin1', 0, 5) === 'HTTP/'
}

export function noHttp(): Error {
  return Object.assign(new Error('the answer does not begin as one of HTTP'), { code: 'HPE_NO_HTTP' })
}

export function invalid(why: string): Error {
  return Object.assign(new Error(`the answer is not valid HTTP: ${why}`), { code: 'HPE_INVALID' })
}

/** Whether a line in the head, or after the last chunk, is a header. */
export function isHeader(line: string): boolean {
  return HEADER.test(line)
}

function add(headers: Record<string, string | string[]>, name: string, value: string): void {
  const before = headers[name]
  if (before === undefined) headers[name] = value
  else if (Array.isArray(before)) before.push(value)
  else headers[name] = [before, value]
}

function framingOf(headers: Head['headers'], old: boolean): Framing {
  const { 'content-length': length, 'transfer-encoding': coding } = headers
  if (coding !== undefined) {
    if (length !== undefined) throw invalid('it has a length and chunks')
    if (old || typeof coding !== 'string' || coding.toLowerCase() !== 'chunked')
      throw invalid('it has a transfer encoding other than chunks')
    return 'chunked'
  }
  if (length === undefined) return 'until-close'
  if (typeof length !== 'string' || !LENGTH.test(length)) throw invalid('its length is none, or there are two')
  return Number(length)
}

function idleOf(header: string | string[] | undefined): number | undefined {
  const [, seconds] = /\btimeout\s*=\s*(\d{1,9})\b/i.exec(String(header)) ?? []
  if (seconds === undefined) return undefined
  const ms = Number(seconds) * 1000
  return ms - earlierOf(ms)
}
