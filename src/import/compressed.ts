/**
 * What Orthanc writes with `StorageCompression`: eight bytes with the size of the file, then zlib. What comes out is
 * bounded by that size, so that a few bytes cannot become a flood.
 */
import { pipeline, Readable } from 'node:stream'
import { createInflate } from 'node:zlib'
import { type Bytes, type Content, checkedContent } from '../bytes.ts'
import { Fault, isErrno } from '../fault.ts'

const SIZE_BYTES = 8
/** zlib makes no byte from less than a thousandth of one. */
const BEST_RATIO = 1032
/** Orthanc holds a file in memory. */
const LARGEST_BYTES = 2 ** 32

/** The size of the file; undefined when an object of `size` bytes that begins so is not such a one. */
export function inflatedSize(start: Buffer, size: number): number | undefined {
  if (start.byteLength < SIZE_BYTES + 2) return undefined
  const [method = 0, flags = 0] = start.subarray(SIZE_BYTES)
  if (method !== 0x78 || (method * 256 + flags) % 31 !== 0) return undefined
  const announced = start.readBigUInt64LE(0)
  const most = Math.min(LARGEST_BYTES, (size - SIZE_BYTES) * BEST_RATIO)
  return announced > 0n && announced <= BigInt(most) ? Number(announced) : undefined
}

/** The body rejects with `Corrupt` when it is not exactly `size` bytes of a whole stream of zlib. */
export function inflated({ body }: Content, size: number): Content {
  return checkedContent(size, inflate(body))
}

async function* inflate(body: Bytes): Bytes {
  const zlib = createInflate()
  pipeline(Readable.from(withoutSize(body), { objectMode: false }), zlib, () => {}) // its error reaches the reader
  try {
    yield* zlib
  } catch (error) {
    if (isErrno(error, 'Z_DATA_ERROR', 'Z_BUF_ERROR', 'Z_NEED_DICT'))
      throw new Fault('Corrupt', 'the object is compressed, and damaged', { cause: error })
    throw error
  } finally {
    zlib.destroy()
  }
}

async function* withoutSize(body: Bytes): Bytes {
  let left = SIZE_BYTES
  for await (const chunk of body) {
    const rest = chunk.subarray(Math.min(left, chunk.byteLength))
    left -= chunk.byteLength - rest.byteLength
    if (rest.byteLength > 0) yield rest
  }
}
