/**
 * Gives all DICOM files of a store to an Orthanc. Keys of Orthanc's are in the shards of their UUIDs. All other keys,
 * such as those of a bucket that somebody else filled, are in no shard's prefixes: one shard lists everything once more
 * for them. A shard goes on after the last key of which it and all before it are settled.
 */
import { type Naming, parseKey, prefixOf, trashPrefixOf } from '../area/naming.ts'
import { Crew } from '../bulk/crew.ts'
import { type Listed, withListings } from '../bulk/listings.ts'
import { prefixesOf } from '../bulk/shards.ts'
import { add, type BulkWork, type Json, type Shard, type Tally } from '../bulk/work.ts'
import { Fault, type FaultCode } from '../fault.ts'
import type { Stat, Store } from '../stores/store.ts'
import { FileImport, type FileOptions, type Found } from './file.ts'
import { counted, emptyTally, type ImportTally, type Outcome } from './tally.ts'

export interface ImportPlace {
  readonly store: Store
  readonly naming: Naming
}

export interface ImportOptions extends Omit<FileOptions, 'store'> {
  readonly places: readonly ImportPlace[]
  /** Files that are on their way at once. */
  readonly concurrency: number
  readonly identity: Readonly<Record<string, Json>>
}

/** One listing. */
interface Part {
  readonly place: Listed<ImportPlace>
  readonly prefix: string
  /** Keys of Orthanc's, or all others. */
  readonly ours: boolean
}

interface Remembered {
  /** The position in the parts of the shard. */
  readonly part: number
  /** All keys of that part up to this one are settled. */
  readonly after: string
  readonly tally: ImportTally
}

/** This shard has, beside its own files, those that no shard has. */
const FOR_THE_REST = 0
/** So many files are begun before the first of them must be settled. */
const WINDOW = 256
/** Orthanc cannot be asked now: no other file would fare better. */
const AWAY: readonly FaultCode[] = ['Unavailable', 'Timeout', 'Denied', 'BadConfig']

export class Import implements BulkWork<ImportTally> {
  readonly name = 'import'
  readonly identity: BulkWork<ImportTally>['identity']
  readonly #options: ImportOptions
  readonly #places: readonly Listed<ImportPlace>[]
  readonly #crew: Crew
  readonly #open = new Map<number, ImportTally>()
  #away: Fault | undefined
  /** What Orthanc had when this run first asked. */
  #instances: Promise<number | undefined> | undefined

  constructor(options: ImportOptions) {
    this.identity = options.identity
    this.#options = options
    this.#places = options.places.map(withListings)
    this.#crew = new Crew(options.concurrency, () => {})
  }

