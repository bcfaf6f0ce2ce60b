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
  /** Of all bytes of the body, where the store tells it; stores/verify.ts compares it. */
  readonly digest?: Digest | undefined
}

/** `value` in base64. */
export interface Digest {
  readonly name: 'md5' | 'crc32c'
  readonly value: string
  /** Whether a body with the digest `found` is right, where that is less simple than being the same. */
  confirms?(found: string): boolean
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

/** A content whose body is checked against its size: short or over-long is `Corrupt`, and worth another try. */
export function contentOf(size: number, body: Bytes): Content {
  return { size, body: exactly(size, body, true) }
}

/** All of a source, checked against its size. Asking a source again would not help: such a fault is final. */
export function openWhole(source: Source): Bytes {
  return exactly(source.size, source.open(), false)
}

async function* exactly(size: number, body: Bytes, retryable: boolean): Bytes {
  let seen = 0
  for await (const chunk of body) {
    seen += chunk.byteLength
    if (seen > size) throw new Fault('Corrupt', `more than the announced ${size} bytes arrived`, { retryable })
    yield chunk
  }
  if (seen < size) throw new Fault('Corrupt', `only ${seen} of ${size} bytes arrived`, { retryable })
}

/** All bytes in one buffer of `size` bytes. For parts and small things only: nothing here may grow with an object. */
export async function collect({ size, body }: Content): Promise<Buffer> {
  let whole: Buffer | undefined
  let at = 0
  for await (const chunk of exactly(size, body, true)) {
    if (chunk.byteLength === size)
      whole = Buffer.from(chunk.buffer, chunk.byteOffset, size) // the usual case: no copy
    else whole = whole ?? Buffer.allocUnsafeSlow(size)
    if (chunk.byteLength < size) whole.set(chunk, at)
    at += chunk.byteLength
  }
  return whole ?? Buffer.alloc(0)
}

/** As collect(), for a source. */
export function collectSource(source: Source): Promise<Buffer> {
  return collect({ size: source.size, body: openWhole(source) })
}

/** `range` as it is, after checking that it lies inside an object of `size` bytes. */
export function checkedRange(range: Range, size: number): Range {
  if (range.start < 0 || range.end <= range.start || range.end > size)
    throw new Fault('BadRequest', `bytes ${range.start} to ${range.end} were asked of an object of ${size} bytes`)
  return range
}

/** Only `range` of a body, which is read to its end all the same: its last chunk may be the one that says it is bad. */
export async function* cut(body: Bytes, { start, end }: Range): Bytes {
  let at = 0
  for await (const chunk of body) {
    const from = Math.max(start - at, 0)
    const to = Math.min(end - at, chunk.byteLength)
    if (from < to) yield chunk.subarray(from, to)
    at += chunk.byteLength
  }
}

/** Lets go of a body that is not wanted. A generator that was never asked does nothing when it is told to end. */
export async function discard({ body }: Content): Promise<void> {
  const chunks = body[Symbol.asyncIterator]()
  await chunks.next().catch(() => {})
  await chunks.return?.()
}
