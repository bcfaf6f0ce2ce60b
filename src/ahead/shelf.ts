/** The files that were fetched ahead, and those that are on their way, in bounded memory. */
import type { Series } from './series.ts'

export interface Entry {
  readonly uuid: string
  readonly series: Series
  /** Bytes that were reserved for it. */
  readonly size: number
  /** What it counts in the account if nobody reads it; 0 once it was read, or counted. */
  risk: number
  /** It has the bytes from 0 to this. */
  end: number
  /** Whether these are all bytes of the file. */
  readonly whole: boolean
  /** Resolves to undefined when there will be no bytes. Never rejects. */
  readonly bytes: Promise<Buffer | undefined>
  /** Whether the bytes are there. */
  ready: boolean
  /** Whether Orthanc has read it. */
  used: boolean
  /** How many readers have it in their hands: its memory is taken as long as they do. */
  readers: number
}

export interface NewEntry extends Pick<Entry, 'uuid' | 'series' | 'size' | 'risk' | 'whole'> {
  /** Resolves to undefined, or rejects, when there will be no bytes. Nobody waits for it after `signal` is aborted. */
  fetch(signal: AbortSignal): Promise<Buffer | undefined>
}

export class Shelf {
  readonly #limit: number
  readonly #onGone: (entry: Entry) => void
  readonly #entries = new Map<string, Entry>()
  readonly #aborts = new Map<Entry, AbortController>()
  /** Those that Orthanc has read, the oldest first. */
  readonly #used = new Set<Entry>()
  readonly #coming = new Set<Entry>()
  #bytes = 0

  /** `onGone`: called once for each entry that leaves, also for one that never had its bytes. */
  constructor(limit: number, onGone: (entry: Entry) => void) {
    this.#limit = limit
    this.#onGone = onGone
  }

  /** Held, under way, and given up but still in a reader's hands. */
  get bytes(): number {
    return this.#bytes
  }

  get underWay(): number {
    return this.#coming.size
  }

  /** Those under way that nobody waits for yet. */
  get unawaited(): number {
    return [...this.#coming].filter(({ readers }) => readers === 0).length
  }

  /** All entries of a series. */
  of(series: Series): readonly Entry[] {
    return [...this.#entries.values()].filter(entry => entry.series === series)
  }

  get(uuid: string): Entry | undefined {
    return this.#entries.get(uuid)
  }

  /** Drops what was read, the oldest first, then what may go by `isSpare`, until there is room. */
  makeRoom(bytes: number, isSpare: (entry: Entry) => boolean): boolean {
    if (bytes > this.#limit) return false
    for (const entry of this.#used) {
      if (this.#bytes + bytes <= this.#limit) return true
      if (entry.readers === 0) this.forget(entry.uuid)
    }
    for (const entry of this.#entries.values()) {
      if (this.#bytes + bytes <= this.#limit) return true
      if (entry.ready && entry.readers === 0 && isSpare(entry)) this.forget(entry.uuid)
    }
    return this.#bytes + bytes <= this.#limit
  }

  /** Begins to fetch. There must be room. An entry for the same file makes way. */
  add({ uuid, series, size, risk, whole, fetch }: NewEntry): Entry {
    this.forget(uuid)
    const abort = new AbortController()
    this.#bytes += size
    const bytes = fetch(abort.signal)
      .catch(() => undefined)
      .then(got => {
        this.#coming.delete(entry)
        if (this.#entries.get(uuid) !== entry || !got) {
          if (this.#entries.get(uuid) === entry) this.#remove(entry)
          this.#bytes -= size
          return undefined
        }
        this.#bytes += got.byteLength - size
        entry.end = got.byteLength
        entry.ready = true
        return got
      })
    const entry: Entry = { uuid, series, size, risk, end: size, whole, bytes, ready: false, used: false, readers: 0 }
    this.#entries.set(uuid, entry)
    this.#coming.add(entry)
    this.#aborts.set(entry, abort)
    return entry
  }

  /** Orthanc has read it. */
  use(entry: Entry): void {
    entry.used = true
    if (this.#entries.get(entry.uuid) !== entry) return
    this.#used.delete(entry)
    this.#used.add(entry)
  }

  /** A reader is done with it. */
  release(entry: Entry): void {
    entry.readers--
    if (entry.readers === 0 && entry.ready && this.#entries.get(entry.uuid) !== entry) this.#bytes -= entry.end
  }

  /** At once, also when it is under way: its bytes are then given to nobody. */
  forget(uuid: string): void {
    const entry = this.#entries.get(uuid)
    if (!entry) return
    this.#remove(entry)
    if (entry.ready && entry.readers === 0) this.#bytes -= entry.end
  }

  clear(): void {
    for (const uuid of [...this.#entries.keys()]) this.forget(uuid)
  }

  #remove(entry: Entry): void {
    this.#entries.delete(entry.uuid)
    this.#used.delete(entry)
    this.#aborts.get(entry)?.abort()
    this.#aborts.delete(entry)
    this.#onGone(entry)
  }
}
