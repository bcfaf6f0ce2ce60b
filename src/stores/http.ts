import type { Dispatcher } from 'undici'
import { type Bytes, type Content, collectSource, contentOf, openWhole, type Range, type Source } from '../bytes.ts'
import { Fault, isCode } from '../fault.ts'
import { type Dialect, type Draft, encodeQuery, type Headers } from './dialect.ts'
import { digestOf, hasher } from './digest.ts'
import { network } from './network.ts'
import { faultOfNetwork } from './network-faults.ts'
import { attempt, type RetryPolicy } from './retry.ts'
import type { Stat, Store } from './store.ts'
import { type Transfer, transferring } from './transfer.ts'

export interface HttpStoreOptions {
  readonly dispatcher: Dispatcher
  readonly policy: RetryPolicy
  /** Parts and ranges in parallel; undefined = one request per object, as long as the provider takes it so. */
  readonly transfer: Transfer | undefined
  /** Longest wait without a byte in either direction. */
  readonly stallMs: number
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

/** Up to this size a body travels in one buffer, either way. Beyond, it is sent by reading it twice: for its digest, then for the wire. */
const WHOLE_BYTES = 1024 * 1024
const LONGEST_STALL_MS = 60_000
const LONGEST_ERROR_TEXT = 64 * 1024
const LONGEST_PAGE_TEXT = 16 * 1024 * 1024

export type Sent = Dispatcher.ResponseData

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
    logRequest: undefined,
    log,
  }
}

