import { Fault } from './fault.ts'

export type Bytes = AsyncIterable<Uint8Array>

/** Half-open byte range, `end` exclusive, never empty. */
export interface Range {
  readonly start: number
  readonly end: number
}

/** A sized input that can be read again: every open() yields the same bytes, or throws. */
export interface Source {
  readonly size: number
  open(range?: Range): Bytes
}

/** A sized output, consumed once. Ending early or late is a fault, never a short read. */
export interface Content {
  readonly size: number
  readonly body: Bytes
}

export function sourceOf(bytes: Uint8Array): Source {
  return {
    size: bytes.byteLength,
    async *open(range) {
      const slice = range ? bytes.subarray(range.start, range.end) : bytes
      if (slice.byteLength > 0) yield slice
    },
  }
}

/** A part of a source, itself a source: what one request of a large upload sends. */
export function sliceOf(source: Source, slice: Range): Source {
  return {
    size: slice.end - slice.start,
    open: range => source.open(range ? { start: slice.start + range.start, end: slice.start + range.end } : slice),
  }
}

/** A content whose body is checked against its size: short or over-long is `Corrupt`. */
export function contentOf(size: number, body: Bytes): Content {
  return { size, body: exactly(size, body) }
}

async function* exactly(size: number, body: Bytes): Bytes {
  let seen = 0
  for await (const chunk of body) {
    seen += chunk.byteLength
    if (seen > size) throw new Fault('Corrupt', `more than the announced ${size} bytes arrived`, { retryable: true })
    yield chunk
  }
  if (seen < size) throw new Fault('Corrupt', `only ${seen} of ${size} bytes arrived`, { retryable: true })
}

/** All bytes in one buffer of `size` bytes. For parts and small things only: nothing here may grow with an object. */
export async function collect(content: Content): Promise<Buffer> {
  const whole = Buffer.allocUnsafe(content.size)
  let at = 0
  for await (const chunk of exactly(content.size, content.body)) {
    whole.set(chunk, at)
    at += chunk.byteLength
  }
  return whole
}

/** `range` as it is, after checking that it lies inside an object of `size` bytes. */
export function checkedRange(range: Range, size: number): Range {
  if (range.start < 0 || range.end <= range.start || range.end > size)
    throw new Fault('BadRequest', `bytes ${range.start} to ${range.end} were asked of an object of ${size} bytes`)
  return range
}
