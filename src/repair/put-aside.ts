import { Fault } from '../fault.ts'
import { plain } from '../seal/envelope.ts'
import { verifiedPlaintext } from '../seal/verified.ts'
import type { Store } from '../stores/store.ts'

/**
 * Writes an object under a second key, as it is. Larger ones are read twice, and the second reading is compared with
 * the first. Resolves when the second object is there; the first one stays. Rejects with `NotFound` when it is gone.
 */
export async function copyAside(store: Store, from: string, to: string, signal: AbortSignal): Promise<void> {
  const { source } = await verifiedPlaintext(plain, range => store.get(from, range, signal))
  await store.put(to, source, signal)
  const written = await store.stat(to, signal)
  if (written?.size === source.size) return
  throw new Fault('Corrupt', `what was written as ${to} is not there as it was written`, {
    where: { verb: 'put', store: store.name, key: to },
    remedy: 'Find out what removes or changes objects there. The object itself was left as it is.',
  })
}
