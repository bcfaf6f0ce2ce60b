import type { Bytes } from '../../bytes.ts'
import { Fault } from '../../fault.ts'
import type { Store, Wrap } from '../store.ts'

/** Since this engine started. Bytes are those of the objects, without what HTTP adds. */
export interface Counts {
  reads: number
  writes: number
  removals: number
  /** Operations that failed after all retries, other than for an absence. */
  errors: number
  bytesRead: number
  bytesWritten: number
}

/** Counts what a store does: for the status page and Prometheus. */
export function counting(): { counted: Wrap; counts: Counts } {
  const counts: Counts = { reads: 0, writes: 0, removals: 0, errors: 0, bytesRead: 0, bytesWritten: 0 }

  const failed = (error: unknown): never => {
    const { code } = Fault.from(error)
    if (code !== 'NotFound' && code !== 'Canceled') counts.errors++
    throw error
  }

  async function* body(bytes: Bytes): Bytes {
    try {
      for await (const chunk of bytes) {
        counts.bytesRead += chunk.byteLength
        yield chunk
      }
      counts.reads++
    } catch (error) {
      failed(error)
    }
  }

  const counted = (store: Store): Store => ({
    ...store,
    async put(key, source, signal) {
      await store.put(key, source, signal).catch(failed)
      counts.writes++
      counts.bytesWritten += source.size
    },
    async get(key, range, signal) {
      const content = await store.get(key, range, signal).catch(failed)
      return { size: content.size, body: body(content.body) }
    },
    stat: (key, signal) => store.stat(key, signal).catch(failed),
    async remove(key, signal) {
      await store.remove(key, signal).catch(failed)
      counts.removals++
    },
  })
  return { counted, counts }
}
