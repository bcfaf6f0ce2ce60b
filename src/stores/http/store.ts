import type { Dispatcher } from 'undici'
import { type Bytes, type Content, collectSource, openWhole, type Range, type Source } from '../../bytes.ts'
import { Fault, isCode } from '../../fault.ts'
import { digestOf, digestOfSource } from '../digest.ts'
import { network } from '../network/network.ts'
import type { Stat, Store } from '../store.ts'
import { until } from '../wrappers/deadline.ts'
import { attempt, type RetryPolicy } from '../wrappers/retry.ts'
import {
  arrivedRange,
  contentOfAnswer,
  drop,
  lost,
  requestLine,
  type Sent,
  toldOf,
  WHOLE_BYTES,
  withDigest,
  withoutDoubles,
} from './answer.ts'
import { checkOf } from './check.ts'
import { type Dialect, type Draft, encodeQuery, type Headers } from './dialect.ts'
import { isUnreadable, looking } from './look.ts'
import { secretsIn } from './secrets-sent.ts'
import { markWatch, notTheStores } from './stranger.ts'
import { type Transfer, transferring } from './transfer.ts'

export interface HttpStoreOptions {
  readonly dispatcher: Dispatcher
  readonly policy: RetryPolicy
  /** Parts and ranges in parallel; undefined = one request per object, as long as the provider takes it so. */
  readonly transfer: Transfer | undefined
  /** Longest wait without a byte in either direction. */
  readonly stallMs: number
  /** Longest wait for anything. */
  readonly requestTimeoutMs: number
  /** One line per request, if wanted; and one per repeated attempt. */
  readonly logRequest: ((line: string) => void) | undefined
  readonly log: (line: string) => void
}

/** What the configuration says of connections, whatever the provider. */
export interface ConnectionOptions {
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly maxConnections: number
  readonly maxRetries: number
}

/** What a store is told of where it works, whatever the provider. */
export interface Environment {
  /** Orthanc's HttpsCACertificates. */
  readonly caFile: string | undefined
  /** Orthanc's HttpProxy. */
  readonly proxy: string | undefined
  /** Hosts that no proxy leads to; CloudStorage.NoProxy. */
  readonly noProxy?: readonly string[]
  /** What somebody should look at, though it is no failure yet. */
  readonly warn?: (line: string) => void
  /** An object that nobody writes, below the root path: permissions may end there. */
  readonly probeKey: string
}

const LONGEST_STALL_MS = 60_000
/** A body in memory is sent in slices: the wait for the answer begins anew with each. */
const SLICE_BYTES = 256 * 1024
/**
 * When the last slice is handed over, the kernel may still hold so much of it, and nobody sees it leave. A line that is slower
 * than this rate is not a line.
 */
const KERNEL_BYTES = 4 * 1024 * 1024
const SLOWEST_BYTES_PER_S = 10_000
const EVERYTHING = { start: 0, end: Number.MAX_SAFE_INTEGER }
const LONGEST_PAGE_TEXT = 16 * 1024 * 1024

/** Sends drafts; rejects unless the answer is 2xx. Whoever gets the answer drains or destroys its body. */
export type Send = (
  verb: string,
  draft: Draft,
  signal: AbortSignal,
  body?: Bytes | Buffer,
  size?: number,
) => Promise<Sent>

/** What a provider's configuration becomes for httpStore(). `origin`: where the store is. */
export function httpOptions(
  { connectTimeoutMs, requestTimeoutMs, maxConnections, maxRetries }: ConnectionOptions,
  { caFile, proxy, noProxy = [], warn }: Environment,
  origin: string,
  log: (line: string) => void,
): HttpStoreOptions {
  const ways = { caFile, proxy, noProxy, store: origin, info: log, warn: warn ?? log }
  return {
    dispatcher: network({ ...ways, connectTimeoutMs, maxConnections }),
    policy: { maxRetries },
    transfer: undefined,
    stallMs: Math.min(LONGEST_STALL_MS, requestTimeoutMs),
    requestTimeoutMs,
    logRequest: undefined,
    log,
  }
}

