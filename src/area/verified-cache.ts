import { type Content, collect } from '../bytes.ts'

const LIMIT_BYTES = 64 * 1024 * 1024
const LARGEST_BYTES = 16 * 1024 * 1024

/**
 * Plain bytes of sealed objects whose tag was verified: Orthanc asks for the ranges of one file one after the other.
 * Bounded: the entry that was not used for the longest time goes first. These are plain patient data, so they are kept
 * in memory only.
 */
export class VerifiedCache {
  readonly #limit: number
  /** Larger objects are not kept: they would push out everything else. Bytes. */
  readonly #largest: number
  #bytes = 0
  /** In the order of use: a Map iterates in the order of insertion. */
  readonly #kept = new Map<string, Buffer>()
  readonly #loading = new Map<string, Promise<Buffer | undefined>>()

  constructor(limit = LIMIT_BYTES, largest = LARGEST_BYTES) {
    this.#limit = limit
    this.#largest = largest
  }

  get(key: string): Buffer | undefined {
    const found = this.#kept.get(key)
    if (found) {
      this.#kept.delete(key)
      this.#kept.set(key, found)
    }
    return found
  }

  /**
   * The bytes that are kept. Else the bytes of the content that `open` opens, which are then kept. Other readers of the
   * same key wait for the same load. If the object is too large to keep, the reader that opened it gets the content.
   * The readers that waited get undefined, and each of them opens the object again.
   */
  async getOrLoad(key: string, open: () => Promise<Content>): Promise<Buffer | Content | undefined> {
    const found = this.get(key) ?? this.#loading.get(key)
    if (found) return found
    const opening = open()
    const loading = opening.then(content => (content.size > this.#largest ? undefined : collect(content)))
    this.#loading.set(key, loading)
    try {
      const bytes = await loading
      // A removal during the load has taken it out of #loading. Then its bytes are not kept.
      if (bytes && this.#loading.get(key) === loading) this.#keep(key, bytes)
      return bytes ?? (await opening)
    } finally {
      if (this.#loading.get(key) === loading) this.#loading.delete(key)
    }
  }

  forget(key: string): void {
    this.#loading.delete(key)
    this.#bytes -= this.#kept.get(key)?.byteLength ?? 0
    this.#kept.delete(key)
  }

  #keep(key: string, bytes: Buffer): void {
    this.#kept.set(key, bytes)
    this.#bytes += bytes.byteLength
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.#limit) return
      this.forget(oldest)
    }
  }
}
