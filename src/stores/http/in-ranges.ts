import { type Bytes, type Content, checkedContent, gather, type Range } from '../../bytes.ts'
import { Fault, isCode, throwIfAborted } from '../../fault.ts'
import type { Store } from '../store.ts'
import { arrivedRange, contentOfAnswer, withDigest } from './answer.ts'
import type { Transfers } from './transfer.ts'

/** Downloads a large object in ranges, fetched in parallel and delivered in order. `getInOne`: by one request. */
export function readInRanges(all: Transfers, getInOne: Store['get']): Store['get'] {
  const { transfer, dialect, send } = all
  return async (key, range, signal) => {
    const start = range?.start ?? 0
    const first = { start, end: Math.min(start + transfer.partBytes, range?.end ?? Number.MAX_SAFE_INTEGER) }
    const answer = await send('read', dialect.get(key, first), signal).catch(error => {
      // Only an empty object has no first byte. For such an object there is a second request.
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
      throw new Fault('BadRequest', `bytes ${start} to ${end} were requested of an object of ${total} bytes`)
    }
    const rest = { start: start + content.size, end }
    const target = { key, version: dialect.versionOf(answer.headers) }
    const whole = rest.start === end ? content : checkedContent(end - start, ahead(all, target, content, rest, signal))
    return whole.size === total ? withDigest(whole, dialect, key, answer) : whole
  }
}

/** The object that is read; `version`: every part must be of the same one. */
interface Target {
  readonly key: string
  readonly version: string | undefined
}

type Chunks = readonly Uint8Array[]

/** The first part as it arrives, then the others, fetched while earlier ones are delivered. */
async function* ahead(all: Transfers, target: Target, first: Content, rest: Range, signal: AbortSignal): Bytes {
  const { transfer, slot, again, buffers } = all
  const stop = new AbortController()
  const anySignal = AbortSignal.any([signal, stop.signal])
  const coming: { chunks: Promise<Chunks>; delivered: () => void }[] = []
  let next = rest.start
  const fetchAhead = () => {
    while (next < rest.end && coming.length < transfer.concurrency) {
      const part = { start: next, end: Math.min(next + transfer.partBytes, rest.end) }
      next = part.end
      const chunks = Promise.withResolvers<Chunks>()
      const delivered = Promise.withResolvers<void>()
      chunks.promise.catch(() => {}) // the reader gets the error; without a reader it must not end the process
      void slot(async () => {
        buffers.dropOne()
        try {
          chunks.resolve(await again(anySignal, () => fetchRange(all, target, part, anySignal)))
          await delivered.promise
        } catch (error) {
          chunks.reject(error)
        }
      })
      coming.push({ chunks: chunks.promise, delivered: () => delivered.resolve() })
    }
  }
  try {
    fetchAhead()
    yield* first.body
    for (let part = coming[0]; part; part = coming[0]) {
      yield* await part.chunks
      part.delivered()
      coming.shift()
      fetchAhead()
    }
  } finally {
    stop.abort(new Fault('Canceled', 'the rest of the object is not wanted'))
    for (const part of coming) part.delivered()
  }
}

async function fetchRange(
  { dialect, send }: Transfers,
  target: Target,
  part: Range,
  signal: AbortSignal,
): Promise<Chunks> {
  throwIfAborted(signal)
  const answer = await send('read', dialect.get(target.key, part, target.version), signal)
  return gather((await contentOfAnswer(dialect, answer, part, signal)).content)
}