  get underWay(): Tally {
    return [...this.#open.values()].reduce<Tally>((sum, tally) => add(sum, tally), {
      ...emptyTally,
    })
  }

  async shard(shard: Shard, signal: AbortSignal): Promise<ImportTally> {
    const before = shard.remembered as Remembered | null | undefined
    const remembered = before && !(await this.holds(shard.number, before.tally, signal)) ? undefined : before
    try {
      return await this.#run(shard, remembered ?? undefined, remembered !== null, signal)
    } catch (error) {
      if (!(error instanceof OutOfOrder)) throw error
      // Then a key does not say what is settled: from the beginning, without a position, also in later runs.
      shard.remember(null)
      return await this.#run(shard, undefined, false, signal)
    } finally {
      this.#open.delete(shard.number)
    }
  }

  /** An Orthanc that was emptied since an earlier run has not what that one imported. */
  async holds(_shard: number, { results }: ImportTally, signal: AbortSignal): Promise<boolean> {
    const { imported = 0 } = results
    const { receiver } = this.#options
    if (!receiver || imported === 0) return true
    this.#instances ??= receiver.instances(signal)
    const there = await this.#instances
    return there === undefined || there >= imported
  }

  async #run(
    shard: Shard,
    remembered: Remembered | undefined,
    remembers: boolean,
    signal: AbortSignal,
  ): Promise<ImportTally> {
    let tally = remembered?.tally ?? emptyTally
    this.#open.set(shard.number, tally)
    const first = remembered?.part ?? 0
    const parts = this.#partsOf(shard.number)
    for (const [index, part] of [...parts.entries()].slice(first)) {
      const after = index === first ? remembered?.after : undefined
      const { store, listings } = part.place
      const listed = part.ours ? listings.list(part.prefix, signal) : store.list(part.prefix, signal)
      for await (const window of windows(inOrder(listed, after, remembers))) {
        const settled = await this.#window(window, part, shard, signal)
        for (const outcome of settled) {
          tally = counted(tally, outcome)
          if (outcome?.line) shard.line(outcome.line)
        }
        this.#open.set(shard.number, tally)
        const last = window.at(-1)?.key
        if (last !== undefined && remembers) shard.remember({ part: index, after: last, tally })
      }
    }
    return tally
  }

  /** In the order of the listing. `undefined`: it could not be done. */
  async #window(stats: readonly Stat[], part: Part, shard: Shard, signal: AbortSignal) {
    const found = stats.flatMap(stat => this.#foundIn(stat, part))
    const outcomes: (Outcome | undefined)[] = []
    const group = this.#crew.group(fault => shard.failed(fault))
    try {
      for (const [i, one] of found.entries()) {
        outcomes[i] = undefined
        if (one.settled) outcomes[i] = one.settled
        else
          await group.add(async () => {
            const outcome = await this.#file(one.file, part.place, signal)
            if (outcome === 'vanished') outcomes[i] = GONE
            else outcomes[i] = outcome
          })
        if (this.#away) break
      }
    } finally {
      await group.end()
    }
    if (this.#away) throw this.#away
    return outcomes.filter(outcome => outcome !== GONE)
  }

  #foundIn(stat: Stat, { place, ours }: Part): readonly Piece[] {
    const { naming } = place
    const { key, size } = stat
    const parsed = parseKey(naming, key)
    if ((parsed !== undefined) !== ours || key.startsWith(trashPrefixOf(naming))) return []
    const { type, sealed } = parsed ?? {}
    const isDicom = type === 'dicom'
    if (type !== undefined && !isDicom) return [{ settled: { result: 'derived', bytes: 0 } }]
    if (size === 0 && !isDicom) return [{ settled: { result: 'other', bytes: 0 } }]
    return [{ file: { key, ours, sealed, isDicom } }]
  }

  async #file(file: Found, { store }: ImportPlace, signal: AbortSignal): Promise<Outcome | 'vanished' | undefined> {
    if (this.#away) return undefined
    try {
      return await new FileImport({ ...this.#options, store }, file, signal).run()
    } catch (error) {
      const fault = Fault.from(error, { store: store.name, key: file.key })
      const isOrthancs = fault.where.verb === 'import'
      if (!isOrthancs && fault.code === 'NotFound') {
        if (this.#places.length === 1) return 'vanished'
        throw new Fault('NotFound', 'it was removed since it was listed, or Orthanc has moved it', {
          cause: fault,
          where: { verb: 'read', ...fault.where },
          remedy: 'Run the same command again.',
        })
      }
      if (!isOrthancs || !AWAY.includes(fault.code)) throw fault
      this.#away ??= fault
      return undefined
    }
  }

  #partsOf(shard: number): readonly Part[] {
    const own = this.#places.flatMap(place =>
      prefixesOf(place.naming, shard).map((prefix): Part => ({ place, prefix, ours: true })),
    )
    if (shard !== FOR_THE_REST) return own
    return [...own, ...this.#places.map((place): Part => ({ place, prefix: prefixOf(place.naming), ours: false }))]
  }
}

type Piece = { readonly settled: Outcome; readonly file?: never } | { readonly settled?: never; readonly file: Found }

/** Removed since the listing. */
const GONE: Outcome = { result: 'other', bytes: 0 }

class OutOfOrder extends Error {}

/** What comes after `after`. Rejects with OutOfOrder where it matters. */
async function* inOrder(list: AsyncIterable<Stat>, after: string | undefined, matters: boolean): AsyncIterable<Stat> {
  const start = after === undefined ? undefined : Buffer.from(after)
  let previous: Buffer | undefined
  for await (const stat of list) {
    const key = Buffer.from(stat.key)
    if (matters && previous && Buffer.compare(previous, key) > 0) throw new OutOfOrder()
    previous = key
    if (!start || Buffer.compare(key, start) > 0) yield stat
  }
}

async function* windows(list: AsyncIterable<Stat>): AsyncIterable<readonly Stat[]> {
  let window: Stat[] = []
  for await (const stat of list) {
    if (window.push(stat) < WINDOW) continue
    yield window
    window = []
  }
  if (window.length > 0) yield window
}
