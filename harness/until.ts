/** How tests wait: for progress, however slow the machine is. */
import { setTimeout as sleep } from 'node:timers/promises'

/** Measures nothing: it only ends a run that waits for something that will never come. */
export const GIVE_UP_MS = 5 * 60_000

type Not = undefined | null | false | 0 | ''

/** Calls `probe` until it returns something. An error that `probe` throws ends the wait. */
export async function until<T>(
  what: string | (() => string),
  probe: () => T | Not | Promise<T | Not>,
  pauseMs = 20,
): Promise<T> {
  for (const end = performance.now() + GIVE_UP_MS; ; ) {
    const found = await probe()
    if (found) return found
    if (performance.now() > end)
      throw new Error(`waited ${GIVE_UP_MS / 60_000} minutes for ${typeof what === 'string' ? what : what()}`)
    await sleep(pauseMs)
  }
}
