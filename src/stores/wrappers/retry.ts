import { setTimeout as sleep } from 'node:timers/promises'
import pRetry from 'p-retry'
import type { Bytes, Content, Range, Source } from '../../bytes.ts'
import { Fault, isCode, throwIfAborted } from '../../fault.ts'
import type { Removal, Removals, Wrap } from '../store.ts'

export interface RetryPolicy {
  /** How often one request is repeated after its first failure. */
  readonly maxRetries: number
  /** The first pause; each further one is up to twice as long, with jitter. Default 100 ms. */
  readonly firstDelayMs?: number
}

const LONGEST_DELAY_MS = 5_000
const LONGEST_RETRY_AFTER_MS = 30_000

const another = ({ retryable, startOver }: Fault) => retryable || startOver

/**
 * The one owner of retries. Repeats `work` while it rejects with a Fault that another try may cure. What it finally
 * throws is marked as not retryable: no caller may multiply the attempts. `mayHelp`: which faults to repeat; the
 * others pass as they are.
 */
export async function attempt<T>(
  work: () => Promise<T>,
  policy: RetryPolicy,
  signal: AbortSignal,
  log: (line: string) => void,
  mayHelp: (fault: Fault) => boolean = another,
): Promise<T> {
  let done: { readonly result: T } | undefined
  try {
    return await pRetry(
      async () => {
        try {
          const result = await work()
          done = { result }
          return result
        } catch (error) {
          throw Fault.from(error)
        }
      },
      {
        retries: policy.maxRetries,
        minTimeout: policy.firstDelayMs ?? 100,
        maxTimeout: LONGEST_DELAY_MS,
        factor: 2,
        randomize: true,
        signal,
        shouldRetry: ({ error }) => error instanceof Fault && mayHelp(error),
        onFailedAttempt: async ({ error, attemptNumber, retriesLeft }) => {
          if (!(error instanceof Fault) || !mayHelp(error) || retriesLeft === 0) return
          log(`attempt ${attemptNumber} failed and is repeated: ${error.describe()}`)
          if (error.retryAfterMs)
            await sleep(Math.min(error.retryAfterMs, LONGEST_RETRY_AFTER_MS), undefined, { signal })
        },
      },
    )
  } catch (error) {
    // The abort came after the end: a write that is there is a success, and the caller must close what was opened.
    if (done) return done.result
    if (signal.aborted) throw Fault.ofAbort(signal)
    const fault = Fault.from(error)
    if (!mayHelp(fault) || policy.maxRetries === 0) throw fault
    const final = { cause: fault, retryable: false, startOver: false }
    throw fault.with(final, `${fault.message} (after ${policy.maxRetries + 1} attempts)`)
  }
}

/** We request no more than was announced: so the announced size was wrong, by a server or something on the way. */
function wrongLength(error: unknown): never {
  if (!isCode(error, 'BadRequest')) throw error
  throw new Fault('Corrupt', 'an answer announced more bytes than the object has', { cause: error, retryable: true })
}

/** Repeats whole verbs. */
export function withRetry(policy: RetryPolicy, log: (line: string) => void): Wrap {
  return store => {
    const again = <T>(signal: AbortSignal, work: () => Promise<T>) => attempt(work, policy, signal, log)

    /** A body that breaks is resumed where it broke: objects are immutable, so the rest is of the same object. */
    async function* resumed(key: string, range: Range | undefined, first: Content, signal: AbortSignal): Bytes {
      const start = range?.start ?? 0
      const end = start + first.size
      let at = start
      let body: Bytes = first.body
      for (let breaks = 0; ; breaks++) {
        try {
          for await (const chunk of body) {
            yield chunk
            at += chunk.byteLength
          }
          return
        } catch (error) {
          throwIfAborted(signal)
          const fault = Fault.from(error)
          if (!fault.retryable || fault.startOver) throw fault
          if (breaks >= policy.maxRetries || at >= end) throw fault.with({ retryable: false })
          log(`the read of '${key}' broke at byte ${at} and is resumed there: ${fault.describe()}`)
          const rest = { start: at, end }
          body = (await again(signal, () => store.get(key, rest, signal)).catch(wrongLength)).body
        }
      }
    }

    /** After a lost answer the object may be there: we look before we repeat the write or say that it failed. */
    async function put(key: string, body: Source, signal: AbortSignal): Promise<void> {
      let doubtful = false
      const there = async () => {
        if (!doubtful || !store.holds || !(await store.holds(key, body, signal))) return false
        log(`the answer to the write of '${key}' was lost, but the object is there, as it was sent`)
        return true
      }
      try {
        await again(signal, async () => {
          if (await there()) return
          await store.put(key, body, signal).catch(error => {
            doubtful ||= error instanceof Fault && error.doubtful
            throw error
          })
        })
      } catch (error) {
        if (signal.aborted || !(await there().catch(() => false))) throw error
      }
    }

    /** Repeats what failed, not what is gone. In the end each key has the fault of its own last try. */
    async function removeMany(keys: readonly string[], signal: AbortSignal): Promise<Removals> {
      const known = new Map<string, Removal>()
      let left = keys
      const work = async () => {
        for (const [key, removal] of await store.removeMany(left, signal)) known.set(key, removal)
        const faults = left.flatMap(key => {
          const removal = known.get(key)
          return removal instanceof Fault && another(removal) ? [[key, removal] as const] : []
        })
        left = faults.map(([key]) => key)
        const [first] = faults
        if (first) throw first[1].at({ key: first[0] })
      }
      await again(signal, work).catch(error => {
        if (signal.aborted) throw error
        for (const key of left) {
          const removal = known.get(key)
          if (removal instanceof Fault) known.set(key, removal.with({ retryable: false, startOver: false }))
        }
      })
      return known
    }

    return {
      name: store.name,
      put,
      async get(key, range, signal) {
        const content = await again(signal, () => store.get(key, range, signal))
        return { ...content, body: resumed(key, range, content, signal) }
      },
      stat: (key, signal) => again(signal, () => store.stat(key, signal)),
      remove: (key, signal) => again(signal, () => store.remove(key, signal)),
      removeMany,
      holds: store.holds, // called within put, which repeats it
      list: store.list, // a store repeats its own pages: repeating a whole listing would return objects twice
      leftovers: store.leftovers,
      removeLeftover: (leftover, signal) => again(signal, () => store.removeLeftover(leftover, signal)),
      check: store.check, // called once only: at start, a wrong setting must be reported at once
      close: store.close,
    }
  }
}
