/** Which series are read, and which files they have. */
import { Fault, isCode } from '../fault.ts'
import type { Orthanc } from '../orthanc.ts'
import type { Identity } from './head.ts'
import { instancesOf, type Listed } from './listing.ts'
import { type Item, type Read, Series } from './series.ts'

/** Orthanc, as long as it may be asked. */
export interface Asks {
  readonly orthanc: Orthanc
  readonly signal: AbortSignal
}

export interface Known {
  readonly series: Series
  readonly item: Item
}

/** A read of a file of which nothing was known before. */
export interface Sighting extends Read {
  readonly identity: Identity
  /** Whether the store had a digest of what was read, or a tag. */
  readonly verified: boolean
}

/** Reads of a series whose files are not known, or not all of them. */
interface Suspicion {
  readonly sightings: readonly Sighting[]
  /** How many must come together before Orthanc is asked. Twice as many the next time. */
  readonly needed: number
  readonly since: number
}

export interface CatalogueOptions {
  /** Called with each file that the catalogue knows no more. */
  forgotten(uuid: string): void
  log(line: string): void
  now(): number
}

/** Series that are remembered after one read, and those whose files are known. */
const MOST_SUSPICIONS = 256
const MOST_SERIES = 16
/** Of all series together. */
const MOST_FILES = 50_000
const MOST_SIGHTINGS = 64
/** Series that Orthanc is asked for at a time: it answers one after the other. */
const MOST_LISTINGS = 4
/** The second read of a series tells something only when it comes within this time, and a series is kept as long. */
const FORGOTTEN_MS = 60_000
/** There is nothing to fetch in a smaller series. */
const SMALLEST_SERIES = 3

export class Catalogue {
  readonly #options: CatalogueOptions
  /** By SeriesInstanceUID, like the suspicions; the one that was read last is at the end. */
  readonly #series = new Map<string, Series>()
  readonly #suspicions = new Map<string, Suspicion>()
  /** By UUID. */
  readonly #known = new Map<string, Known>()
  /** Series that Orthanc is asked for, and what was removed meanwhile: its answer may still have it. */
  readonly #listing = new Map<string, Set<string>>()

  constructor(options: CatalogueOptions) {
    this.#options = options
  }

  find(uuid: string): Known | undefined {
    return this.#known.get(uuid)
  }

