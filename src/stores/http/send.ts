/** Authorises and sends one request, and judges its answer as far as that is the same for all providers. */
import type { Bytes } from '../../bytes.ts'
import { Fault } from '../../fault.ts'
import { unlessAborted } from '../unless-aborted.ts'
import {
  dropAnswer,
  faultOfSending,
  readAnswer,
  requestLine,
  type Sent,
  WHOLE_BYTES,
  withoutDoubles,
} from './answer.ts'
import { type Dialect, type Draft, encodeQuery } from './dialect.ts'
import type { HttpStoreOptions } from './options.ts'
import { secretsIn } from './secrets-sent.ts'
import { markWatch, notTheStores } from './stranger.ts'

/** A body in memory is sent in slices of this size: each restarts the time limit for the answer. */
const SLICE_BYTES = 256 * 1024
/**
 * After the last slice is handed over, the kernel may still hold so much of the body, and we cannot see it leave. Lines
 * that are slower than this rate are not supported.
 */
const KERNEL_BYTES = 4 * 1024 * 1024
const SLOWEST_BYTES_PER_S = 10_000

/** Sends drafts; rejects unless the answer is 2xx. The caller drains or destroys the body of the answer. */
export type Send = (
  verb: string,
  draft: Draft,
  signal: AbortSignal,
  body?: Bytes | Buffer,
  size?: number,
) => Promise<Sent>

export function createSend(dialect: Dialect, options: HttpStoreOptions): Send {
  const { dispatcher, logRequest, stallMs, requestTimeoutMs } = options
  const lacksMark = markWatch(headers => dialect.marked(headers))

  /** How long the head of an answer may take after the last byte of the request was handed over. */
  const longestWait = (length: number, { slow = false }: Draft) =>
    slow
      ? requestTimeoutMs
      : Math.min(stallMs + (Math.min(length, KERNEL_BYTES) / SLOWEST_BYTES_PER_S) * 1000, requestTimeoutMs)

  const ask = async (
    verb: string,
    draft: Draft,
    signal: AbortSignal,
    body: Bytes | Buffer | undefined,
    size: number | undefined,
    second: boolean,
  ): Promise<Sent | undefined> => {
    const { around, text } = draft
    let handed = 0
    const payload = sliced(body !== undefined && around ? framed(around, body) : (body ?? text), bytes => {
      handed += bytes
    })
    const framing = around ? around.before.byteLength + around.after.byteLength : 0
    const length = size === undefined ? Buffer.byteLength(text ?? '') : size + framing
    const started = performance.now()
    try {
      const { headers, query, again } = await dialect.authorize(draft, length, body !== undefined, signal)
      if (length > 0 || draft.method === 'PUT' || draft.method === 'POST') headers['content-length'] = String(length)
      const queries = [encodeQuery(draft.query ?? []), query].filter(part => part !== '')
      const secrets = () => secretsIn(headers, query)
      const asked = dispatcher.request({
        origin: dialect.origin,
        path: queries.length > 0 ? `${draft.path}?${queries.join('&')}` : draft.path,
        method: draft.method,
        headers,
        body: payload ?? null,
        signal,
        headersTimeout: longestWait(length, draft),
        bodyTimeout: stallMs,
      })
      // The first contact with an origin does not look at the signal, and may take long.
      const answer = withoutDoubles(Object.assign(await unlessAborted(asked, signal), { secrets }))
      logRequest?.(requestLine(draft, answer, performance.now() - started, dialect.requestId))
      const { statusCode: status } = answer
      const unmarked = lacksMark(draft, verb, answer.headers)
      if (status < 300 || status === draft.alsoFine) {
        if (unmarked) throw notTheStores(await readAnswer(answer, signal), 'no request id, which earlier answers had')
        const isWhole = payload === undefined || typeof payload === 'string' || Buffer.isBuffer(payload)
        if (status < 300 && !isWhole && handed < length) {
          dropAnswer(answer)
          throw new Fault('Unavailable', `a write was acknowledged after ${handed} of its ${length} bytes`, {
            doubtful: true,
          })
        }
        return answer
      }
      if (isWordless(dialect, draft, answer)) return answer
      const { origin } = dialect
      const inUpload = draft.inUpload ?? false
      const refusal = { ...(await readAnswer(answer, signal)), verb, origin, inUpload, draft }
      const fault = dialect.fault(refusal)
      if (second || !again?.(refusal)) throw fault
      // A body that was streamed is used up: the caller must open its source again.
      if (body !== undefined && !Buffer.isBuffer(body)) throw fault.with({ retryable: true })
      return undefined
    } catch (error) {
      throw faultOfSending(error, signal)
    }
  }
  return async (verb, draft, signal, body, size) => {
    const answer = await ask(verb, draft, signal, body, size, false)
    return answer ?? ((await ask(verb, draft, signal, body, size, true)) as Sent)
  }
}

function isWordless(dialect: Dialect, { method, wordless }: Draft, { statusCode, headers }: Sent): boolean {
  return wordless?.includes(statusCode) === true && (method === 'HEAD' || !dialect.marked(headers))
}

/** A small body stays one buffer: one write to the socket, and much less work than a stream. */
function framed({ before, after }: NonNullable<Draft['around']>, body: Bytes | Buffer): Bytes | Buffer {
  if (Buffer.isBuffer(body)) return Buffer.concat([before, body, after])
  return (async function* () {
    yield before
    yield* body
    yield after
  })()
}

/** `handed` gets the length of each piece that leaves a body which does not go out as a whole. */
function sliced(
  payload: Bytes | Buffer | string | undefined,
  handed: (bytes: number) => void,
): Bytes | Buffer | string | undefined {
  if (payload === undefined || typeof payload === 'string') return payload
  if (Buffer.isBuffer(payload)) return payload.byteLength <= WHOLE_BYTES ? payload : counted(slicesOf(payload), handed)
  return counted(payload, handed)
}

async function* slicesOf(payload: Buffer): Bytes {
  for (let at = 0; at < payload.byteLength; at += SLICE_BYTES) yield payload.subarray(at, at + SLICE_BYTES)
}

async function* counted(body: Bytes, handed: (bytes: number) => void): Bytes {
  for await (const chunk of body) {
    handed(chunk.byteLength)
    yield chunk
  }
}