export function sender(dialect: Dialect, options: HttpStoreOptions): Send {
  const { dispatcher, logRequest, stallMs, requestTimeoutMs } = options
  const lacksMark = markWatch(headers => dialect.marked(headers))

  /** How long the head of an answer may take after the last byte of the request was handed over. */
  const patience = (length: number, { slow = false }: Draft) =>
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
    const payload = sliced(body !== undefined && around ? framed(around, body) : (body ?? text))
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
        body: (payload as Dispatcher.RequestOptions['body']) ?? null,
        signal,
        headersTimeout: patience(length, draft),
        bodyTimeout: stallMs,
      })
      // undici looks at the signal only once a request has a connection: it may wait long for one.
      const answer = withoutDoubles(Object.assign(await until(asked, signal), { secrets }))
      logRequest?.(requestLine(draft, answer, performance.now() - started, dialect.requestId))
      const { statusCode: status } = answer
      const unmarked = lacksMark(draft, verb, answer.headers)
      if (status < 300 || status === draft.alsoFine) {
        if (unmarked)
          throw notTheStores(await toldOf(answer, signal), 'no mark of the store, whose answers had one before')
        return answer
      }
      if (isWordless(dialect, draft, answer)) return answer
      const { origin } = dialect
      const refusal = { ...(await toldOf(answer, signal)), verb, origin, inUpload: draft.inUpload ?? false }
      const fault = dialect.fault(refusal)
      if (second || !again?.(refusal)) throw fault
      // What streams has gone and must be read anew, by whoever owns it.
      if (body !== undefined && !Buffer.isBuffer(body)) throw fault.with({ retryable: true })
      return undefined
    } catch (error) {
      throw lost(error, signal)
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

function sliced(payload: Bytes | Buffer | string | undefined): Bytes | Buffer | string | undefined {
  if (!Buffer.isBuffer(payload) || payload.byteLength <= WHOLE_BYTES) return payload
  return (async function* () {
    for (let at = 0; at < payload.byteLength; at += SLICE_BYTES) yield payload.subarray(at, at + SLICE_BYTES)
  })()
}

/** The one store that talks HTTP. What differs between providers is in `dialect`. */
export function httpStore(dialect: Dialect, options: HttpStoreOptions): Store {
  const { dispatcher, policy, log } = options
  const send = sender(dialect, options)

  const look = looking(dialect, send)

  async function put(key: string, body: Source, signal: AbortSignal): Promise<void> {
    // Larger ones are read twice: for their digest, then for the wire.
    if (body.size <= WHOLE_BYTES) {
      const bytes = await collectSource(body)
      return putOnce(key, digestOf(dialect.digest, bytes), bytes, body.size, signal)
    }
    await putOnce(key, await digestOfSource(dialect.digest, body, signal), openWhole(body), body.size, signal)
  }

  async function putOnce(key: string, digest: string, body: Bytes | Buffer, size: number, signal: AbortSignal) {
    const answer = await toldOf(await send('write', dialect.put(key, digest), signal, body, size), signal)
    const verdict = dialect.acknowledges(answer, digest)
    if (verdict === 'other') throw otherBytes()
    if (verdict === 'unclear') await compareBack(key, digest, answer.headers, signal)
  }

  /** What an acknowledgement does not prove the bytes do. If they are right, it is known what tags are here. */
  async function compareBack(key: string, digest: string, headers: Headers, signal: AbortSignal): Promise<void> {
    const found = await look.readBack(key, signal).catch(error => {
      if (isUnreadable(error)) return undefined // then we must believe that the server looked at the digest
      throw error
    })
    if (found && found.digest !== digest) throw otherBytes()
    dialect.provenRight?.(headers, found ? found.tag : headers['etag'])
  }

  async function get(key: string, range: Range | undefined, signal: AbortSignal): Promise<Content> {
    const answer = await send('read', dialect.get(key, range), signal)
    if (answer.statusCode >= 300) throw await look.absent(key, answer, signal)
    if (!range && answer.headers['content-length'] === undefined && dialect.marked(answer.headers)) {
      // Proxies that look into bodies hand them on without their length. Of a range, its place tells it.
      drop(answer)
      const ranged = await send('read', dialect.get(key, EVERYTHING), signal)
      const { content, total } = await contentOfAnswer(dialect, ranged, arrivedRange(ranged), signal)
      if (content.size === total) return withDigest(content, dialect, key, ranged)
      drop(ranged)
      throw new Fault('Internal', 'the server gives an object neither with its length nor as a whole')
    }
    const { content, total } = await contentOfAnswer(dialect, answer, range, signal)
    return content.size === total ? withDigest(content, dialect, key, answer) : content
  }

  async function stat(key: string, signal: AbortSignal): Promise<Stat | undefined> {
    const told = await look.ask(key, signal)
    return told && dialect.statOf(key, told)
  }

  async function remove(key: string, signal: AbortSignal): Promise<void> {
    try {
      const answer = await send('remove', dialect.remove(key), signal)
      await answer.body.dump()
      // Some servers give no mark with a removal; then it is a success only if the object is gone.
      if (dialect.marked(answer.headers)) return
      const told = await look.ask(key, signal)
      if (!told) return
      dialect.statOf(key, told) // throws when a stranger has answered that, too
    } catch (error) {
      if (isCode(error, 'NotFound')) return
      throw error
    }
    throw new Fault('Unavailable', 'the removal was answered, but the object is still there')
  }

  async function* list(prefix: string, signal: AbortSignal): AsyncIterable<Stat> {
    let from: string | undefined
    do {
      const page = await attempt(
        async () =>
          dialect.page(await toldOf(await send('list', dialect.list(prefix, from), signal), signal, LONGEST_PAGE_TEXT)),
        policy,
        signal,
        log,
      )
      yield* page.objects
      if (page.next !== undefined && page.next === from) throw new Fault('Internal', 'the listing does not advance')
      from = page.next
    } while (from !== undefined)
  }

  const whole: Store = {
    name: dialect.name,
    put,
    get,
    stat,
    remove,
    async holds(key, body, signal) {
      const digest = await digestOfSource(dialect.digest, body, signal)
      return look.holds(key, { size: body.size, digest, compute: async () => digest }, signal)
    },
    list,
    check: checkOf(dialect, send),
    async close() {
      await dispatcher.destroy(new Fault('Canceled', 'the store was closed'))
    },
  }
  return transferring(whole, dialect, send, options)
}

export function otherBytes(): Fault {
  return new Fault('Corrupt', 'the store acknowledged other bytes than those it was sent', { retryable: true })
}
