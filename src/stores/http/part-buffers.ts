/** Dropped when no part was sent for so long. */
const IDLE_MS = 10_000

/**
 * The memory that parts of uploads are gathered in, used again and again: a new buffer for each part would be twice the
 * memory until the garbage collector comes, and a third of the processor time. It keeps at most `most` buffers.
 */
export class PartBuffers {
  readonly #most: number
  readonly #spare: Buffer[] = []
  #idle: NodeJS.Timeout | undefined

  constructor(most: number) {
    this.#most = most
  }

  /** A buffer of `size` bytes, with old bytes in it. `room`: the size of the largest part of this upload. */
  take(size: number, room: number): Buffer {
    const spare = this.#spare.pop()
    const whole = spare && spare.byteLength >= size ? spare : Buffer.allocUnsafeSlow(room)
    return whole.subarray(0, size)
  }

  /** For a part that is gathered elsewhere: a free slot has one buffer at most, and one in use has its part. */
  dropOne(): void {
    this.#spare.pop()
  }

  /** Takes back what take() gave. Only for bytes that nothing reads any more. */
  give({ buffer }: Buffer): void {
    if (this.#spare.length < this.#most) this.#spare.push(Buffer.from(buffer))
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => this.#spare.splice(0), IDLE_MS).unref()
  }
}
