import { TokenBucket } from 'limiter'
import type { Bytes, Content } from '../../bytes.ts'
import { throwIfAborted } from '../../fault.ts'
import type { Stat, Wrap } from '../store.ts'
import { unlessAborted } from '../unless-aborted.ts'

/** A second. Undefined: as fast as it goes. */
export interface RateLimit {
  /** Operations on one object each. Listings are not limited. */
  readonly objects?: number | undefined
  /** Of objects, read and written. */
  readonly bytes?: number | undefined
}

type Take = (count: number, signal: AbortSignal) => Promise<void>

/**
 * Bulk work leaves room for Orthanc. It stands outside all other wrappers. Each store around which one result of this
 * function is put has the whole rate, so a copy may read and write that much. What is repeated after a failure is not
 * counted again.
 */
export function withRateLimit({ objects, bytes }: RateLimit): Wrap {
  return store => {
    const [oneObject, someBytes] = [taking(objects), taking(bytes)]
    async function limited<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
      await oneObject(1, signal)
      return await work()
    }

    async function* paced({ body }: Content, signal: AbortSignal): Bytes {
      for await (const chunk of body) {
        await someBytes(chunk.byteLength, signal)
        yield chunk
      }
    }

    return {
      name: store.name,
      get: (key, range, signal) =>
        limited(signal, async () => {
          const content = await store.get(key, range, signal)
          return bytes === undefined ? content : { ...content, body: paced(content, signal) }
        }),
      put: (key, body, signal) =>
        limited(signal, async () => {
          // Before the request: one that waits in its middle may be ended by the server. And the store may read the
          // body twice, the first time for a digest.
          await someBytes(body.size, signal)
          await store.put(key, body, signal)
        }),
      stat: (key, signal) => limited<Stat | undefined>(signal, () => store.stat(key, signal)),
      remove: (key, signal) => limited(signal, () => store.remove(key, signal)),
      async removeMany(keys, signal) {
        await oneObject(keys.length, signal)
        return await store.removeMany(keys, signal)
      },
      holds: store.holds, // a part of a put
      list: store.list, // a request for a thousand objects
      leftovers: store.leftovers,
      removeLeftover: (leftover, signal) => limited(signal, () => store.removeLeftover(leftover, signal)),
      check: store.check,
      close: store.close,
    }
  }
}

/** What was waited for in vain after an abort ends within a second: no request takes more than the bucket holds. */
function taking(rate: number | undefined): Take {
  if (rate === undefined) return async () => {}
  const bucket = new TokenBucket({ bucketSize: rate, tokensPerInterval: rate, interval: 'second' })
  return async (count, signal) => {
    for (let left = count; left > 0; left -= rate) {
      throwIfAborted(signal)
      await unlessAborted(bucket.removeTokens(Math.min(left, rate)), signal)
    }
  }
}
