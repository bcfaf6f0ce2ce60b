import { prefixOf } from '../area/naming.ts'
import { sourceOf } from '../bytes.ts'
import { Fault, isCode } from '../fault.ts'
import type { Side } from './side.ts'

const REMOVE_MS = 30_000

/**
 * Rejects where both sides are one place under two names: two mounts of one export, two addresses of one server. There
 * everything would be equal, and prove nothing. Names do not show that, so a small object is written to the target and
 * looked for at the source, to which nothing is written. `name`: nothing else has it.
 */
export async function refuseOnePlace(from: Side, to: Side, name: string, signal: AbortSignal): Promise<void> {
  const key = `${prefixOf(to.naming)}${name}`
  await to.store.put(key, sourceOf(Buffer.from('This file may be removed.\n')), signal)
  try {
    const seen = await from.store.stat(`${prefixOf(from.naming)}${name}`, signal).catch(error => {
      if (error instanceof Fault && error.perhapsAbsent) return undefined // if it were there, we could read it
      throw error
    })
    if (!seen) return
    throw new Fault('BadRequest', `${from.store.name} and ${to.store.name} are one place under two names`, {
      remedy: 'Give the target another bucket, container or folder, or another RootPath.',
    })
  } finally {
    // Also after Ctrl-C.
    await to.store.remove(key, AbortSignal.timeout(REMOVE_MS)).catch(error => {
      if (!isCode(error, 'Denied')) throw error // it stays
    })
  }
}
