import { type Content, collect, Fingerprint, orDiscard, type Range, type Source, sourceOf } from '../bytes.ts'
import { newDigest } from './digest.ts'
import type { Envelope } from './envelope.ts'

/** Up to this size the plaintext stays in memory from its verification to its write, and is read once. */
const HELD_BYTES = 8 * 1024 * 1024

export const newSha256 = () => newDigest('sha256')

export interface VerifiedPlaintext {
  readonly source: Source
  readonly fingerprint: Fingerprint
}

/**
 * The plaintext of an object, after one pass over the whole object has verified it, and its tag where it is sealed. A
 * write may read the source in any order, and more than once. Each slice is compared with the fingerprint of the
 * verifying pass, so the source delivers that plaintext or a fault. Nothing is written to a disk, and memory does not
 * grow with the object. `get` brings the object, or a range of it.
 */
export async function verifiedPlaintext(
  envelope: Pick<Envelope, 'unseal' | 'ranges'>,
  get: (range?: Range) => Promise<Content>,
): Promise<VerifiedPlaintext> {
  const plain = await orDiscard(await get(), sealed => envelope.unseal(sealed))
  if (plain.size <= HELD_BYTES) {
    const source = sourceOf(await collect(plain))
    return { source, fingerprint: await Fingerprint.of(source.open(), newSha256) }
  }
  const fingerprint = await Fingerprint.of(plain.body, newSha256)
  const opened = () => envelope.ranges(get)
  let ranges = opened()
  // A run that was killed may have sent the object once more, and the store shows it late: with another data key.
  const renew = () => {
    ranges = opened()
  }
  return { source: fingerprint.source(range => ranges(range), renew), fingerprint }
}