  /** The one that was read last comes first. */
  get series(): readonly Series[] {
    return [...this.#series.values()].reverse()
  }

  note({ series, item }: Known, read: Read, hit: boolean | undefined, number: number): void {
    series.note(item, read, hit)
    series.lastRead = { at: this.#options.now(), number }
    this.#series.delete(series.uid)
    this.#series.set(series.uid, series)
  }

  /** The header object of an item was found. */
  addHeader(known: Known, uuid: string): void {
    if (this.#series.get(known.series.uid) === known.series) this.#known.set(uuid, known)
  }

  /**
   * What the head of a file tells. From the second file of a series on, Orthanc is asked for the others. Resolves to
   * true when there is more to fetch. Never rejects.
   */
  async learn(sighting: Sighting, asks: Asks | undefined, number: number): Promise<boolean> {
    const { attachment, identity } = sighting
    const series = this.#series.get(identity.series)
    const item = series?.items.find(one => one.instance === identity.instance)
    if (series && item) {
      // A header object, or a file that was read while Orthanc was asked.
      this.#known.set(attachment.uuid, { series, item })
      this.note({ series, item }, sighting, undefined, number)
      return true
    }
    const suspicion = this.#suspect(sighting)
    if (suspicion.sightings.length < suspicion.needed || !asks || this.#listing.has(identity.series)) return false
    if (this.#listing.size >= MOST_LISTINGS) return false
    return await this.#list(identity.series, asks, number)
  }

  /** At once. */
  remove(uuid: string): void {
    for (const removed of this.#listing.values()) removed.add(uuid)
    const known = this.#known.get(uuid)
    if (known?.item.uuid === uuid) known.item.lost = true
    else if (known) known.item.stored.header = null
    this.#known.delete(uuid)
    this.#options.forgotten(uuid)
  }

  /** Forgets what nobody has read for a while; everything, when `all`. */
  sweep(all = false): void {
    const now = this.#options.now()
    for (const series of this.#series.values()) if (all || now - series.lastRead.at > FORGOTTEN_MS) this.#forget(series)
    for (const [uid, { since }] of this.#suspicions) if (all || now - since > FORGOTTEN_MS) this.#suspicions.delete(uid)
  }

  #suspect(sighting: Sighting): Suspicion {
    const { series: uid, instance } = sighting.identity
    const now = this.#options.now()
    const before = this.#suspicions.get(uid)
    const fresh = before && now - before.since <= FORGOTTEN_MS ? before : undefined
    const others = (fresh?.sightings ?? []).filter(one => one.identity.instance !== instance)
    const sightings = [...others, sighting].slice(-MOST_SIGHTINGS)
    const suspicion = { sightings, needed: fresh?.needed ?? 2, since: now }
    this.#suspicions.delete(uid)
    this.#suspicions.set(uid, suspicion)
    for (const oldest of this.#suspicions.keys())
      if (this.#suspicions.size > MOST_SUSPICIONS) this.#suspicions.delete(oldest)
    return suspicion
  }

  async #list(uid: string, { orthanc, signal }: Asks, number: number): Promise<boolean> {
    const removed = new Set<string>()
    this.#listing.set(uid, removed)
    let tooMany = false
    try {
      const isSeen = ({ uuid, instance }: Listed) =>
        (this.#suspicions.get(uid)?.sightings ?? []).some(
          seen => seen.attachment.uuid === uuid || seen.identity.instance === instance,
        )
      const listed = await instancesOf(uid, isSeen, orthanc, signal)
      const { sightings = [] } = this.#suspicions.get(uid) ?? {}
      tooMany = listed !== undefined && listed.length > MOST_FILES
      if (signal.aborted || !listed || tooMany || listed.length < SMALLEST_SERIES) return false
      const there = listed.filter(({ uuid }) => !removed.has(uuid))
      this.#take(uid, there, sightings, number)
      return true
    } catch (error) {
      tooMany = isCode(error, 'TooLarge')
      if (!isCode(error, 'Canceled'))
        this.#options.log(`nothing of a series is read ahead: ${Fault.from(error).describe()}`)
      return false
    } finally {
      const { needed = 2 } = this.#suspicions.get(uid) ?? {}
      // Such a list costs Orthanc's database seconds. It is not asked for again while the series is read.
      const next = tooMany ? Number.POSITIVE_INFINITY : Math.min(needed * 2, MOST_SIGHTINGS)
      this.#suspicions.set(uid, { sightings: [], needed: next, since: this.#options.now() })
      this.#listing.delete(uid)
    }
  }

  #take(uid: string, listed: readonly Listed[], sightings: readonly Sighting[], number: number): void {
    const series = this.#series.get(uid) ?? newSeries(uid, sightings)
    const before = series.items
    for (const { uuid } of before) this.#known.delete(uuid)
    series.take(listed)
    this.#series.set(uid, series)
    for (const item of series.items) this.#known.set(item.uuid, { series, item })
    // Another Orthanc with the same database may have removed files.
    for (const { uuid } of before) if (!this.#known.has(uuid)) this.#options.forgotten(uuid)
    for (const sighting of sightings) {
      const { attachment, identity } = sighting
      const item = series.items.find(one => one.uuid === attachment.uuid || one.instance === identity.instance)
      if (!item) continue
      this.#known.set(attachment.uuid, { series, item })
      this.note({ series, item }, sighting, undefined, number)
    }
    for (const oldest of this.#series.values())
      if (this.#series.size > MOST_SERIES || this.#known.size > MOST_FILES) this.#forget(oldest)
  }

  #forget(series: Series): void {
    this.#series.delete(series.uid)
    for (const [uuid, known] of this.#known)
      if (known.series === series) {
        this.#known.delete(uuid)
        this.#options.forgotten(uuid)
      }
  }
}

function newSeries(uid: string, sightings: readonly Sighting[]): Series {
  const compressed = sightings.some(({ identity }) => identity.compressed)
  return new Series(uid, { compressed, asksFirst: compressed || sightings.some(({ verified }) => !verified) })
}
