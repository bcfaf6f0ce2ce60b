import { createHash, hash } from 'node:crypto'
import { type Bytes, collect, type Range, type Source, sourceOf } from '../bytes.ts'
import { Fault } from '../fault.ts'
import { HEADER_BYTES, randomnessOf } from '../seal/a1.ts'
import type { Envelope } from '../seal/envelope.ts'
import { gcmCounterMode } from '../seal/gcm-ranges.ts'
import type { Keyring } from '../seal/keyring.ts'
import type { Store } from '../stores/store.ts'

/**
 * A large plaintext is read again in slices of this size, one request each. It must stay below the smallest part of a
 * parallel transfer (5 MB): a read that is split into parts would wait for a transfer slot, held by the very upload that
 * waits for the read.
 */
const SLICE_BYTES = 4 * 1024 * 1024
/** Up to this size the plaintext stays in memory from its verification to its writing, and is read once. */
const HELD_BYTES = 8 * 1024 * 1024

/** SHA-256 of each slice of a plaintext. */
export type Fingerprint = readonly Buffer[]

export interface VerifiedPlaintext {
  readonly source: Source
  readonly fingerprint: Fingerprint
}

/**
 * The plaintext of a sealed object, after one pass over the whole object has verified its tag. What the source delivers
 * later, in whatever order and as often as a write wants, is that plaintext or a fault: each slice is compared with what
 * the verifying pass has seen. Nothing of it touches a disk, and memory does not grow with the object.
 */
export async function verifiedPlaintext(
  { store, envelope, keys }: { readonly store: Store; readonly envelope: Envelope; readonly keys: Keyring },
  key: string,
  signal: AbortSignal,
): Promise<VerifiedPlaintext> {
  const sealed = await store.get(key, undefined, signal)
  const plain = envelope.unseal(sealed)
  if (plain.size <= HELD_BYTES) {
    const bytes = await collect(plain)
    return { source: sourceOf(bytes), fingerprint: await fingerprintOf(sourceOf(bytes).open()) }
  }
  const fingerprint = await fingerprintOf(plain.body)
  const header = await collect(await store.get(key, { start: 0, end: HEADER_BYTES }, signal))
  const { dataKey, iv } = randomnessOf(header, keys)

  async function slice(index: number): Promise<Buffer> {
    const start = index * SLICE_BYTES
    const end = Math.min(start + SLICE_BYTES, plain.size)
    const range = { start: HEADER_BYTES + start, end: HEADER_BYTES + end }
    const ciphertext = await collect(await store.get(key, range, signal))
    const bytes = Buffer.concat([...gcmCounterMode(dataKey, iv, start)(ciphertext)])
    if (!fingerprint[index]?.equals(hash('sha256', bytes, 'buffer')))
      throw new Fault('Corrupt', 'the object changed after it was verified', {
        remedy: 'Something else writes to it, or the store delivers damaged bytes. The object was left as it is.',
      })
    return bytes
  }

  async function* open({ start, end }: Range = { start: 0, end: plain.size }): Bytes {
    for (let i = Math.floor(start / SLICE_BYTES); i * SLICE_BYTES < end; i++) {
      const at = i * SLICE_BYTES
      yield (await slice(i)).subarray(Math.max(start - at, 0), end - at)
    }
  }

  return { source: { size: plain.size, open }, fingerprint }
}

export async function fingerprintOf(body: Bytes): Promise<Fingerprint> {
  const done: Buffer[] = []
  let current = createHash('sha256')
  let left = SLICE_BYTES
  for await (const chunk of body)
    for (let at = 0; at < chunk.byteLength; ) {
      const piece = chunk.subarray(at, at + left)
      current.update(piece)
      at += piece.byteLength
      left -= piece.byteLength
      if (left > 0) continue
      done.push(current.digest())
      current = createHash('sha256')
      left = SLICE_BYTES
    }
  if (left < SLICE_BYTES) done.push(current.digest())
  return done
}

export function sameFingerprint(a: Fingerprint, b: Fingerprint): boolean {
  return a.length === b.length && a.every((digest, i) => b[i]?.equals(digest))
}
