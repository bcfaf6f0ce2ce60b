/**
 * One object under another master key. A1 authenticates the wrapped data key together with the bytes, so a new header
 * is not enough: the object is read, verified, sealed with a new data key and IV, written under its key, read back and
 * compared.
 *
 * Orthanc may be running. It never changes an object, but it may remove one at any moment. Then our write would make an
 * orphan of it. None of our stores can write on the condition that the object is there. So we look again before we hand
 * over the last bytes of the write. A race remains only while the store makes the write visible.
 */
import { type Bytes, Fingerprint, orDiscard, type Source } from '../bytes.ts'
import { Fault, isCode } from '../fault.ts'
import { a1 } from '../seal/a1.ts'
import { type Keyring, keyring } from '../seal/keyring.ts'
import { newSha256, type VerifiedPlaintext, verifiedPlaintext } from '../seal/verified.ts'
import type { Store } from '../stores/store.ts'

export type Resealer = ReturnType<typeof resealer>

export function resealer(store: Store, keys: Keyring) {
  const envelope = a1(keys)
  const current = a1(keyring(keys.current, []))

  async function compare(key: string, { fingerprint }: VerifiedPlaintext, signal: AbortSignal): Promise<void> {
    const found = await orDiscard(await store.get(key, undefined, signal), content => current.unseal(content))
    if (!fingerprint.equals(await Fingerprint.of(found.body, newSha256)))
      throw new Fault('Corrupt', 'what was written reads back as something else', {
        remedy: 'Find the cause before you go on: check the disks and the memory of both machines.',
      })
  }

  return {
    /** Seals the object again under the current key. False: the object was removed before the write ended. */
    reseal: (key: string, signal: AbortSignal) =>
      unlessVanished(async () => {
        const plaintext = await verifiedPlaintext(envelope, range => store.get(key, range, signal))
        const stillThere = async () => {
          if (!(await store.stat(key, signal))) throw new Fault('NotFound', 'the object was removed during its write')
        }
        await store.put(key, lookingAgain(current.seal(plaintext.source), stillThere), signal)
        await compare(key, plaintext, signal)
      }),

    /** Reads an object to its end, and rejects unless it is what was sealed. False: the object was removed. */
    verify: (key: string, signal: AbortSignal) =>
      unlessVanished(async () => {
        const { body } = await orDiscard(await store.get(key, undefined, signal), content => envelope.unseal(content))
        for await (const _ of body);
      }),
  }
}

async function unlessVanished(work: () => Promise<void>): Promise<boolean> {
  try {
    await work()
    return true
  } catch (error) {
    if (isCode(error, 'NotFound')) return false
    throw error
  }
}

/** A source that delivers its last chunk only after `stillThere` resolved. */
function lookingAgain(source: Source, stillThere: () => Promise<void>): Source {
  async function* open(body: Bytes): Bytes {
    let last: Uint8Array | undefined
    for await (const chunk of body) {
      if (last) yield last
      last = chunk
    }
    await stillThere()
    if (last) yield last
  }
  return {
    size: source.size,
    open: range => (range && range.end < source.size ? source.open(range) : open(source.open(range))),
  }
}
