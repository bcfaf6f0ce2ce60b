/**
 * A copy on disk: a head, then the object as the store has it.
 *
 *      0   8  "OCS copy"
 *      8   4  CRC-32 of the rest of the head
 *     12   4  bytes of the head
 *     16   8  bytes of the object
 *     24   4  bytes of the identity
 *     28   n  identity: which object of which store this is, in UTF-8
 *   28+n  4m  CRC-32 of each slice of the object
 *
 * Numbers are little-endian. Nothing is synced: after a power cut a file may hold anything, and the checksums show it.
 * Each checksum begins with the one of the identity, so that a slice of another copy does not fit.
 */
import { crc32 } from 'node:zlib'

const MAGIC = Buffer.from('OCS copy')
const FIXED_BYTES = 28
/** What one checksum covers: the least that is read for a range. */
export const SLICE_BYTES = 256 * 1024

export interface CopyHead {
  readonly bytes: number
  /** Of the object. */
  readonly size: number
  readonly seed: number
  readonly sums: Uint32Array
}

const slicesOf = (size: number) => Math.ceil(size / SLICE_BYTES)

export function headBytes(identity: Buffer, size: number): number {
  return FIXED_BYTES + identity.byteLength + 4 * slicesOf(size)
}

/** The most that the head of a file of `bytes` bytes can have. */
export function mostHeadBytes(identity: Buffer, bytes: number): number {
  return headBytes(identity, bytes)
}

/** Checksums of an object that passes by in chunks of any size. */
export class SliceSums {
  readonly #seed: number
  readonly #sums: number[] = []
  #current: number
  #left = SLICE_BYTES

  constructor(identity: Buffer) {
    this.#seed = crc32(identity)
    this.#current = this.#seed
  }

  add(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.byteLength; ) {
      const piece = chunk.subarray(at, at + this.#left)
      this.#current = crc32(piece, this.#current)
      at += piece.byteLength
      this.#left -= piece.byteLength
      if (this.#left === 0) this.#next()
    }
  }

  /** The head of the copy, after the last chunk. */
  head(identity: Buffer, size: number): Buffer {
    if (this.#left < SLICE_BYTES) this.#next()
    const head = Buffer.alloc(headBytes(identity, size))
    MAGIC.copy(head)
    head.writeUInt32LE(head.byteLength, 12)
    head.writeBigUInt64LE(BigInt(size), 16)
    head.writeUInt32LE(identity.byteLength, 24)
    identity.copy(head, FIXED_BYTES)
    for (const [i, sum] of this.#sums.entries()) head.writeUInt32LE(sum, FIXED_BYTES + identity.byteLength + 4 * i)
    head.writeUInt32LE(crc32(head.subarray(12)), 8)
    return head
  }

  #next(): void {
    this.#sums.push(this.#current)
    this.#current = this.#seed
    this.#left = SLICE_BYTES
  }
}

/** The head that a file begins with. Undefined when it is not the whole head of a copy of this object. */
export function readHead(start: Buffer, identity: Buffer): CopyHead | undefined {
  if (start.byteLength < FIXED_BYTES || !start.subarray(0, 8).equals(MAGIC)) return undefined
  const bytes = start.readUInt32LE(12)
  const size = Number(start.readBigUInt64LE(16))
  const sumsAt = FIXED_BYTES + identity.byteLength
  if (start.readUInt32LE(24) !== identity.byteLength || !Number.isSafeInteger(size)) return undefined
  if (bytes !== headBytes(identity, size) || bytes > start.byteLength) return undefined
  if (crc32(start.subarray(12, bytes)) !== start.readUInt32LE(8)) return undefined
  if (!start.subarray(FIXED_BYTES, sumsAt).equals(identity)) return undefined
  const sums = new Uint32Array(slicesOf(size))
  for (let i = 0; i < sums.length; i++) sums[i] = start.readUInt32LE(sumsAt + 4 * i)
  return { bytes, size, seed: crc32(identity), sums }
}

/** Whether these are the bytes of the object from `at`, the beginning of a slice, on. */
export function areRight({ seed, sums, size }: CopyHead, at: number, bytes: Uint8Array): boolean {
  for (let from = 0; from < bytes.byteLength; from += SLICE_BYTES) {
    const slice = (at + from) / SLICE_BYTES
    const piece = bytes.subarray(from, from + SLICE_BYTES)
    if (piece.byteLength !== Math.min(SLICE_BYTES, size - at - from) || crc32(piece, seed) !== sums[slice]) return false
  }
  return true
}
