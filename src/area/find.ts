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

/** Looks at two places, while moves pass by. One file is not moved that often. */
const MOST_LOOKS = 5

/**
 * A look that found nothing at either place proves an absence only if no move passed by it: jobs may move a file to and
 * fro. So it is repeated until none did. `movesEnded`: how many moves have ended; undefined while the file is moved.
 */
export async function lookUndisturbed<T>(
  look: () => Promise<T>,
  isNothing: (found: T) => boolean,
  movesEnded: () => number | undefined,
): Promise<T> {
  for (let looks = 1; ; looks++) {
    const before = movesEnded()
    const found = await look()
    const undisturbed = before !== undefined && before === movesEnded()
    if (undisturbed || looks === MOST_LOOKS || !isNothing(found)) return found
  }
}

/** Absent, or perhaps absent: a store does not say it if we may not list. The file may be under another key or tier. */
export function mayBeAbsent(error: unknown): boolean {
  return error instanceof Fault && (error.code === 'NotFound' || error.perhapsAbsent)
}
