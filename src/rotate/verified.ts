import { collect, Fingerprint, orDiscard, type Source, sourceOf } from '../bytes.ts'
import { newDigest } from '../seal/digest.ts'
import type { Envelope } from '../seal/envelope.ts'
import type { Store } from '../stores/store.ts'

/** Up to this size the plaintext stays in memory from its verification to its write, and is read once. */
const HELD_BYTES = 8 * 1024 * 1024

export const newSha256 = () => newDigest('sha256')

export interface VerifiedPlaintext {
  readonly source: Source
  readonly fingerprint: Fingerprint
}

/**
 * The plaintext of a sealed object, after one pass over the whole object has verified its tag. A write may read the
 * source in any order, and more than once. Each slice is compared with the fingerprint of the verifying pass, so the
 * source delivers that plaintext or a fault. Nothing is written to a disk, and memory does not grow with the object.
 */
export async function verifiedPlaintext(
  store: Store,
  envelope: Envelope,
  key: string,
  signal: AbortSignal,
): Promise<VerifiedPlaintext> {
  const plain = await orDiscard(await store.get(key, undefined, signal), sealed => envelope.unseal(sealed))
  if (plain.size <= HELD_BYTES) {
    const source = sourceOf(await collect(plain))
    return { source, fingerprint: await Fingerprint.of(source.open(), newSha256) }
  }
  const fingerprint = await Fingerprint.of(plain.body, newSha256)
  const opened = () => envelope.ranges(range => store.get(key, range, signal))
  let ranges = opened()
  // A run that was killed may have sent the object once more, and the store shows it late: with another data key.
  const renew = () => {
    ranges = opened()
  }
  return { source: fingerprint.source(range => ranges(range), renew), fingerprint }
}
