import type { CopyUnderWay } from './copy-folder.ts'

/** The making of one copy, from before the store is asked. */
export class Work {
  readonly #done: (work: Work) => void
  #copy: CopyUnderWay | undefined
  #ending: Promise<void> | undefined
  #canceled = false

  constructor(done: (work: Work) => void) {
    this.#done = done
  }

  get canceled(): boolean {
    return this.#canceled
  }

  set copy(copy: CopyUnderWay) {
    this.#copy = copy
  }

  write(chunk: Uint8Array): void {
    this.#copy?.write(chunk)
  }

  /**
   * After the last byte, or at any time to give it up. Resolves when nothing is under way. Rejects as the disk does.
   */
  end(complete: boolean): Promise<void> {
    if (!complete) this.#copy?.giveUp()
    this.#ending ??= (this.#copy?.end() ?? Promise.resolve()).finally(() => this.#done(this))
    return this.#ending
  }

  /** Does not wait for the reader whose bytes it is made of. */
  cancel(): Promise<void> {
    this.#canceled = true
    return this.end(false)
  }
}

export interface Change {
  /** Resolves when no copy is under way any more. Whoever made it hears of failures. */
  readonly idle: Promise<void>
  end(): void
}

/** Who makes a copy of which name: one at a time, and nobody while the object changes. */
export class NamedWork {
  readonly #works = new Map<string, Work>()
  readonly #changes = new Map<string, number>()

  /**
   * Undefined: another one makes it, or the object changes. `ofChange`: the bytes are those after the only change. Of
   * two changes at once, nobody knows which one the store has carried out last.
   */
  begin(name: string, ofChange = false): Work | undefined {
    const changes = this.#changes.get(name) ?? 0
    if (this.#works.has(name) || changes > (ofChange ? 1 : 0)) return undefined
    const work: Work = new Work(ended => {
      if (this.#works.get(name) === ended) this.#works.delete(name)
    })
    this.#works.set(name, work)
    return work
  }

  /** The object is written or removed: a copy under way is of what was there before. */
  change(name: string): Change {
    this.#changes.set(name, (this.#changes.get(name) ?? 0) + 1)
    const work = this.#works.get(name)
    this.#works.delete(name)
    return {
      idle: work?.cancel().catch(() => {}) ?? Promise.resolve(),
      end: () => {
        const left = (this.#changes.get(name) ?? 1) - 1
        if (left === 0) this.#changes.delete(name)
        else this.#changes.set(name, left)
      },
    }
  }

  cancelAll(): Promise<unknown> {
    return Promise.allSettled([...this.#works.values()].map(work => work.cancel()))
  }

  /** For tests: resolves when no copy is under way. */
  async ended(): Promise<void> {
    while (this.#works.size > 0) await new Promise(resolve => setImmediate(resolve))
  }
}
