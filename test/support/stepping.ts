/** A small work with steps before and after its shards. Each shard is given two parts, and writes a line. */
import { type After, type Before, type BulkWork, SHARDS, type Shard, type ShardTally } from '../../src/bulk/work.ts'

export interface SteppingOptions {
  /** Called when half of the parts are given. */
  beforeGiven?(): void
  /** Called when the last step has written its line. */
  afterLine?(): void
  /** A shard that has a failure. */
  readonly failing?: number
}

export class Stepping implements BulkWork<ShardTally> {
  readonly name = 'step'
  readonly identity = {}
  readonly underWay = {}
  /** In this process. */
  readonly did: string[] = []
  readonly #options: SteppingOptions

  constructor(options: SteppingOptions = {}) {
    this.#options = options
  }

  async before({ give }: Before): Promise<ShardTally> {
    this.did.push('before')
    const part = (byte: number) => new Map(Array.from({ length: SHARDS }, (_, i) => [i, new Uint8Array([i, byte])]))
    await give(part(1))
    this.#options.beforeGiven?.()
    await give(part(2))
    return { failures: 0, before: 1 }
  }

  async shard({ number, given, line }: Shard): Promise<ShardTally> {
    this.did.push(String(number))
    let parts = 0
    for await (const [shard, byte] of given()) if (shard === number && byte === ++parts) line({ kind: 'part', byte })
    if (number === this.#options.failing) return { failures: 1 }
    return { failures: 0, shards: 1, given: parts }
  }

  async after({ lines, line, tally }: After): Promise<ShardTally> {
    this.did.push('after')
    let count = 0
    for await (const { byte } of lines()) if (byte === 2) count++
    const { shards = 0 } = await tally()
    line({ kind: 'end', lines: count, shards: Number(shards) })
    this.#options.afterLine?.()
    return { failures: 0, after: 1 }
  }
}
