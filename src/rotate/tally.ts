/** What a rotation counts, and what it remembers of a shard. */
import { add, type Json, type Shard, type ShardTally, type Tally } from '../bulk/work.ts'
import { Fault, isObject } from '../fault.ts'

/** What is settled of a shard, without the objects that failed. */
interface Settled extends Tally {
  /** Objects by the id of the master key they are under now. */
  readonly keys: { readonly [id: string]: number }
  /** Not sealed. In the `legacy` structure, sealed and plain objects have the same keys. */
  readonly plain: number
  /** Re-encrypted. In a dry run: to be re-encrypted. */
  readonly moved: number
  /** Sealed bytes of those. */
  readonly movedBytes: number
  /** Removed by Orthanc while we worked. */
  readonly vanished: number
}

/** Objects that failed are in `failures`, and in `keys` where their key is known. */
export interface RotationTally extends Settled, ShardTally {
  /** Objects that failed, under a key that is not known. */
  readonly unknown: number
  /** Shards of which every object was looked at. */
  readonly shards: number
  /** How many of them were listed where a place had no file of ours at all, by the name of its store. */
  readonly empty: { readonly [store: string]: number }
}

export type ObjectOutcome =
  | { readonly kind: 'sealed'; readonly id: number }
  | { readonly kind: 'moved'; readonly id: number; readonly bytes: number }
  | { readonly kind: 'plain' | 'vanished' }

/** An object of one of the places. */
export interface Item {
  /** The index of the place. */
  readonly place: number
  readonly key: string
}

const nothing: Settled = { keys: {}, plain: 0, moved: 0, movedBytes: 0, vanished: 0 }
export const emptyTally: RotationTally = { ...nothing, failures: 0, unknown: 0, shards: 0, empty: {} }

interface Remembered {
  /** Every object of the shard was looked at: only those that failed are left. */
  readonly whole: boolean
  readonly settled: Settled
  readonly failed: readonly Item[]
}

/** With more failed objects, the next run looks at the whole shard again. */
const MOST_REMEMBERED = 1000
/** So many objects are re-encrypted between two times that something is remembered. */
const MOVED = 100

const nameOf = ({ place, key }: Item) => `${place} ${key}`

type Memory = Pick<Shard, 'remembered' | 'remember'>

/** One shard on its way. */
export class ShardProgress {
  readonly #shard: Memory
  readonly #before: Remembered | undefined
  /** Perhaps they were written all the same. So they are read to their ends. */
  readonly #toTryAgain: Map<string, Item>
  readonly #failed = new Map<string, Item>()
  #settled: Settled = nothing
  #ofFailed: Tally = {}
  #whole = false
  #movedSince = 0

  /** `isOurs`: whether a key may be remembered. */
  constructor(shard: Memory, dryRun: boolean, isOurs: (item: Item) => boolean) {
    this.#shard = shard
    this.#before = parseRemembered(shard.remembered, isOurs)
    const { whole = false, settled = nothing, failed = [] } = this.#before ?? {}
    this.#toTryAgain = new Map(failed.map(item => [nameOf(item), item]))
    if (whole) this.#settled = settled
    // What a dry run would move is what is still to be moved. The rest is counted again.
    else if (!dryRun) this.#settled = { ...settled, keys: {}, plain: 0 }
  }

  /** What is left where only failed objects are left. */
  get onlyThese(): readonly Item[] | undefined {
    return this.#before?.whole ? this.#before.failed : undefined
  }

  /** Whether it failed in an earlier run. */
  hasFailed(item: Item): boolean {
    return this.#toTryAgain.has(nameOf(item))
  }

  settle(item: Item, outcome: ObjectOutcome): void {
    this.#toTryAgain.delete(nameOf(item))
    this.#settled = add(this.#settled, countsOf(outcome)) as Settled
    if (outcome.kind === 'moved') this.#movedSince++
  }

  /** `id`: of the master key it is under, where that is known. */
  fail(item: Item, id: number | undefined): void {
    this.#toTryAgain.delete(nameOf(item))
    this.#failed.set(nameOf(item), item)
    this.#ofFailed = add(this.#ofFailed, {
      failures: 1,
      ...(id === undefined ? { unknown: 1 } : { keys: { [id]: 1 } }),
    })
  }

  /** Every object was looked at. `empty`: names of stores without a file of ours. */
  end(empty: Iterable<string>): void {
    this.#whole = true
    this.#ofFailed = add(this.#ofFailed, {
      shards: 1,
      empty: Object.fromEntries([...empty].map(name => [name, 1])),
    })
    if (this.#failed.size > 0) this.remember()
  }

  rememberSometimes(): void {
    if (this.#movedSince >= MOVED) this.remember()
  }

  remember(): void {
    this.#movedSince = 0
    const failed = [...this.#failed.values(), ...this.#toTryAgain.values()]
    const whole = this.#whole && failed.length <= MOST_REMEMBERED
    const value: Remembered = { whole, settled: this.#settled, failed: failed.slice(0, MOST_REMEMBERED) }
    this.#shard.remember(value as unknown as Json)
  }

  get tally(): RotationTally {
    return add(add(emptyTally, this.#settled), this.#ofFailed) as unknown as RotationTally
  }
}

function countsOf(outcome: ObjectOutcome): Tally {
  switch (outcome.kind) {
    case 'plain':
    case 'vanished':
      return { [outcome.kind]: 1 }
    case 'moved':
      return { keys: { [outcome.id]: 1 }, moved: 1, movedBytes: outcome.bytes }
    case 'sealed':
      return { keys: { [outcome.id]: 1 } }
  }
}

/**
 * What is remembered came from a file. With a key in it that is not ours, this run could rewrite an object of somebody
 * else. Throws `BadConfig`.
 */
function parseRemembered(value: Json | undefined, isOurs: (item: Item) => boolean): Remembered | undefined {
  if (value === undefined) return undefined
  const { whole, settled, failed } = isObject(value) ? value : {}
  const isItem = (item: unknown) =>
    isObject(item) &&
    typeof item['place'] === 'number' &&
    typeof item['key'] === 'string' &&
    isOurs(item as unknown as Item)
  if (typeof whole === 'boolean' && isSettled(settled) && Array.isArray(failed) && failed.every(isItem))
    return { whole, settled, failed: failed as unknown as Item[] }
  throw new Fault('BadConfig', 'what is remembered of an earlier run cannot be of this one', {
    remedy: 'Remove the file that --state names. Then the same command looks at all objects.',
  })
}

function isSettled(value: unknown): value is Settled {
  if (!isObject(value) || !isObject(value['keys'])) return false
  const { keys, ...counts } = value
  const { keys: _, ...names } = nothing
  const all = [...Object.keys(names).map(name => counts[name]), ...Object.values(keys as object)]
  return (
    all.every(count => Number.isSafeInteger(count) && count >= 0) &&
    Object.keys(value['keys']).every(id => /^\d{1,10}$/.test(id))
  )
}
