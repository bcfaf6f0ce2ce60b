/**
 * The framing in which S3 takes a checksum after the bytes ("aws-chunked" with a trailer): chunks of known sizes, so
 * the length of the whole is known before it begins. Nothing in it is signed but the headers.
 */
import type { Bytes } from '../../bytes.ts'

/** Of a chunk. MinIO takes up to 16 MiB, AWS from 8 KiB on. */
const CHUNK_BYTES = 1024 * 1024

export interface Trailer {
  readonly name: string
  /** Its value has always this length. */
  readonly length: number
}

/** What goes on the wire for a body of `size` bytes. `value`: of the trailer; called when all bytes have gone out. */
export function awsChunked(body: Bytes, size: number, trailer: Trailer, value: () => string) {
  return { body: framed(body, size, trailer.name, value), size: framedSize(size, trailer) }
}

const head = (bytes: number) => `${bytes.toString(16)}\r\n`
const tail = (name: string, value: string) => `0\r\n${name}:${value}\r\n\r\n`

function framedSize(size: number, { name, length }: Trailer): number {
  const whole = Math.floor(size / CHUNK_BYTES)
  const rest = size % CHUNK_BYTES
  const framing = (bytes: number) => head(bytes).length + 2
  return size + whole * framing(CHUNK_BYTES) + (rest > 0 ? framing(rest) : 0) + tail(name, '').length + length
}

async function* framed(body: Bytes, size: number, name: string, value: () => string): Bytes {
  let left = size
  /** Of the current chunk. */
  let missing = 0
  let ended = ''
  for await (let bytes of body) {
    while (bytes.byteLength > 0) {
      if (missing === 0) {
        missing = Math.min(left, CHUNK_BYTES)
        if (missing === 0) throw new RangeError('a body is longer than it was said to be')
        yield Buffer.from(ended + head(missing))
        ended = '\r\n'
      }
      const piece = bytes.subarray(0, missing)
      yield piece
      bytes = bytes.subarray(piece.byteLength)
      missing -= piece.byteLength
      left -= piece.byteLength
    }
  }
  yield Buffer.from(ended + tail(name, value()))
}
