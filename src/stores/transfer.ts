/**
 * Large objects in pieces: up in parts that become visible together, down in ranges that are fetched in parallel and
 * delivered in order. `UseTransferManager` of S3 turns both on; objects larger than the dialect's `largestPut` go up in
 * parts in any case.
 *
 * Memory: one slot holds one part, from the moment it is fetched until it is sent or delivered; there are
 * `concurrency` slots for the whole store, whatever the number of transfers. Slots are handed out in the order of asking,
 * and a transfer asks for its parts in their order, so the part that everybody waits for always has one.
 *
 * A process that dies in the middle of an upload leaves invisible parts behind, which cost money: see "incomplete
 * multipart uploads" in docs/operations.md.
 */
import pLimit from 'p-limit'
import {
  type Bytes,
  type Content,
  collect,
  collectSource,
  contentOf,
  type Range,
  type Source,
  sliceOf,
} from '../bytes.ts'
import { Fault, isCode } from '../fault.ts'
import type { Dialect, Draft, Headers } from './dialect.ts'
import { digestOf, hasher } from './digest.ts'
import { contentOfAnswer, type HttpStoreOptions, type Send, textOf, withDigest } from './http.ts'
import { attempt } from './retry.ts'
import type { Store } from './store.ts'

export interface Transfer {
  readonly concurrency: number
  readonly partBytes: number
}

const MB = 1024 * 1024
const ABANDON_MS = 10_000

