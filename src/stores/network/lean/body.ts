import { errors } from 'undici'
import type { ResponseBody } from '../client.ts'

/** When so many bytes wait for the reader, no more are read from the socket. */
const MOST_WAITING = 512 * 1024
/** Of a body that nobody wants, so much is read to keep the connection. */
const LONGEST_DUMP = 128 * 1024

/** The connection that a body comes from. */
export interface Origin {
  /** After push() said that enough waits. */
  resume(): void
  drop(): void
}

/** The body of an answer between the connection that fills it and its one reader. */
export class Body implements ResponseBody {
  readonly #origin: Origin
  #chunks: Buffer[] = []
  #waiting = 0
  #state: 'open' | 'complete' | 'failed' = 'open'
  #error: unknown
  #full = false
  #wake: (() => void) | undefined

  constructor(origin: Origin) {
    this.#origin = origin
  }

  /** Returns whether more may come. */
  push(chunk: Buffer): boolean {
    this.#chunks.push(chunk)
    this.#waiting += chunk.byteLength
    this.#full = this.#waiting >= MOST_WAITING
    this.#wake?.()
    return !this.#full
  }

  complete(): void {
    if (this.#state !== 'open') return
    this.#state = 'complete'
    this.#wake?.()
  }

  /** What has arrived before can still be read. */
  fail(error: unknown): void {
    if (this.#state !== 'open') return
    this.#state = 'failed'
    this.#error = error
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    try {
      for (let chunk = await this.#next(); chunk; chunk = await this.#next()) yield chunk
    } finally {
      this.destroy()
    }
  }

  async bytes(): Promise<Buffer> {
    const chunks: Buffer[] = []
    for (let chunk = await this.#next(); chunk; chunk = await this.#next()) chunks.push(chunk)
    const [first] = chunks
    return chunks.length === 1 && first ? first : Buffer.concat(chunks)
  }

  /** Never rejects: what breaks in a body that nobody wants does no harm. */
  async dump(): Promise<void> {
    let seen = 0
    try {
      for (let chunk = await this.#next(); chunk && seen <= LONGEST_DUMP; chunk = await this.#next())
        seen += chunk.byteLength
    } catch {
      return
    }
    this.destroy()
  }

  destroy(): void {
    if (this.#state !== 'open') return
    this.fail(new errors.RequestAbortedError('the rest of the answer is not wanted'))
    this.#chunks = []
    this.#origin.drop()
  }

  async #next(): Promise<Buffer | undefined> {
    for (;;) {
      const chunk = this.#chunks.shift()
      if (chunk) {
        this.#waiting -= chunk.byteLength
        if (this.#full && this.#waiting < MOST_WAITING) {
          this.#full = false
          this.#origin.resume()
        }
        return chunk
      }
      if (this.#state === 'complete') return undefined
      if (this.#state === 'failed') throw this.#error
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
      this.#wake = undefined
    }
  }
}
