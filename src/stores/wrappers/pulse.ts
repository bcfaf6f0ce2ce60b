import type { Bytes } from '../../bytes.ts'
import { isCode } from '../../fault.ts'
import type { Wrap } from '../store.ts'

/** When the store last served us, by `performance.now()`; undefined = never since this process started. */
export interface Pulse {
  at: number | undefined
}

/**
 * Notes in `pulse` when the store serves us: for readiness. That is a success, or the proof that one object is absent
 * or archived. All other faults prove nothing: a refusal is an answer, but the store does not serve us; and what a
 * damaged or impossible request shows may be the fault of one object, or ours. Then `check` decides.
 */
export function withPulse(pulse: Pulse): Wrap {
  const beat = () => {
    pulse.at = performance.now()
  }

  async function noted<T>(work: Promise<T>): Promise<T> {
    try {
      const result = await work
      beat()
      return result
    } catch (error) {
      if (isCode(error, 'NotFound') || isCode(error, 'Archived')) beat()
      throw error
    }
  }

  async function* beating(body: Bytes): Bytes {
    for await (const chunk of body) {
      beat()
      yield chunk
    }
  }

  return store => ({
    name: store.name,
    put: (key, body, signal) => noted(store.put(key, body, signal)),
    async get(key, range, signal) {
      const content = await noted(store.get(key, range, signal))
      return { ...content, body: beating(content.body) }
    },
    stat: (key, signal) => noted(store.stat(key, signal)),
    remove: (key, signal) => noted(store.remove(key, signal)),
    holds: store.holds, // a part of a put
    list: store.list, // not a part of Orthanc's work, which never lists
    check: (signal, options) => noted(store.check(signal, options)),
    close: store.close,
  })
}