export function transferring(whole: Store, dialect: Dialect, send: Send, options: HttpStoreOptions): Store {
  const { parts } = dialect
  const transfer = options.transfer ?? parts.usual
  const slots = pLimit(transfer.concurrency)
  const again = <T>(signal: AbortSignal, work: () => Promise<T>) => attempt(work, options.policy, signal, options.log)

  async function putInParts(key: string, body: Source, signal: AbortSignal): Promise<void> {
    const least = Math.max(transfer.partBytes, parts.smallestPart, body.size / parts.mostParts)
    const partBytes = Math.ceil(least / MB) * MB
    const count = Math.ceil(body.size / partBytes)
    const begin = parts.begin(key)
    const id = parts.uploadId(begin && (await again(signal, () => told(begin, signal))))
    const stop = new AbortController()
    const either = AbortSignal.any([signal, stop.signal])
    const whole = parts.wantsWhole ? hasher(dialect.digest) : undefined
    const inTurn = pLimit(1) // the source is read from its beginning to its end, which the digest of the whole needs

    const sendPart = (i: number) =>
      slots(async () => {
        const range = { start: i * partBytes, end: Math.min((i + 1) * partBytes, body.size) }
        const bytes = await inTurn(async () => {
          either.throwIfAborted()
          const read = await collectSource(sliceOf(body, range))
          whole?.update(read)
          return read
        })
        const part = {
          number: i + 1,
          range,
          total: body.size,
          digest: () => digestOf(dialect.digest, bytes),
          whole: i === count - 1 ? whole?.digest() : undefined,
        }
        const draft = parts.part(key, id, part)
        const receipt = await again(either, async () => parts.receipt(await told(draft, either, bytes), part, id))
        return { receipt, whole: part.whole }
      })

    try {
      const sent: { receipt: string; whole: string | undefined }[] = []
      if (parts.inOrder) for (let i = 0; i < count; i++) sent.push(await sendPart(i))
      else sent.push(...(await Promise.all(Array.from({ length: count }, (_, i) => sendPart(i)))))
      const digest = sent.at(-1)?.whole
      const receipts = sent.map(({ receipt }) => receipt)
      const finish = parts.finish(key, id, receipts, digest)
      if (finish)
        await again(signal, async () => {
          const answer = await told(finish, signal)
          // S3 sends the head of the answer before it is done: a 200 may still turn out to be an error.
          if (answer.text.includes('<Error>')) throw dialect.fault({ ...answer, verb: 'write' })
        })
    } catch (error) {
      stop.abort(error)
      const abandon = parts.abandon(key, id)
      // Best effort: the first failure is the one to report.
      if (abandon)
        await send('remove', abandon, AbortSignal.timeout(ABANDON_MS)).then(
          answer => answer.body.dump(),
          () => undefined,
        )
      throw error
    }
  }

  async function told(draft: Draft, signal: AbortSignal, bytes?: Buffer) {
    const answer = await send('write', draft, signal, bytes, bytes?.byteLength)
    return { status: answer.statusCode, headers: answer.headers, text: await textOf(answer.body) }
  }

  async function getInRanges(key: string, range: Range | undefined, signal: AbortSignal): Promise<Content> {
    const start = range?.start ?? 0
    const first = { start, end: Math.min(start + transfer.partBytes, range?.end ?? Number.MAX_SAFE_INTEGER) }
    const answer = await send('read', dialect.get(key, first), signal).catch(error => {
      // Only an empty object has no first byte; that costs it a second request.
      if (!range && isCode(error, 'BadRequest')) return undefined
      throw error
    })
    if (!answer) return whole.get(key, undefined, signal)
    const shortened = range ? first : undefined
    const { content, total } = contentOfAnswer(answer, shortened ?? arrivedRange(answer.headers), signal)
    const end = range?.end ?? total
    if (end > total) {
      await answer.body.dump()
      throw new Fault('BadRequest', `bytes ${start} to ${end} were asked of an object of ${total} bytes`)
    }
    const rest = { start: start + content.size, end }
    const all =
      rest.start === end
        ? content
        : contentOf(end - start, ahead(key, content, rest, dialect.versionOf(answer.headers), signal))
    return range ? all : withDigest(all, dialect, answer.headers)
  }

  /** The first part as it arrives, then the others, fetched while earlier ones are delivered. */
  async function* ahead(
    key: string,
    first: Content,
    rest: Range,
    version: string | undefined,
    signal: AbortSignal,
  ): Bytes {
    const stop = new AbortController()
    const either = AbortSignal.any([signal, stop.signal])
    const coming: { bytes: Promise<Buffer>; delivered: () => void }[] = []
    let next = rest.start
    const fetchAhead = () => {
      while (next < rest.end && coming.length < transfer.concurrency) {
        const part = { start: next, end: Math.min(next + transfer.partBytes, rest.end) }
        next = part.end
        const bytes = Promise.withResolvers<Buffer>()
        const delivered = Promise.withResolvers<void>()
        bytes.promise.catch(() => {}) // whoever waits for it hears of it; nobody may be left to
        void slots(async () => {
          try {
            bytes.resolve(await again(either, () => fetchRange(key, part, version, either)))
            await delivered.promise
          } catch (error) {
            bytes.reject(error)
          }
        })
        coming.push({ bytes: bytes.promise, delivered: () => delivered.resolve() })
      }
    }
    try {
      fetchAhead()
      yield* first.body
      for (let part = coming[0]; part; part = coming[0]) {
        yield await part.bytes
        part.delivered()
        coming.shift()
        fetchAhead()
      }
    } finally {
      stop.abort(new Fault('Canceled', 'the rest is not wanted'))
      for (const part of coming) part.delivered()
    }
  }

  async function fetchRange(
    key: string,
    part: Range,
    version: string | undefined,
    signal: AbortSignal,
  ): Promise<Buffer> {
    signal.throwIfAborted()
    const answer = await send('read', dialect.get(key, part, version), signal)
    return collect(contentOfAnswer(answer, part, signal).content)
  }

  const largest = options.transfer ? Math.min(transfer.partBytes, parts.largestPut) : parts.largestPut
  return {
    ...whole,
    put: (key, body, signal) => (body.size > largest ? putInParts(key, body, signal) : whole.put(key, body, signal)),
    get: (key, range, signal) => (options.transfer ? getInRanges(key, range, signal) : whole.get(key, range, signal)),
  }
}

/** What a server that was asked for more than there is says it sends. */
function arrivedRange(headers: Headers): Range | undefined {
  const [, start, end] = /^bytes (\d+)-(\d+)\//.exec(String(headers['content-range'])) ?? []
  return start === undefined || end === undefined ? undefined : { start: Number(start), end: Number(end) + 1 }
}
