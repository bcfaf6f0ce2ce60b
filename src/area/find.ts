import type { Store } from '../stores/store.ts'
import type { Attachment, Found } from './area.ts'

export type Find = (attachment: Attachment, signal: AbortSignal) => Promise<Found | undefined>

/** Where an attachment is on one store: the first of its keys that is there. Undefined only for a proven absence. */
export function findIn(store: Store, keysOf: (attachment: Attachment) => readonly string[]): Find {
  return async (attachment, signal) => {
    for (const key of keysOf(attachment)) {
      const stat = await store.stat(key, signal)
      if (stat) return { key, size: stat.size }
    }
    return undefined
  }
}
