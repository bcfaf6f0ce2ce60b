import type { Wrap } from '../store.ts'

/** How many readings count: a machine that is busy for a moment does not make a store far away. */
const RECENT = 32

/** How long a store lately took to begin its answers. */
export class FirstBytes {
  readonly #recent: number[] = []
  #next = 0

  see(ms: number): void {
    this.#recent[this.#next++ % RECENT] = ms
  }

  /** Milliseconds, at its best; 0 before the first answer. */
  get nearest(): number {
    return this.#recent.length === 0 ? 0 : Math.min(...this.#recent)
  }
}

/** Tells `seen` how long each read takes to begin. */
export function withFirstBytes(seen: FirstBytes): Wrap {
  return store => ({
    name: store.name,
    async get(key, range, signal) {
      const began = performance.now()
      const content = await store.get(key, range, signal)
      seen.see(performance.now() - began)
      return content
    },
    put: store.put, // only reads are made ahead
    holds: store.holds,
    stat: store.stat,
    remove: store.remove,
    removeMany: store.removeMany,
    list: store.list,
    leftovers: store.leftovers,
    removeLeftover: store.removeLeftover,
    check: store.check,
    close: store.close,
  })
}
