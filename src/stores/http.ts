import { createHash, hash } from 'node:crypto'
import type { Dispatcher } from 'undici'
import { type Bytes, type Content, collectSource, contentOf, openWhole, type Range, type Source } from '../bytes.ts'
import { Fault } from '../fault.ts'
import { type Dialect, type Draft, encodeQuery } from './dialect.ts'
import { faultOfNetwork } from './network.ts'
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

/** Up to this size a body is sent from one buffer; beyond, it is read twice: for its MD5, then for the wire. */
const WHOLE_BYTES = 1024 * 1024
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

/** The one store that talks HTTP. What differs between providers is in `dialect`. */
export function httpStore(dialect: Dialect, options: HttpStoreOptions): Store {
  const { dispatcher, policy, log, logRequest, stallMs } = options

  const send: Send = async (verb, draft, signal, body, size) => {
    const query = draft.query?.length ? `?${encodeQuery(draft.query)}` : ''
    const payload = body ?? draft.text
    const length = size ?? (draft.text === undefined ? undefined : Buffer.byteLength(draft.text))
    const started = performance.now()
    try {
      const headers = await dialect.authorize(draft, body !== undefined)
      if (length !== undefined) headers['content-length'] = String(length)
      const answer = await dispatcher.request({
        origin: dialect.origin,
        path: draft.path + query,
        method: draft.method,
        headers,
        body: (payload as Dispatcher.RequestOptions['body']) ?? null,
        signal,
        headersTimeout: stallMs,
        bodyTimeout: stallMs,
      })
      logRequest?.(requestLine(draft, answer, performance.now() - started))
      if (answer.statusCode < 300) return answer
      const text = await textOf(answer.body, LONGEST_ERROR_TEXT)
      throw dialect.fault({ verb, status: answer.statusCode, headers: answer.headers, text })
    } catch (error) {
      throw faultOfNetwork(error, signal)
    }
  }

  const empty = async (answer: Sent): Promise<void> => {
    await answer.body.dump()
  }

  async function put(key: string, body: Source, signal: AbortSignal): Promise<void> {
    if (body.size <= WHOLE_BYTES) {
      const bytes = await collectSource(body)
      const draft = dialect.put(key, hash('md5', bytes, 'base64'))
      return empty(await send('write', draft, signal, bytes, bytes.byteLength))
    }
    const md5 = createHash('md5')
    for await (const chunk of openWhole(body)) {
      signal.throwIfAborted()
      md5.update(chunk)
    }
    const draft = dialect.put(key, md5.digest('base64'))
    await empty(await send('write', draft, signal, openWhole(body), body.size))
  }

  async function get(key: string, range: Range | undefined, signal: AbortSignal): Promise<Content> {
    const answer = await send('read', dialect.get(key, range), signal)
    return contentOfAnswer(answer, range, signal).content
  }

  async function stat(key: string, signal: AbortSignal): Promise<Stat | undefined> {
    try {
      const answer = await send('stat', dialect.stat(key), signal)
      await empty(answer)
      return {
        key,
        size: Number(answer.headers['content-length']),
        modified: new Date(String(answer.headers['last-modified'])),
      }
    } catch (error) {
      if (!(error instanceof Fault && error.code === 'NotFound')) throw error
      // An answer to HEAD has no body, so it does not tell a missing object from a missing bucket. This one does.
      return absent(send('stat', dialect.get(key, { start: 0, end: 1 }), signal))
    }
  }

  async function absent(request: Promise<Sent>): Promise<undefined> {
    try {
      await empty(await request)
    } catch (error) {
      if (error instanceof Fault && error.code === 'NotFound') return undefined
      throw error
    }
    throw new Fault('Unavailable', 'the object is there and is not there') // written in this very moment: ask again
  }

  async function remove(key: string, signal: AbortSignal): Promise<void> {
    try {
      await empty(await send('remove', dialect.remove(key), signal))
    } catch (error) {
      if (!(error instanceof Fault && error.code === 'NotFound')) throw error
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
    try {
      await empty(await send('use', dialect.check(), signal))
    } catch (error) {
      if (!(error instanceof Fault && dialect.accepts(error))) throw error
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

/** The content of an answer to GET, after its head was checked: exactly the range asked for, or the whole object. */
export function contentOfAnswer(answer: Sent, range: Range | undefined, signal: AbortSignal) {
  const length = Number(answer.headers['content-length'] ?? Number.NaN)
  const etag = answer.headers['etag']
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
  return {
    content: contentOf(length, bodyOf(answer, signal)),
    total,
    etag: typeof etag === 'string' ? etag : undefined,
  }
}

async function* bodyOf(answer: Sent, signal: AbortSignal): Bytes {
  try {
    yield* answer.body
  } catch (error) {
    throw faultOfNetwork(error, signal)
  }
}

function requestLine({ method, path }: Draft, answer: Sent, ms: number): string {
  const id = answer.headers['x-amz-request-id'] ?? '-'
  return `${method} ${path}: HTTP ${answer.statusCode} in ${ms.toFixed(0)} ms, request ${id}`
}

export async function textOf(body: Sent['body'], longest = LONGEST_ERROR_TEXT): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.byteLength
    if (size > longest)
      throw new Fault('Internal', `an answer of more than ${longest} bytes came where XML was expected`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