export function sender(dialect: Dialect, { dispatcher, logRequest, stallMs }: HttpStoreOptions): Send {
  const ask = async (
    verb: string,
    draft: Draft,
    signal: AbortSignal,
    body: Bytes | Buffer | undefined,
    size: number | undefined,
    second: boolean,
  ): Promise<Sent | undefined> => {
    const { around, text } = draft
    const payload = body !== undefined && around ? framed(around, body) : (body ?? text)
    const framing = around ? around.before.byteLength + around.after.byteLength : 0
    const length = size === undefined ? Buffer.byteLength(text ?? '') : size + framing
    const started = performance.now()
    try {
      const { headers, query, again } = await dialect.authorize(draft, length, body !== undefined, signal)
      if (length > 0 || draft.method === 'PUT' || draft.method === 'POST') headers['content-length'] = String(length)
      const queries = [encodeQuery(draft.query ?? []), query].filter(part => part !== '')
      const answer = await dispatcher.request({
        origin: dialect.origin,
        path: queries.length > 0 ? `${draft.path}?${queries.join('&')}` : draft.path,
        method: draft.method,
        headers,
        body: (payload as Dispatcher.RequestOptions['body']) ?? null,
        signal,
        headersTimeout: stallMs,
        bodyTimeout: stallMs,
      })
      logRequest?.(requestLine(draft, answer, performance.now() - started, dialect.requestId))
      if (answer.statusCode < 300 || answer.statusCode === draft.alsoFine) return answer
      const said = await textOf(answer.body, LONGEST_ERROR_TEXT)
      const head = { verb, status: answer.statusCode, headers: answer.headers, text: said }
      const fault = dialect.fault(head)
      if (second || !again?.(head)) throw fault
      // What streams has gone and must be read anew, by whoever owns it.
      if (body !== undefined && !Buffer.isBuffer(body)) throw fault.with({ retryable: true })
      return undefined
    } catch (error) {
      throw faultOfNetwork(error, signal)
    }
  }
  return async (verb, draft, signal, body, size) => {
    const answer = await ask(verb, draft, signal, body, size, false)
    return answer ?? ((await ask(verb, draft, signal, body, size, true)) as Sent)
  }
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

/** The one store that talks HTTP. What differs between providers is in `dialect`. */
export function httpStore(dialect: Dialect, options: HttpStoreOptions): Store {
  const { dispatcher, policy, log } = options
  const send = sender(dialect, options)

  const empty = async (answer: Sent): Promise<void> => {
    await answer.body.dump()
  }

  async function put(key: string, body: Source, signal: AbortSignal): Promise<void> {
    if (body.size <= WHOLE_BYTES) {
      const bytes = await collectSource(body)
      return putOnce(key, digestOf(dialect.digest, bytes), bytes, body.size, signal)
    }
    const whole = hasher(dialect.digest)
    for await (const chunk of openWhole(body)) {
      signal.throwIfAborted()
      whole.update(chunk)
    }
    await putOnce(key, whole.digest(), openWhole(body), body.size, signal)
  }

  async function putOnce(key: string, digest: string, body: Bytes | Buffer, size: number, signal: AbortSignal) {
    const answer = await send('write', dialect.put(key, digest), signal, body, size)
    const confirmed = dialect.confirms({ headers: answer.headers, text: await textOf(answer.body) }, digest)
    if (!confirmed) throw otherBytes()
  }

  async function get(key: string, range: Range | undefined, signal: AbortSignal): Promise<Content> {
    const answer = await send('read', dialect.get(key, range), signal)
    const { content } = contentOfAnswer(answer, range, signal)
    return range ? content : withDigest(content, dialect, answer.headers)
  }

  async function stat(key: string, signal: AbortSignal): Promise<Stat | undefined> {
    try {
      const answer = await send('stat', dialect.stat(key), signal)
      return dialect.statOf(key, { headers: answer.headers, text: await textOf(answer.body) })
    } catch (error) {
      if (!isCode(error, 'NotFound')) throw error
      // An answer to HEAD may have no body, so it does not tell a missing object from a missing bucket. This one does.
      return dialect.statIsVague ? absent(send('stat', dialect.get(key, { start: 0, end: 1 }), signal)) : undefined
    }
  }

  async function absent(request: Promise<Sent>): Promise<undefined> {
    try {
      await empty(await request)
    } catch (error) {
      if (isCode(error, 'NotFound')) return undefined
      throw error
    }
    throw new Fault('Unavailable', 'the object is there and is not there') // written in this very moment: ask again
  }

  async function remove(key: string, signal: AbortSignal): Promise<void> {
    try {
      await empty(await send('remove', dialect.remove(key), signal))
    } catch (error) {
      if (!isCode(error, 'NotFound')) throw error
    }
  }

  async function* list(prefix: string, signal: AbortSignal): AsyncIterable<Stat> {
    let from: string | undefined
    do {
      const page = await attempt(
        async () =>
          dialect.page(await textOf((await send('list', dialect.list(prefix, from), signal)).body, LONGEST_PAGE_TEXT)),
        policy,
        signal,
        log,
      )
      yield* page.objects
      if (page.next !== undefined && page.next === from) throw new Fault('Internal', 'the listing does not advance')
      from = page.next
    } while (from !== undefined)
  }

  async function check(signal: AbortSignal): Promise<void> {
    for (const probe of dialect.probes)
      try {
        probe.judge(await textOf((await send(probe.verb, probe.draft, signal)).body))
      } catch (error) {
        if (!(error instanceof Fault && probe.passes(error))) throw error
      }
  }

  const whole: Store = {
    name: dialect.name,
    put,
    get,
    stat,
    remove,
    list,
    check,
    async close() {
      await dispatcher.destroy(new Fault('Canceled', 'the store was closed'))
    },
  }
  return transferring(whole, dialect, send, options)
}

export function withDigest(content: Content, dialect: Dialect, headers: Headers): Content {
  const value = dialect.digestOf(headers)
  return value === undefined ? content : { ...content, digest: { name: dialect.digest, value } }
}

export function otherBytes(): Fault {
  return new Fault('Corrupt', 'the store acknowledged other bytes than those it was sent', { retryable: true })
}

/** The content of an answer to GET, after its head was checked: exactly the range asked for, or the whole object. */
export function contentOfAnswer(answer: Sent, range: Range | undefined, signal: AbortSignal) {
  const length = Number(answer.headers['content-length'] ?? Number.NaN)
  let problem: Fault | undefined
  let total = length
  if (range) {
    const [, start, end, whole] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(String(answer.headers['content-range'])) ?? []
    total = Number(whole)
    if (answer.statusCode !== 206 || Number(start) !== range.start)
      problem = new Fault('Internal', `the server answered ${answer.statusCode} to a request for a range of bytes`)
    else if (Number(end) + 1 !== range.end)
      problem = new Fault(
        'BadRequest',
        `bytes ${range.start} to ${range.end} were asked of an object of ${total} bytes`,
      )
  } else if (answer.statusCode !== 200)
    problem = new Fault('Internal', `the server answered ${answer.statusCode} to a GET`)
  if (!problem && !Number.isSafeInteger(length)) problem = new Fault('Internal', 'the answer does not tell its length')
  if (problem) {
    answer.body.on('error', () => {}).destroy()
    throw problem
  }
  return { content: contentOf(length, bodyOf(answer, length, signal)), total }
}

async function* bodyOf({ body }: Sent, length: number, signal: AbortSignal): Bytes {
  try {
    if (length > WHOLE_BYTES) return yield* body
    const bytes = await body.bytes()
    if (bytes.byteLength > 0) yield bytes
  } catch (error) {
    throw faultOfNetwork(error, signal)
  }
}

/** Without the query, which may hold a signature. */
function requestLine({ method, path }: Draft, answer: Sent, ms: number, idHeader: string): string {
  const id = answer.headers[idHeader] ?? '-'
  return `${method} ${path}: HTTP ${answer.statusCode} in ${ms.toFixed(0)} ms, request ${id}`
}

export async function textOf(body: Sent['body'], longest = LONGEST_ERROR_TEXT): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.byteLength
    if (size > longest)
      throw new Fault('Internal', `an answer of more than ${longest} bytes came where a message was expected`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
