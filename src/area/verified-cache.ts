/**
 * Plain bytes of sealed objects whose tag was verified, for the ranges that Orthanc asks of one file one after the other.
 * Bounded: what was used longest ago goes first. Plain patient data, so it lives in memory only.
 */
export class VerifiedCache {
  readonly #limit: number
  /** Larger objects are not kept: they would push out everything else. Bytes. */
  readonly largest: number
  #bytes = 0
  /** In the order of use: a Map iterates in the order of insertion. */
  readonly #kept = new Map<string, Buffer>()
  readonly #loading = new Map<string, Promise<Buffer | undefined>>()

  constructor(limit: number, largest: number) {
    this.#limit = limit
    this.largest = largest
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
   * What is kept, else what `load` brings, which is kept then. Whoever asks for the same key meanwhile waits for the same
   * load. `load` resolves to undefined for an object that is not to be kept.
   */
  async getOrLoad(key: string, load: () => Promise<Buffer | undefined>): Promise<Buffer | undefined> {
    const found = this.get(key) ?? this.#loading.get(key)
    if (found) return found
    const loading = load()
    this.#loading.set(key, loading)
    try {
      const bytes = await loading
      // A removal while it was loaded has taken it out of #loading: then it is not kept.
      if (bytes && this.#loading.get(key) === loading) this.#keep(key, bytes)
      return bytes
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
