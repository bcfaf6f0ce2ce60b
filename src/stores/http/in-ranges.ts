import { type Bytes, type Content, checkedContent, collect, type Range } from '../../bytes.ts'
import { Fault, isCode, throwIfAborted } from '../../fault.ts'
import type { Store } from '../store.ts'
import { arrivedRange, contentOfAnswer, withDigest } from './answer.ts'
import type { Transfers } from './transfer.ts'

/** A large object down in ranges that are fetched in parallel and delivered in order. `getInOne`: by one request. */
export function readInRanges(
  { transfer, dialect, send, slot, again }: Transfers,
  getInOne: Store['get'],
): Store['get'] {
  /** The first part as it arrives, then the others, fetched while earlier ones are delivered. */
  async function* ahead(
    key: string,
    first: Content,
    rest: Range,
    version: string | undefined,
    signal: AbortSignal,
  ): Bytes {
    const stop = new AbortController()
    const anySignal = AbortSignal.any([signal, stop.signal])
    const coming: { bytes: Promise<Buffer>; delivered: () => void }[] = []
    let next = rest.start
    const fetchAhead = () => {
      while (next < rest.end && coming.length < transfer.concurrency) {
        const part = { start: next, end: Math.min(next + transfer.partBytes, rest.end) }
        next = part.end
        const bytes = Promise.withResolvers<Buffer>()
        const delivered = Promise.withResolvers<void>()
        bytes.promise.catch(() => {}) // whoever waits for it hears of it; nobody may be left to
        void slot(async () => {
          try {
            bytes.resolve(await again(anySignal, () => fetchRange(key, part, version, anySignal)))
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
    throwIfAborted(signal)
    const answer = await send('read', dialect.get(key, part, version), signal)
    return collect((await contentOfAnswer(dialect, answer, part, signal)).content)
  }

  return async (key, range, signal) => {
    const start = range?.start ?? 0
    const first = { start, end: Math.min(start + transfer.partBytes, range?.end ?? Number.MAX_SAFE_INTEGER) }
    const answer = await send('read', dialect.get(key, first), signal).catch(error => {
      // Only an empty object has no first byte; that costs it a second request.
      if (!range && isCode(error, 'BadRequest')) return undefined
      throw error
    })
    if (!answer || answer.statusCode >= 300) {
      await answer?.body.dump()
      return getInOne(key, range, signal)
    }
    const asked = range ? first : arrivedRange(answer)
    const { content, total } = await contentOfAnswer(dialect, answer, asked, signal)
    const end = range?.end ?? total
    if (end > total) {
      await answer.body.dump()
      throw new Fault('BadRequest', `bytes ${start} to ${end} were asked of an object of ${total} bytes`)
    }
    const rest = { start: start + content.size, end }
    const all =
      rest.start === end
        ? content
        : checkedContent(end - start, ahead(key, content, rest, dialect.versionOf(answer.headers), signal))
    return all.size === total ? withDigest(all, dialect, key, answer) : all
  }
}
