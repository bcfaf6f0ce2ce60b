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
  /** Of all bytes of the body, if the store's answer has it. stores/wrappers/checksum.ts compares it. */
  readonly digest?: Digest | undefined
  /** The body of a range is the whole object, so it proves as much. Absent where that is not known. */
  readonly whole?: true
  /** Of a copy of the object: to be called when it turns out that it cannot be used. The next read asks the store. */
  dropCopy?(): void
  /** Whether a body that ends without a fault was compared with a digest, or by its tag. */
  readonly verified?: boolean
}

/** `value` in base64. */
export interface Digest {
  readonly name: 'md5' | 'crc32' | 'crc32c'
  readonly value: string
  /** Whether a body with the digest `found` is right. Without this function: if both digests are the same. */
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
export function checkedContent(size: number, body: Bytes): Content {
  return { size, body: exactly(size, body, true) }
}

/** All of a source, checked against its size. Reading a source again would not help, so such a fault is final. */
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

/** Smaller chunks are joined by gather(): each costs some memory of its own. */
const SMALL_CHUNK = 64 * 1024

/** All chunks, as they came: the usual ones are not copied. */
export async function gather({ body }: Content): Promise<readonly Uint8Array[]> {
  const chunks: Uint8Array[] = []
  let small: Uint8Array[] = []
  let smallBytes = 0
  const join = () => {
    if (smallBytes > 0) chunks.push(Buffer.concat(small))
    small = []
    smallBytes = 0
  }
  for await (const chunk of body) {
    if (chunk.byteLength >= SMALL_CHUNK) {
      join()
      chunks.push(chunk)
      continue
    }
    small.push(chunk)
    smallBytes += chunk.byteLength
    if (smallBytes >= SMALL_CHUNK) join()
  }
  join()
  return chunks
}

/** As collect(), for a source. */
export function collectSource(source: Source): Promise<Buffer> {
  return collect({ size: source.size, body: openWhole(source) })
}

/** `range` as it is, after checking that it lies inside an object of `size` bytes. */
export function checkedRange(range: Range, size: number): Range {
  if (range.start < 0 || range.end <= range.start || range.end > size)
    throw new Fault('BadRequest', `bytes ${range.start} to ${range.end} were requested of an object of ${size} bytes`)
  return range
}

/** Only `range` of a body. The body is read to its end: perhaps only its last chunk shows that it is wrong. */
export async function* cut(body: Bytes, { start, end }: Range): Bytes {
  let at = 0
  for await (const chunk of body) {
    const from = Math.max(start - at, 0)
    const to = Math.min(end - at, chunk.byteLength)
    if (from < to) yield chunk.subarray(from, to)
    at += chunk.byteLength
  }
}

/** Ends a body that nobody needs. It reads one chunk first: a generator that has not begun ignores `return()`. */
export async function discard({ body }: Content): Promise<void> {
  const chunks = body[Symbol.asyncIterator]()
  await chunks.next().catch(() => {})
  await chunks.return?.()
}

/** What `use` makes of a content. If that fails, the content is discarded. */
export async function orDiscard<T>(content: Content, use: (content: Content) => T): Promise<T> {
  try {
    return use(content)
  } catch (error) {
    await discard(content)
    throw error
  }
}

/** A number of bytes, for people: `1.2 GB`. */
export function amount(bytes: number): string {
  const units = ['KB', 'MB', 'GB', 'TB', 'PB']
  if (bytes < 1000) return `${bytes} bytes`
  let value = bytes
  let unit = -1
  do {
    value /= 1000
    unit++
  } while (value >= 999.95 && unit < units.length - 1)
  return `${value.toFixed(1)} ${units[unit]}`
}

export type NewDigest = () => { update(bytes: Uint8Array): void; hex(): string }

/** What one digest covers. Small, because a range is compared by all slices that it touches. */
const SLICE_BYTES = 256 * 1024
/**
 * Read at once for comparing. It must stay below the smallest part of a parallel transfer (5 MB). A read that is split
 * into parts would wait for a transfer slot, and the upload that waits for the read would hold that slot.
 */
const STEP_BYTES = 4 * 1024 * 1024

/** What a body was, slice by slice, so that later readings of it can be compared, whole or in any order. */
export class Fingerprint {
  readonly #newDigest: NewDigest
  readonly #slices: string[] = []
  #current: ReturnType<NewDigest>
  #left = SLICE_BYTES
  #size = 0

  constructor(newDigest: NewDigest) {
    this.#newDigest = newDigest
    this.#current = newDigest()
  }

  static async of(body: Bytes, newDigest: NewDigest): Promise<Fingerprint> {
    const made = new Fingerprint(newDigest)
    for await (const chunk of body) made.see(chunk)
    return made
  }

  see(chunk: Uint8Array): void {
    this.#size += chunk.byteLength
    for (let at = 0; at < chunk.byteLength; ) {
      const piece = chunk.subarray(at, at + this.#left)
      this.#current.update(piece)
      at += piece.byteLength
      this.#left -= piece.byteLength
      if (this.#left === 0) this.#next()
    }
  }

  equals(other: Fingerprint): boolean {
    const [mine, others] = [this.#all(), other.#all()]
    return this.#size === other.#size && mine.every((digest, i) => digest === others[i])
  }

  /**
   * The same bytes, as `read` brings them, or a fault. Memory does not grow with the body. `differed` is called when
   * other bytes came: what `read` knows of the object may be old, because somebody has sealed it again.
   */
  source(read: (range: Range) => Promise<Content>, differed: () => void): Source {
    const slices = this.#all()
    const size = this.#size
    const newDigest = this.#newDigest
    async function* open({ start, end }: Range = { start: 0, end: size }): Bytes {
      const last = Math.min(Math.ceil(end / SLICE_BYTES) * SLICE_BYTES, size)
      for (let at = Math.floor(start / SLICE_BYTES) * SLICE_BYTES; at < end; at += STEP_BYTES) {
        const bytes = await collect(await read({ start: at, end: Math.min(at + STEP_BYTES, last) }))
        for (let slice = 0; slice < bytes.byteLength; slice += SLICE_BYTES) {
          const digest = newDigest()
          digest.update(bytes.subarray(slice, slice + SLICE_BYTES))
          if (digest.hex() !== slices[(at + slice) / SLICE_BYTES]) {
            differed()
            throw changed()
          }
        }
        yield bytes.subarray(Math.max(start - at, 0), end - at)
      }
    }
    return { size, open }
  }

  #next(): void {
    this.#slices.push(this.#current.hex())
    this.#current = this.#newDigest()
    this.#left = SLICE_BYTES
  }

  #all(): readonly string[] {
    if (this.#left < SLICE_BYTES) this.#next()
    return this.#slices
  }
}

function changed(): Fault {
  return new Fault('Corrupt', 'the object changed after it was verified', {
    retryable: true, // the network may have damaged it
    remedy: 'Something else writes to it, or the store delivers damaged bytes. The object was left as it is.',
  })
}
