/** What the journal holds, in memory: by store and key. */

/** Which file of the journal has the entry. `live`: how many entries it has that are not done. */
export interface Segment {
  readonly number: number
  live: number
  bytes: number
  /** Lines in its middle are damaged, so it is kept for people. */
  damaged: boolean
}

export interface Entry {
  readonly key: string
  readonly at: number
  segment: Segment
  /** Of a finding: the store's last words. */
  readonly words?: string
}

/** Of one store. Each map is in the order in which Orthanc removed the objects. */
export interface StoreEntries {
  readonly pending: Map<string, Entry>
  readonly findings: Map<string, Entry>
}

export class Entries {
  readonly #stores = new Map<string, StoreEntries>()

  of(store: string): StoreEntries {
    const known = this.#stores.get(store) ?? { pending: new Map(), findings: new Map() }
    this.#stores.set(store, known)
    return known
  }

  get size(): number {
    return [...this.#stores.values()].reduce((sum, { pending, findings }) => sum + pending.size + findings.size, 0)
  }

  /** Stores that have entries. */
  get stores(): ReadonlyMap<string, StoreEntries> {
    return new Map([...this.#stores].filter(([, { pending, findings }]) => pending.size + findings.size > 0))
  }

  /** Whether it is still the entry of its object. */
  has(store: string, entry: Entry): boolean {
    const { pending, findings } = this.of(store)
    return (pending.get(entry.key) ?? findings.get(entry.key)) === entry
  }

  set(store: string, entry: Entry): void {
    this.delete(store, entry.key)
    const { pending, findings } = this.of(store)
    ;(entry.words === undefined ? pending : findings).set(entry.key, entry)
    entry.segment.live++
  }

  /** False: there was none. */
  delete(store: string, key: string): boolean {
    const { pending, findings } = this.of(store)
    const entry = pending.get(key) ?? findings.get(key)
    if (!entry) return false
    pending.delete(key)
    findings.delete(key)
    entry.segment.live--
    return true
  }

  *in(segment: Segment): Iterable<readonly [store: string, entry: Entry]> {
    for (const [store, { pending, findings }] of this.#stores)
      for (const map of [pending, findings])
        for (const entry of map.values()) if (entry.segment === segment) yield [store, entry]
  }
}
