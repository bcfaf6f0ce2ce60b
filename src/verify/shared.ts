/**
 * A verification in shards, which many machines do together, or one that goes on after it was killed. It finds what
 * verify.ts finds. One process reads the index for all. Each shard is listed, compared and, if that was asked for,
 * read. What looks wrong is looked at again when all shards are at their end: shared-end.ts.
 */
import { Crew } from '../bulk/crew.ts'
import { Listings } from '../bulk/listings.ts'
import { prefixesOf } from '../bulk/shards.ts'
import { type After, add, type Before, type BulkWork, type Json, type Shard, type Tally } from '../bulk/work.ts'
import { Fault } from '../fault.ts'
import { Bytes } from './bytes.ts'
import { fillFromStore } from './fill.ts'
import { IndexParts, unpack } from './index-parts.ts'
import { judge, type Rules } from './judge.ts'
import { Reader } from './reader.ts'
import { Scratch } from './scratch.ts'
import { SharedEnd } from './shared-end.ts'
import { COUNTS, countsOf, type SharedCounts, toLine } from './shared-lines.ts'
import { StoreClock } from './store-clock.ts'
import { emptyTally, type VerifyTally } from './tally.ts'
import { isPassing, type VerifyOptions } from './verify.ts'

export interface SharedOptions extends Omit<VerifyOptions, 'scratch' | 'onFinding' | 'onFailure'> {
  /** See BulkWork. */
  readonly identity: Readonly<Record<string, Json>>
  /** Folder of the scratch files. */
  readonly scratch: string
  /** See Listings; for tests. */
  readonly mostListed?: number
}

type Counted = ReturnType<typeof countsOf>

/** What is counted while it runs. */
interface Active {
  readonly tally: VerifyTally
  readonly shared: SharedCounts
}

export class SharedVerification implements BulkWork<Counted> {
  readonly name = 'verify'
  readonly identity: SharedOptions['identity']
  readonly #options: SharedOptions
  readonly #crew: Crew
  readonly #listings: readonly Listings[]
  readonly #active = new Set<Active>()

  constructor(options: SharedOptions) {
    this.#options = options
    this.identity = options.identity
    this.#crew = new Crew(options.concurrency, () => {})
    this.#listings = options.places.map(({ store, prefix }) => new Listings(store, prefix, options.mostListed))
  }

  get stores(): readonly string[] {
    return this.#options.places.map(({ store }) => store.name)
  }

  get underWay(): Tally {
    return [...this.#active].map(({ tally, shared }) => countsOf(tally, shared)).reduce<Tally>(add, {})
  }

  async before(step: Before, signal: AbortSignal): Promise<Counted> {
    return await this.#counted(async ({ shared }) => {
      const parts = new IndexParts()
      for await (const batch of this.#options.index.all(signal)) {
        for (const file of batch) parts.add(file)
        shared.read += batch.length
        if (parts.full) await step.give(parts.take())
        if (signal.aborted) throw Fault.ofAbort(signal)
      }
      await step.give(parts.take())
    })
  }

  async shard(shard: Shard, signal: AbortSignal): Promise<Counted> {
    return await this.#counted(async active => {
      const scratch = new Scratch(this.#options.scratch, { only: shard.number })
      try {
        for await (const part of shard.given()) for (const file of unpack(part)) scratch.addIndexed(file)
        const clocks = await this.#list(shard.number, active.tally, scratch, signal)
        const bytes = await this.#compare(shard, active, scratch, signal)
        for (const [place, { held, areMd5 }] of bytes.digests.entries()) {
          for (const { group } of held) shard.line(toLine({ kind: 'doubt', group, place }))
          const { told, newest } = (clocks[place] as StoreClock).learnt
          shard.line(toLine({ kind: 'place', place, told, newest, areMd5 }))
        }
        active.shared.compared = 1
      } finally {
        scratch.close()
      }
    })
  }

  async after(step: After, signal: AbortSignal): Promise<Counted> {
    return await this.#counted(({ tally }) => new SharedEnd(this.#options, tally, step).run(signal))
  }

  async #counted(work: (active: Active) => Promise<unknown>): Promise<Counted> {
    const active = { tally: emptyTally(this.stores), shared: { ...COUNTS } }
    this.#active.add(active)
    try {
      await work(active)
      return countsOf(active.tally, active.shared)
    } finally {
      this.#active.delete(active)
    }
  }

  async #list(number: number, tally: VerifyTally, scratch: Scratch, signal: AbortSignal): Promise<StoreClock[]> {
    const clocks: StoreClock[] = []
    for (const [index, place] of this.#options.places.entries()) {
      const listed = {
        place,
        index,
        tally: tally.places[index] as VerifyTally['places'][number],
        clock: new StoreClock(),
      }
      clocks.push(listed.clock)
      for (const prefix of prefixesOf(place.naming, number))
        await fillFromStore(listed, scratch, signal, this.#listings[index]?.list(prefix, signal))
    }
    return clocks
  }

  /** Everything of it has ended then. */
  async #compare(shard: Shard, { tally, shared }: Active, scratch: Scratch, signal: AbortSignal): Promise<Bytes> {
    const { places, keyIds, digests, deep } = this.#options
    // Only at the end it is known how old an object is by the clock of its store.
    const rules: Rules = { places, isYoung: () => false }
    const crew = this.#crewOf(shard, tally, signal)
    const reader = new Reader({ places, keyIds, tally, crew })
    const bytes = new Bytes({
      ...{ rules, reader, tally, digests, deep },
      suspect: async (group, findings) => {
        tally.suspects++
        shard.line(toLine({ kind: 'suspect', group, findings }))
      },
    })
    try {
      for (const group of scratch.groups(shard.number)) {
        if (signal.aborted) throw Fault.ofAbort(signal)
        const findings = judge(group, rules)
        if (findings.length > 0) {
          tally.suspects++
          if (findings.some(isPassing)) shared.passing++
          shard.line(toLine({ kind: 'suspect', group, findings: undefined }))
        }
        await bytes.look(group, signal)
      }
    } finally {
      await reader.end()
    }
    if (signal.aborted) throw Fault.ofAbort(signal)
    return bytes
  }

  /** The crew is that of all shards of this process. One that is taken away ends alone. */
  #crewOf(shard: Shard, tally: VerifyTally, signal: AbortSignal): Pick<Crew, 'add' | 'end'> {
    const group = this.#crew.group(fault => {
      tally.failures++
      shard.failed(fault)
    })
    const add = (work: () => Promise<void>) =>
      group.add(() =>
        work().catch(error => {
          if (!signal.aborted) throw error
        }),
      )
    return { add, end: () => group.end() }
  }
}
