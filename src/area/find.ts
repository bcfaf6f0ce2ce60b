import { Fault } from '../fault.ts'
import type { Store } from '../stores/store.ts'
import type { Attachment, Found } from './area.ts'

export type Find = (attachment: Attachment, signal: AbortSignal) => Promise<Found | undefined>

/**
 * Where an attachment is on one store: the first of its keys that is there. Undefined only when the absence of all keys
 * is proven. A store's answer about one key proves nothing if we may not list. But another key may be there.
 */
export function findIn(store: Store, keysOf: (attachment: Attachment) => readonly string[]): Find {
  return async (attachment, signal) => {
    let unproven: Fault | undefined
    for (const key of keysOf(attachment)) {
      const stat = await store.stat(key, signal).catch(error => {
        if (!(error instanceof Fault && error.perhapsAbsent)) throw error
        unproven ??= error
        return undefined
      })
      if (stat) return { key, size: stat.size }
    }
    if (unproven) throw unproven
    return undefined
  }
}

/** What a look at both tiers finds. After nothing, it looks again: a move may have ended between the two looks. */
export async function lookTwice<T>(look: () => Promise<T>, isNothing: (found: T) => boolean): Promise<T> {
  const found = await look()
  return isNothing(found) ? await look() : found
}

/** Absent, or perhaps absent: a store does not say it if we may not list. The file may be under another key or tier. */
export function mayBeAbsent(error: unknown): boolean {
  return error instanceof Fault && (error.code === 'NotFound' || error.perhapsAbsent)
}
