import type { Bytes } from '../../bytes.ts'
import { Fault } from '../../fault.ts'
import type { Wrap } from '../store.ts'

/**
 * One absolute deadline for one whole read or write, its retries included (`RequestTimeout`). The timer ends with the
 * operation: an AbortSignal.timeout() of 20 minutes per operation would pile up by the hundred thousand.
 * `remedy`: what to do when it is too short, as one sentence.
 */
export function withDeadline(ms: number, remedy: string): Wrap {
  function start(signal: AbortSignal) {
    const abort = new AbortController()
    const pass = () => abort.abort(signal.reason)
    if (signal.aborted) pass()
    signal.addEventListener('abort', pass, { once: true })
    const late = () =>
      abort.abort(new Fault('Timeout', `it took longer than ${ms / 1000} s`, { retryable: false, remedy }))
    const timer = setTimeout(late, ms)
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', pass)
    }
    return { signal: abort.signal, end }
  }

  async function limited<T>(outer: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { signal, end } = start(outer)
    try {
      return await work(signal)
    } finally {
      end()
    }
  }

  async function* ending(body: Bytes, end: () => void): Bytes {
    try {
      yield* body
    } finally {
      end()
    }
  }

  return store => ({
    name: store.name,
    put: (key, body, signal) => limited(signal, inner => store.put(key, body, inner)),
    async get(key, range, outer) {
      const { signal, end } = start(outer)
      try {
        const content = await store.get(key, range, signal)
        return { ...content, body: ending(content.body, end) }
      } catch (error) {
        end()
        throw error
      }
    },
    stat: (key, signal) => limited(signal, inner => store.stat(key, inner)),
    remove: (key, signal) => limited(signal, inner => store.remove(key, inner)),
    removeMany: (keys, signal) => limited(signal, inner => store.removeMany(keys, inner)),
    holds: store.holds, // a part of a put, within the deadline of that put
    list: store.list, // as long as there are objects: nobody knows how many
    leftovers: store.leftovers,
    removeLeftover: (leftover, signal) => limited(signal, inner => store.removeLeftover(leftover, inner)),
    check: store.check, // its callers set their own time limits
    close: store.close,
  })
}
