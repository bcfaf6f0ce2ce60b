import type { Bytes } from '../../bytes.ts'
import { Fault, isCode } from '../../fault.ts'
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
  /** When the store last served us, by `performance.now()`; undefined = never. */
  servedAt: number | undefined
}

export function newCounts(): Counts {
  return { reads: 0, writes: 0, removals: 0, errors: 0, bytesRead: 0, bytesWritten: 0, servedAt: undefined }
}

/**
 * Adds to `counts` what the store does: for the status page, Prometheus and readiness. A store serves us when it
 * succeeds, or proves that one object is absent or archived. All other faults prove nothing: a refusal is an answer,
 * but the store does not serve us; and what a damaged or impossible request shows may be the fault of one object, or
 * ours. Then `check` decides.
 */
export function withMetrics(counts: Counts): Wrap {
  const served = () => {
    counts.servedAt = performance.now()
  }
  const refused = (error: unknown): never => {
    if (isCode(error, 'NotFound') || isCode(error, 'Archived')) served()
    throw error
  }
  const failed = (error: unknown): never => {
    const { code } = Fault.from(error)
    if (code !== 'NotFound' && code !== 'Canceled') counts.errors++
    return refused(error)
  }

  async function* counted(body: Bytes): Bytes {
    try {
      for await (const chunk of body) {
        counts.bytesRead += chunk.byteLength
        served()
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
      await store.put(key, source, signal).then(served, failed)
      counts.writes++
      counts.bytesWritten += source.size
    },
    async get(key, range, signal) {
      const content = await store.get(key, range, signal).catch(failed)
      served()
      return { ...content, body: counted(content.body) }
    },
    async stat(key, signal) {
      const found = await store.stat(key, signal).catch(failed)
      served()
      return found
    },
    async remove(key, signal) {
      await store.remove(key, signal).then(served, failed)
      counts.removals++
    },
    async removeMany(keys, signal) {
      const removals = await store.removeMany(keys, signal).catch(failed)
      for (const removal of removals.values())
        if (removal === 'gone') counts.removals++
        else if (removal.code !== 'Canceled') counts.errors++
      if ([...removals.values()].includes('gone')) served()
      return removals
    },
    holds: store.holds, // a part of a put, which is counted
    list: store.list, // not a part of Orthanc's work, which never lists
    leftovers: store.leftovers,
    removeLeftover: (leftover, signal) => store.removeLeftover(leftover, signal).then(served, failed),
    check: (signal, options) => store.check(signal, options).then(served, refused), // no operation of Orthanc's
    close: store.close,
  })
}
