/**
 * The ciphertext of AES-256-GCM from any offset on, without the bytes before it: what a part of a large upload needs.
 * GCM encrypts in counter mode. Its first counter block is not accessible, and only its tag needs the whole.
 */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'

const BLOCK_BYTES = 16

/**
 * The counter block J0 of NIST SP 800-38D. The tag of an empty message is E(key, J0) XOR GHASH(empty), and the latter
 * is zero: so decrypting that tag as one block gives J0, for any length of IV.
 */
function firstCounter(key: KeyObject, iv: Buffer): Buffer {
  const empty = createCipheriv('aes-256-gcm', key, iv)
  empty.final()
  const block = createDecipheriv('aes-256-ecb', key, null).setAutoPadding(false)
  return Buffer.concat([block.update(empty.getAuthTag()), block.final()])
}

/** Encrypts the bytes that follow `offset`, chunk after chunk. */
export function gcmCounterMode(dataKey: Buffer, iv: Buffer, offset: number): (chunk: Uint8Array) => Iterable<Buffer> {
  const key = createSecretKey(dataKey) // each cipher that is given bytes costs more, see keyObject() of a1.ts
  const counter = firstCounter(key, iv)
  const first = counter.readUInt32BE(12)
  let at = offset
  let cipher = startAt(at)

  // GCM counts in the last 32 bits only and wraps there; counter mode as such would carry into the other 96.
  function startAt(position: number) {
    const block = Buffer.from(counter)
    block.writeUInt32BE((first + 1 + Math.floor(position / BLOCK_BYTES)) % 2 ** 32, 12)
    const started = createCipheriv('aes-256-ctr', key, block)
    started.update(Buffer.alloc(position % BLOCK_BYTES))
    return started
  }
  const wrapsAt = (2 ** 32 - first - 1) * BLOCK_BYTES

  return function* encrypt(chunk) {
    const left = wrapsAt - at
    if (left > 0 && left < chunk.byteLength) {
      yield cipher.update(chunk.subarray(0, left))
      cipher = startAt(wrapsAt)
      yield cipher.update(chunk.subarray(left))
    } else {
      if (left === 0) cipher = startAt(wrapsAt)
      yield cipher.update(chunk)
    }
    at += chunk.byteLength
  }
}
