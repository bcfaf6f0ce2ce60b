/** A small work of its own for tests of the queue: it counts the objects of a directory, and has a line for each. */
import { readdirSync } from 'node:fs'
import type { BulkWork, Shard, ShardTally, Tally } from '../../src/bulk/work.ts'

export interface Counted extends ShardTally {
  readonly objects: number
}

export interface CountingOptions {
  readonly folder: string
  /** In the middle of each attempt: after its first object was remembered. */
  pause?(shard: Shard, signal: AbortSignal): Promise<void>
}

/** Goes on after the object that was remembered, as works do that take long. */
export class Counting implements BulkWork<Counted> {
  readonly name = 'count'
  readonly identity: { readonly folder: string }
  readonly #pause: CountingOptions['pause']
  #objects = 0

  constructor({ folder, pause }: CountingOptions) {
    this.identity = { folder }
    this.#pause = pause
  }

  get underWay(): Tally {
    return { objects: this.#objects }
  }

  async shard(shard: Shard, signal: AbortSignal): Promise<Counted> {
    const digits = shard.number.toString(16).padStart(2, '0')
    const all = readdirSync(this.identity.folder)
      .filter(name => name.startsWith(digits))
      .sort()
    const before = typeof shard.remembered === 'number' ? shard.remembered : 0
    let objects = before
    try {
      for (const key of all.slice(before)) {
        shard.line({ kind: 'object', key })
        objects++
        this.#objects++
        if (objects > before + 1) continue
        shard.remember(objects)
        await this.#pause?.(shard, signal)
      }
      if (all.length === 0) await this.#pause?.(shard, signal)
      return { objects, failures: 0 }
    } finally {
      this.#objects -= objects - before
    }
  }
}
