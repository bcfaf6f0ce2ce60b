import { collect, Fingerprint, type Source, sourceOf } from '../bytes.ts'
import { Fault } from '../fault.ts'
import { newDigest } from '../seal/digest.ts'
import type { Store } from '../stores/store.ts'

/** Up to this size an object stays in memory between its reading and its writing. */
const HELD_BYTES = 8 * 1024 * 1024

/**
 * Writes an object under a second key, as it is. Larger ones are read twice, and the second reading is compared with
 * the first. Resolves when the second object is there; the first one stays. Rejects with `NotFound` when it is gone.
 */
export async function copyAside(store: Store, from: string, to: string, signal: AbortSignal): Promise<void> {
  const source = await readAsIs(store, from, signal)
  await store.put(to, source, signal)
  const written = await store.stat(to, signal)
  if (written?.size === source.size) return
  throw new Fault('Corrupt', `what was written as ${to} is not there as it was written`, {
    where: { verb: 'put', store: store.name, key: to },
    remedy: 'Find out what removes or changes objects there. The object itself was left as it is.',
  })
}

/** The stored bytes of an object, which can be read again. Memory does not grow with it. */
async function readAsIs(store: Store, key: string, signal: AbortSignal): Promise<Source> {
  const content = await store.get(key, undefined, signal)
  if (content.size <= HELD_BYTES) return sourceOf(await collect(content))
  const fingerprint = await Fingerprint.of(content.body, () => newDigest('sha256'))
  return fingerprint.source(
    range => store.get(key, range, signal),
    () => {},
  )
}
