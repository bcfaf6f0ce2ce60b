/**
 * All objects of a store under the current master key, a shard at a time.
 *
 * The objects themselves are the state: an object whose first bytes name the current key is done. So a rotation may be
 * killed at any moment and started again. What is remembered only saves time. Objects that failed are remembered by key
 * and tried again.
 */
import { setMaxListeners } from 'node:events'
import type { Again } from '../area/area.ts'
import { Crew } from '../bulk/crew.ts'
import { Listings } from '../bulk/listings.ts'
import { AFTER, type After, add, type BulkWork, type Json, type Shard, type Tally } from '../bulk/work.ts'
import { collect } from '../bytes.ts'
import { Fault, throwIfAborted } from '../fault.ts'
import { ID_BYTES, keyIdOf, OVERHEAD_BYTES } from '../seal/a1.ts'
import { isDicom, PEEK_BYTES } from '../seal/detect.ts'
import { type Keyring, requireKey } from '../seal/keyring.ts'
import type { Stat, Store } from '../stores/store.ts'
import type { SealedNames } from './names.ts'
import { type Resealer, resealer } from './reseal.ts'
import { emptyTally, type Item, type ObjectOutcome, type RotationTally, ShardProgress } from './tally.ts'

export interface RotationPlace {
  readonly store: Store
  readonly names: SealedNames
}

export interface RotationOptions {
  /** All that have objects under these keys. */
  readonly places: readonly RotationPlace[]
  readonly keys: Keyring
  /** Only objects under these keys are moved. undefined = under every key but the current one. */
  readonly from: ReadonlySet<number> | undefined
  readonly dryRun: boolean
  /** Objects in work at once. */
  readonly concurrency: number
  /** What tells the places from all others. */
  readonly identity: Readonly<Record<string, Json>>
  /** Repeats work after a fault that another try may mend. Bounded. Default: not at all. */
  readonly again?: Again
}

interface Place extends RotationPlace {
  readonly listings: Listings
  readonly resealer: Resealer
}

/** `size`: bytes; undefined = not known. */
type Listed = Item & Partial<Pick<Stat, 'size'>>

export class Rotation implements BulkWork<RotationTally> {
  readonly name: string
  readonly identity: BulkWork<RotationTally>['identity']
  readonly keepsRemembered = true
  /** Names of the stores in which look() found no file of ours: perhaps they are the wrong ones. */
  readonly empty = new Set<string>()

  readonly #options: RotationOptions
  readonly #places: readonly Place[]
  readonly #currentId: number
  readonly #crew: Crew
  /** Of the work on one object, which is never given up in its middle. */
  readonly #signal = new AbortController().signal
  readonly #open = new Map<number, ShardProgress>()

