/** From an answer over HTTP to its text, or to the bytes of an object. */
import { type Bytes, type Content, checkedContent, type Range } from '../../bytes.ts'
import { Fault } from '../../fault.ts'
import type { HttpResponse } from '../network/client.ts'
import { faultOfNetwork } from '../network/faults.ts'
import type { Dialect, Draft, HttpAnswer } from './dialect.ts'
import { withoutSecrets } from './secrets-sent.ts'
import { isStrange, notTheStores } from './stranger.ts'

export type Sent = HttpResponse & Pick<HttpAnswer, 'secrets'>

/** Up to this size a body travels in one buffer, either way. */
export const WHOLE_BYTES = 1024 * 1024
const LONGEST_MESSAGE = 64 * 1024
/** Headers that the bytes of an object are compared with. */
const TAGS = ['etag', 'content-md5', 'x-ms-blob-content-md5']

/** An answer with its text. A listing must be whole; of an error, which may be a long page, the beginning is enough. */
export async function readAnswer(
  { statusCode: status, headers, body, secrets }: Sent,
  signal: AbortSignal,
  longestPage?: number,
): Promise<HttpAnswer> {
  const longest = longestPage ?? LONGEST_MESSAGE
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of body) {
      size += chunk.byteLength
      if (size > longest && longestPage !== undefined)
        throw new Fault('Internal', `a page of a listing has more than ${longest} bytes`)
      chunks.push(chunk)
      if (size > longest) break
    }
  } catch (error) {
    throw faultOfSending(error, signal)
  }
  const text = Buffer.concat(chunks).toString('utf8')
  return { status, headers, text: status < 300 ? text : withoutSecrets(text, secrets()), secrets }
}

/** A failure of the network during a request. Whether the store carried it out is not known. */
export function faultOfSending(error: unknown, signal: AbortSignal): Fault {
  const fault = faultOfNetwork(error, signal)
  return error instanceof Fault ? fault : fault.with({ doubtful: true })
}

/** Replaces headers that came several times with the same value by one. */
export function withoutDoubles(answer: Sent): Sent {
  const headers = Object.entries(answer.headers)
  if (!headers.some(([, value]) => Array.isArray(value))) return answer
  const once = headers.map(([name, value]) => [
    name,
    Array.isArray(value) && new Set(value).size === 1 ? value[0] : value,
  ])
  return { ...answer, headers: Object.fromEntries(once) }
}

/** The content of a whole object, with the digest that the answer names. */
export function withDigest(content: Content, dialect: Dialect, key: string, { headers }: Sent): Content {
  const digest = dialect.digestOf(key, headers)
  return { ...content, whole: true, ...(digest !== undefined && { digest }) }
}

/** The range that a server says it sent, when the request was for more than there is, from the first byte on. */
export function arrivedRange({ headers }: Sent): Range | undefined {
  const [, end] = /^bytes \d+-(\d+)\//.exec(String(headers['content-range'])) ?? []
  return end === undefined ? undefined : { start: 0, end: Number(end) + 1 }
}

/** Without the query, which may hold a signature. */
export function requestLine({ method, path }: Draft, answer: Sent, ms: number, idHeader: string): string {
  const id = answer.headers[idHeader] ?? '-'
  return `${method} ${path}: HTTP ${answer.statusCode} in ${ms.toFixed(0)} ms, request ${id}`
}

/** Closes an answer that is not wanted, and its connection. */
export function dropAnswer({ body }: Sent): void {
  body.destroy()
}

/**
 * The content of an answer to GET, after its headers were checked: exactly the requested range, or the whole object.
 * Wrong headers may come from something on the way, so another try may help. `total`: bytes of the object.
 */
export async function contentOfAnswer(dialect: Dialect, answer: Sent, range: Range | undefined, signal: AbortSignal) {
  if (isStrange(answer.headers, dialect.marked(answer.headers)))
    throw notTheStores(await readAnswer(answer, signal), 'no mark of the store')
  // We do not ask for compression. An object that is stored compressed has a tag of its own bytes; one that a proxy has
  // compressed has a weak tag.
  const { 'content-encoding': encoding, etag } = answer.headers
  const compressed =
    /^(x-)?(gzip|deflate|br|zstd|compress)$/i.test(String(encoding)) && /^W\/|-gzip"?$|^undefined$/.test(String(etag))
  const wrong = (words: string) => new Fault('Internal', words, { retryable: true })
  // With two different ones, we would not know which to compare.
  const twice = TAGS.find(name => Array.isArray(answer.headers[name]))
  let length = Number(answer.headers['content-length'] ?? Number.NaN)
  let problem: Fault | undefined
  let total = length
  // A server may answer with the whole object instead of a range. That is right if the range is all of it.
  const isAll = answer.statusCode === 200 && range?.start === 0 && range.end === length
  if (compressed)
    problem = new Fault('Unavailable', `the answer was compressed on the way (${encoding})`, {
      remedy: 'A proxy in front of the store compresses answers: turn that off for the store.',
    })
  else if (twice) problem = wrong(`the answer has two different headers ${twice}`)
  else if (range && !isAll) {
    const [, start, end, whole] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(String(answer.headers['content-range'])) ?? []
    total = Number(whole)
    if (answer.headers['content-length'] === undefined) length = Number(end) + 1 - Number(start)
    if (answer.statusCode !== 206 || Number(start) !== range.start)
      problem = wrong(`the server answered ${answer.statusCode} to a request for a range of bytes`)
    else if (total < range.end)
      problem = new Fault(
        'BadRequest',
        `bytes ${range.start} to ${range.end} were requested of an object of ${total} bytes`,
      )
    else if (Number(end) + 1 !== range.end || length !== range.end - range.start)
      problem = wrong('the server sent another range of bytes than the requested one')
  } else if (answer.statusCode !== 200) problem = wrong(`the server answered ${answer.statusCode} to a GET`)
  if (!problem && !Number.isSafeInteger(length)) problem = wrong('the answer does not say how long it is')
  if (problem) {
    dropAnswer(answer)
    throw problem
  }
  return { content: checkedContent(length, bodyOf(answer, length, signal)), total }
}

async function* bodyOf({ body, headers }: Sent, length: number, signal: AbortSignal): Bytes {
  try {
    // What comes in chunks may be longer than it says elsewhere.
    if (length > WHOLE_BYTES || headers['content-length'] === undefined) return yield* body
    const bytes = await body.bytes()
    if (bytes.byteLength > 0) yield bytes
  } catch (error) {
    throw faultOfNetwork(error, signal)
  }
}

export function otherBytes(): Fault {
  return new Fault('Corrupt', 'the store acknowledged other bytes than those it was sent', { retryable: true })
}
