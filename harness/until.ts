/** How tests wait: for progress, however slow the machine is. */
import { setTimeout as sleep } from 'node:timers/promises'

/** Measures nothing: it only ends a run in which what is waited for will never come. */
export const GIVE_UP_MS = 5 * 60_000

type Not = undefined | null | false | 0 | ''

/** Asks until the answer is something. What `probe` throws is not waited out. */
export async function until<T>(
  what: string | (() => string),
  probe: () => T | Not | Promise<T | Not>,
  pauseMs = 20,
): Promise<T> {
  for (const end = performance.now() + GIVE_UP_MS; ; ) {
    const found = await probe()
    if (found) return found
    if (performance.now() > end)
      throw new Error(`waited ${GIVE_UP_MS / 60_000} minutes in vain for ${typeof what === 'string' ? what : what()}`)
    await sleep(pauseMs)
  }
}
