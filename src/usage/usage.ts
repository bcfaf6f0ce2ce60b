/** What is in a store, by listing it: objects and bytes by type, storage class, age, encryption and tier. */
import type { TierName } from '../area/area.ts'
import { keyFromTrash, type Naming, type ParsedKey, parseKey, prefixOf, trashPrefixOf } from '../area/naming.ts'
import { Crew } from '../bulk/crew.ts'
import { type Listed, withListings } from '../bulk/listings.ts'
import { prefixesOf } from '../bulk/shards.ts'
import { add, type BulkWork, type Json, type Shard, type ShardTally, type Tally } from '../bulk/work.ts'
import { collect } from '../bytes.ts'
import { Fault } from '../fault.ts'
import { ID_BYTES, keyIdOf } from '../seal/a1.ts'
import { isDicom, PEEK_BYTES } from '../seal/detect.ts'
import type { Stat, Store } from '../stores/store.ts'
import { ageOf, type Cell, Cells, classOf, NOT_TOLD } from './cells.ts'

export interface UsagePlace {
  readonly tier: TierName
  readonly store: Store
  readonly naming: Naming
}

export interface UsageOptions {
  readonly places: readonly UsagePlace[]
  /** Reads the first bytes of each object that may be encrypted: they say under which key. */
  readonly keyIds: boolean
  /** Counts also objects with a key that no file of Orthanc's has. */
  readonly all: boolean
  /** Objects that are read at once. */
  readonly concurrency: number
  readonly identity: Readonly<Record<string, Json>>
}

export interface UsageTally extends ShardTally {
  readonly objects: number
  readonly bytes: number
  /** See cellsOf(). */
  readonly cells: Tally
}

/** This shard has, beside its own files, what no shard's prefixes have. */
const FOR_THE_REST = 0

export class Usage implements BulkWork<UsageTally> {
  readonly name = 'usage'
  readonly identity: BulkWork<UsageTally>['identity']
  readonly #options: UsageOptions
  readonly #crew: Crew
  readonly #places: readonly Listed<UsagePlace>[]
  readonly #open = new Set<Cells>()

  constructor(options: UsageOptions) {
    const { keyIds, all } = options
    this.identity = { ...options.identity, keyIds, all }
    this.#options = options
    this.#crew = new Crew(options.concurrency, () => {})
    this.#places = options.places.map(withListings)
  }

  get underWay(): Tally {
    const empty = { objects: 0, bytes: 0, cells: {} }
    return [...this.#open].map(tallyOf).reduce<Tally>((sum, tally) => add(sum, tally), empty)
  }

  async shard(shard: Shard, signal: AbortSignal): Promise<UsageTally> {
    const cells = new Cells()
    let failures = 0
    const group = this.#crew.group(fault => {
      failures++
      shard.failed(fault)
    })
    this.#open.add(cells)
    try {
      for (const place of this.#places)
        for await (const found of this.#found(place, shard.number, signal)) {
          const looks = this.#options.keyIds && found.of !== 'strangers'
          if (looks && found.sealed !== false && found.stat.size >= ID_BYTES)
            await group.add(() => this.#read(place, found, cells, signal))
          else cells.add(cellOf(place, found, encryptionOf(found, looks)), found.stat.size)
        }
    } finally {
      // Nothing may run on after the shard has ended.
      await group.end().finally(() => this.#open.delete(cells))
    }
    return { failures, ...tallyOf(cells) }
  }

  async *#found(
    { store, naming, listings }: Listed<UsagePlace>,
    shard: number,
    signal: AbortSignal,
  ): AsyncIterable<Found> {
    for (const prefix of prefixesOf(naming, shard))
      for await (const stat of listings.list(prefix, signal)) {
        const parsed = parseKey(naming, stat.key)
        if (parsed) yield { of: 'files', stat, ...parsed }
      }
    if (shard !== FOR_THE_REST) return
    const trash = trashPrefixOf(naming)
    for await (const stat of store.list(trash, signal)) {
      const key = keyFromTrash(naming, stat.key)
      yield { of: 'trash', stat, ...(key === undefined ? unnamed : (parseKey(naming, key) ?? unnamed)) }
    }
    if (!this.#options.all) return
    for await (const stat of store.list(prefixOf(naming), signal))
      if (!stat.key.startsWith(trash) && !parseKey(naming, stat.key)) yield { of: 'strangers', stat, ...unnamed }
  }

  async #read(place: UsagePlace, found: Found, cells: Cells, signal: AbortSignal): Promise<void> {
    const { store } = place
    const { key, size } = found.stat
    let encryption: string
    try {
      const end = Math.min(size, PEEK_BYTES)
      encryption = keyOf(found, await collect(await store.get(key, { start: 0, end }, signal)))
    } catch (error) {
      const fault = Fault.from(error, { verb: 'read', store: store.name, key })
      if (fault.code === 'NotFound') return // removed since the listing
      // A whole archive is no failure of each of its objects.
      if (fault.code !== 'Archived') throw fault
      encryption = 'in an archive'
    }
    cells.add(cellOf(place, found, encryption), size)
  }
}

interface Found extends Pick<ParsedKey, 'type' | 'sealed'> {
  readonly of: Cell['of']
  readonly stat: Stat
}

const unnamed = { type: undefined, sealed: undefined }

function tallyOf(cells: Cells) {
  return { objects: cells.objects, bytes: cells.bytes, cells: cells.tally }
}

function cellOf({ tier }: UsagePlace, { of, type, stat }: Found, encryption: string): Cell {
  // A disk does not tell its time: then that of this machine, which mostly has set its dates.
  const now = stat.asOf?.getTime() ?? Date.now()
  const age = ageOf(now - stat.modified.getTime())
  return { tier, of, type: type ?? NOT_TOLD, class: classOf(stat.storageClass, tier), age, encryption }
}

/** As far as the name and the size say it. `looked`: whether objects that may be encrypted are read. */
function encryptionOf({ sealed }: Found, looked: boolean): string {
  if (sealed === undefined) return looked ? 'plain' : NOT_TOLD
  if (!sealed) return 'plain'
  return looked ? NO_KEY : 'encrypted'
}

const NO_KEY = 'damaged: names no key'

/** A plain DICOM file may have any preamble, also one that looks like the beginning of an encrypted object. */
function keyOf({ sealed }: Found, start: Buffer): string {
  const id = keyIdOf(start)
  if (sealed === undefined && (id === undefined || isDicom(start))) return 'plain'
  return id === undefined ? NO_KEY : `key ${id}`
}
