/**
 * Large objects in parallel: up in parts that become visible together, down in ranges that are delivered in order
 * (`UseTransferManager`; objects beyond what one PUT may hold go up in parts in any case).
 *
 * Memory: one slot holds one part, from the moment it is fetched until it is sent or delivered; there are
 * `concurrency` slots for the whole store, whatever the number of transfers. Slots are handed out in the order of asking,
 * and a transfer asks for its parts in their order, so the part that everybody waits for always has one.
 *
 * A process that dies in the middle of an upload leaves invisible parts behind, which cost money: see "incomplete
 * multipart uploads" in docs/operations.md.
 */
import { hash } from 'node:crypto'
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
import { Fault } from '../fault.ts'
import type { Dialect } from './dialect.ts'
import { contentOfAnswer, type HttpStoreOptions, type Send, textOf } from './http.ts'
import { attempt } from './retry.ts'
import type { Store } from './store.ts'

export interface Transfer {
  readonly concurrency: number
  readonly partBytes: number
}

const MB = 1024 * 1024
const ABANDON_MS = 10_000
/** For the parts of an object beyond one PUT, on a store without `UseTransferManager`. */
const FALLBACK: Transfer = { concurrency: 4, partBytes: 16 * MB }

export function transferring(whole: Store, dialect: Dialect, send: Send, options: HttpStoreOptions): Store {
  const { parts } = dialect
  const transfer = options.transfer ?? FALLBACK
  const slots = pLimit(transfer.concurrency)
  const again = <T>(signal: AbortSignal, work: () => Promise<T>) => attempt(work, options.policy, signal, options.log)

  async function putInParts(key: string, body: Source, signal: AbortSignal): Promise<void> {
    const least = Math.max(transfer.partBytes, parts.smallestPart, body.size / parts.mostParts)
    const partBytes = Math.ceil(least / MB) * MB
    const begun = await again(signal, async () => textOf((await send('write', parts.begin(key), signal)).body))
    const id = parts.uploadId(begun)
    const stop = new AbortController()
    const either = AbortSignal.any([signal, stop.signal])
    try {
      const receipts = await Promise.all(
        Array.from({ length: Math.ceil(body.size / partBytes) }, (_, i) =>
          slots(async () => {
            either.throwIfAborted()
            const range = { start: i * partBytes, end: Math.min((i + 1) * partBytes, body.size) }
            const slice = sliceOf(body, range)
            const bytes = await collectSource(slice)
            const draft = parts.part(key, id, i + 1, hash('md5', bytes, 'base64'))
            return again(either, async () => {
              const answer = await send('write', draft, either, bytes, bytes.byteLength)
              await answer.body.dump()
              return parts.receipt(answer.headers)
            })
          }),
        ),
      )
      await again(signal, async () => {
        const answer = await send('write', parts.finish(key, id, receipts), signal)
        const text = await textOf(answer.body)
        // S3 sends the head of the answer before it is done: a 200 may still turn out to be an error.
        if (text.includes('<Error>')) throw dialect.fault({ verb: 'write', status: 200, headers: answer.headers, text })
      })
    } catch (error) {
      stop.abort(error)
      const abandoned = await send('remove', parts.abandon(key, id), AbortSignal.timeout(ABANDON_MS)).catch(
        () => undefined,
      )
      await abandoned?.body.dump()
      throw error
    }
  }

  async function getInRanges(key: string, range: Range | undefined, signal: AbortSignal): Promise<Content> {
    const start = range?.start ?? 0
    const first = { start, end: Math.min(start + transfer.partBytes, range?.end ?? Number.MAX_SAFE_INTEGER) }
    const answer = await send('read', dialect.get(key, first), signal).catch(error => {
      // Only an empty object has no first byte; that costs it a second request.
      if (!range && error instanceof Fault && error.code === 'BadRequest') return undefined
      throw error
    })
    if (!answer) return whole.get(key, undefined, signal)
    const shortened = range ? first : undefined
    const { content, total, etag } = contentOfAnswer(answer, shortened ?? arrivedRange(answer.headers), signal)
    const end = range?.end ?? total
    if (end > total) {
      await answer.body.dump()
      throw new Fault('BadRequest', `bytes ${start} to ${end} were asked of an object of ${total} bytes`)
    }
    if (start + content.size === end) return content
    return contentOf(end - start, ahead(key, content, { start: start + content.size, end }, etag, signal))
  }

  /** The first part as it arrives, then the others, fetched while earlier ones are delivered. */
  async function* ahead(
    key: string,
    first: Content,
    rest: Range,
    etag: string | undefined,
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
            bytes.resolve(await again(either, () => fetchRange(key, part, etag, either)))
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

  async function fetchRange(key: string, part: Range, etag: string | undefined, signal: AbortSignal): Promise<Buffer> {
    signal.throwIfAborted()
    const answer = await send('read', dialect.get(key, part, etag), signal)
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
function arrivedRange(headers: Readonly<Record<string, string | string[] | undefined>>): Range | undefined {
  const [, start, end] = /^bytes (\d+)-(\d+)\//.exec(String(headers['content-range'])) ?? []
  return start === undefined || end === undefined ? undefined : { start: Number(start), end: Number(end) + 1 }
}