  constructor(options: RotationOptions) {
    const { places, keys, from, dryRun, concurrency, identity } = options
    if (!keys.current) throw new Fault('Internal', 'there is no master key to re-encrypt with')
    this.name = dryRun ? 'rotate-keys --dry-run' : 'rotate-keys'
    this.identity = { ...identity, to: keys.current.id, from: from ? [...from].sort((a, b) => a - b) : null }
    this.#options = options
    this.#places = places.map(place => ({
      ...place,
      listings: new Listings(place.store, place.names.prefix),
      resealer: resealer(place.store, keys),
    }))
    this.#currentId = keys.current.id
    this.#crew = new Crew(concurrency, () => {})
    setMaxListeners(0, this.#signal)
  }

  get underWay(): Tally {
    return [...this.#open.values()].map(({ tally }) => tally).reduce<Tally>(add, emptyTally)
  }

  /** To be called before the work, in each process. */
  async look(signal: AbortSignal): Promise<void> {
    for (const { store, names } of this.#places) if (!(await hasOurs(store, names, signal))) this.empty.add(store.name)
  }

  /** Once `signal` is aborted, it rejects when the objects under way are done. */
  async shard(shard: Shard, signal: AbortSignal): Promise<RotationTally> {
    const progress = this.#begin(shard.number, shard)
    const { onlyThese } = progress
    const items = onlyThese ? onlyThese.values() : this.#itemsOf(shard.number, signal)
    await this.#settleAll(items, progress, shard, signal)
    progress.end(this.empty)
    this.#open.delete(shard.number)
    return progress.tally
  }

  /**
   * What is in the trash. It comes last: what was put aside while the shards were done was seen under its old name, or
   * is seen here.
   */
  async after(step: After, signal: AbortSignal): Promise<RotationTally> {
    const progress = this.#begin(AFTER, { remembered: undefined, remember: () => {} })
    const list = ({ store, names }: Place) => store.list(names.trash, signal)
    await this.#settleAll(this.#listed(list), progress, step, signal)
    this.#open.delete(AFTER)
    return progress.tally
  }

  #begin(number: number, memory: Pick<Shard, 'remembered' | 'remember'>): ShardProgress {
    const isOurs = ({ place, key }: Item) => this.#places[place]?.names.mayBeSealed(key) ?? false
    const progress = new ShardProgress(memory, this.#options.dryRun, isOurs)
    this.#open.set(number, progress)
    return progress
  }

  async #settleAll(
    items: Iterable<Listed> | AsyncIterable<Listed>,
    progress: ShardProgress,
    step: Pick<Shard, 'failed'>,
    signal: AbortSignal,
  ): Promise<void> {
    const group = this.#crew.group(() => {})
    let looked = false
    try {
      for await (const { size, ...item } of items)
        await group.add(async () => {
          if (!signal.aborted) await this.#settle(item, size, progress, step)
        })
      await group.end()
      throwIfAborted(signal)
      looked = true
    } finally {
      // Nothing may run on after the shard has ended.
      if (!looked) await group.end().finally(() => progress.remember())
    }
  }

  #itemsOf(shard: number, signal: AbortSignal): AsyncIterable<Listed> {
    return this.#listed(async function* ({ names, listings }) {
      for (const prefix of names.prefixes(shard)) yield* listings.list(prefix, signal)
    })
  }

  async *#listed(list: (place: Place) => AsyncIterable<Stat>): AsyncIterable<Listed> {
    for (const [place, one] of this.#places.entries()) {
      let previous: string | undefined
      for await (const { key, size } of list(one)) {
        if (key !== previous && one.names.mayBeSealed(key)) yield { place, key, size }
        previous = key
      }
    }
  }

  /** Rejects when it failed for reasons of the store, not of the object. It is told then, too. */
  async #settle(
    item: Item,
    size: number | undefined,
    progress: ShardProgress,
    step: Pick<Shard, 'failed'>,
  ): Promise<void> {
    const place = this.#places[item.place] as Place
    const found: { id?: number | undefined } = {}
    try {
      progress.settle(item, await this.#outcomeOf(place, item.key, size, progress.hasFailed(item), found))
    } catch (error) {
      const fault = Fault.from(error, { verb: 're-encrypt', store: place.store.name, key: item.key })
      if (fault.code === 'NotFound') return progress.settle(item, { kind: 'vanished' })
      progress.fail(item, found.id)
      step.failed(fault)
      if (fault.code !== 'Corrupt' && fault.code !== 'BadConfig') throw fault
    }
    progress.rememberSometimes()
  }

  /** `found.id`: of the master key it was under, as soon as that is known. */
  async #outcomeOf(
    place: Place,
    key: string,
    listed: number | undefined,
    hasFailed: boolean,
    found: { id?: number | undefined },
  ): Promise<ObjectOutcome> {
    const { keys, from, dryRun, again = work => work() } = this.#options
    const size = listed ?? (await place.store.stat(key, this.#signal))?.size
    if (size === undefined) return { kind: 'vanished' }
    const id = await this.#keyIdOf(place, key, size)
    found.id = id
    if (id === undefined) return { kind: 'plain' }
    if (id === this.#currentId) {
      const verified = () => place.resealer.verify(key, this.#signal)
      return hasFailed && !(await again(verified, this.#signal)) ? { kind: 'vanished' } : { kind: 'sealed', id }
    }
    if (from && !from.has(id)) return { kind: 'sealed', id }
    requireKey(keys, id)
    if (dryRun) return { kind: 'moved', id, bytes: size }
    return (await again(() => place.resealer.reseal(key, this.#signal), this.#signal))
      ? { kind: 'moved', id: this.#currentId, bytes: size }
      : { kind: 'vanished' }
  }

  /** The id of the master key that an object is sealed under; undefined = it is a plain file, and may be one. */
  async #keyIdOf({ store, names }: Place, key: string, size: number): Promise<number | undefined> {
    const bytes = async (end: number) => collect(await store.get(key, { start: 0, end }, this.#signal))
    if (size < OVERHEAD_BYTES) {
      if (names.mayBePlain) return undefined
      throw new Fault('Corrupt', `the object has only ${size} bytes, an empty encrypted one has ${OVERHEAD_BYTES}`)
    }
    const id = keyIdOf(await bytes(ID_BYTES))
    if (id === undefined && !names.mayBePlain)
      throw new Fault('Corrupt', 'the object is not encrypted in format A1, although its name says so')
    // The preamble of a plain DICOM file may be any 128 bytes, so it may look like a sealed object under any key.
    const mayBeDicom = id !== undefined && names.mayBePlain && !this.#options.keys.find(id) && size >= PEEK_BYTES
    if (mayBeDicom && isDicom(await bytes(PEEK_BYTES))) return undefined
    return id
  }
}

async function hasOurs(store: Store, names: SealedNames, signal: AbortSignal): Promise<boolean> {
  for await (const { key } of store.list(names.prefix, signal)) if (names.mayBeSealed(key)) return true
  return false
}
