import type { Bytes } from '../../bytes.ts'
import { Fault } from '../../fault.ts'
import type { Wrap } from '../store.ts'

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

export function newCounts(): Counts {
  return { reads: 0, writes: 0, removals: 0, errors: 0, bytesRead: 0, bytesWritten: 0 }
}

/** Adds to `counts` what the store does: for the status page and Prometheus. */
export function withMetrics(counts: Counts): Wrap {
  const failed = (error: unknown): never => {
    const { code } = Fault.from(error)
    if (code !== 'NotFound' && code !== 'Canceled') counts.errors++
    throw error
  }

  async function* counted(body: Bytes): Bytes {
    try {
      for await (const chunk of body) {
        counts.bytesRead += chunk.byteLength
        yield chunk
      }
      counts.reads++
    } catch (error) {
      failed(error)
    }
  }

  return store => ({
    name: store.name,
    async put(key, source, signal) {
      await store.put(key, source, signal).catch(failed)
      counts.writes++
      counts.bytesWritten += source.size
    },
    async get(key, range, signal) {
      const content = await store.get(key, range, signal).catch(failed)
      return { ...content, body: counted(content.body) }
    },
    stat: (key, signal) => store.stat(key, signal).catch(failed),
    async remove(key, signal) {
      await store.remove(key, signal).catch(failed)
      counts.removals++
    },
    holds: store.holds, // a part of a put, which is counted
    list: store.list, // not a part of Orthanc's work, which never lists
    check: store.check, // not a part of Orthanc's work either
    close: store.close,
  })
}
