import type { Bytes } from '../../bytes.ts'
import { Fault } from '../../fault.ts'
import type { Wrap } from '../store.ts'

/**
 * One absolute deadline for one whole read or write, its retries included (`RequestTimeout`). The timer
 * ends with the operation: an AbortSignal.timeout() of 20 minutes per operation would pile up by the hundred thousand.
 */
export function withDeadline(ms: number, option: string): Wrap {
  return store => {
    function start(signal: AbortSignal) {
      const abort = new AbortController()
      const pass = () => abort.abort(signal.reason)
      if (signal.aborted) pass()
      signal.addEventListener('abort', pass, { once: true })
      const late = () =>
        abort.abort(
          new Fault('Timeout', `it took longer than ${ms / 1000} s`, {
            retryable: false,
            remedy: `Raise ${option} if such files and this network need more.`,
          }),
        )
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

    return {
      ...store,
      put: (key, body, signal) => limited(signal, inner => store.put(key, body, inner)),
      async get(key, range, outer) {
        const { signal, end } = start(outer)
        try {
          const { size, body } = await store.get(key, range, signal)
          return { size, body: ending(body, end) }
        } catch (error) {
          end()
          throw error
        }
      },
      stat: (key, signal) => limited(signal, inner => store.stat(key, inner)),
      remove: (key, signal) => limited(signal, inner => store.remove(key, inner)),
    }
  }
}

/** What `work` resolves to, unless `signal` is faster. */
export function until<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason)
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}
