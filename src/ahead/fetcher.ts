/** Decides what is fetched, and when; fetches it, and lets only verified bytes pass. */
import { createHash } from 'node:crypto'
import type { StorageArea } from '../area/area.ts'
import { type Content, collect, discard } from '../bytes.ts'
import { Fault } from '../fault.ts'
import { type Account, REQUEST_BYTES } from './account.ts'
import type { Asks, Catalogue } from './catalogue.ts'
import { type Info, infoOf, storedOf } from './listing.ts'
import type { Item, Read, Series } from './series.ts'
import type { Entry, Shelf } from './shelf.ts'

export interface FetcherOptions {
  /** Where files are fetched from. */
  readonly area: StorageArea
  readonly catalogue: Catalogue
  readonly shelf: Shelf
  readonly account: Account
  readonly memoryBytes: number
  /** Larger files are not fetched ahead. */
  readonly largestBytes: number
  /** Of the store, to all who read. */
  readonly connections: number
  /** Orthanc, while it may be asked. Without it nothing is fetched. */
  asks(): Asks | undefined
  /** How many readers are reading from the store themselves, and whether this file is read so. */
  reading(uuid?: string): number
  /** Whether nobody reads the series any more. */
  isLeft(series: Series): boolean
  /** A file is here. */
  fetched(bytes: number): void
}

/** More files at a time bring nothing on any network that we know. */
const MOST_FETCHES = 16
/** Files that Orthanc may be asked for at a time. */
const MOST_QUESTIONS = 8
/** Orthanc's numbers of content types. */
const DICOM = 1
const HEADER = 3

export class Fetcher {
  readonly #options: FetcherOptions
  readonly #most: number
  readonly #questions = new Set<Item>()

  constructor(options: FetcherOptions) {
    this.#options = options
    this.#most = Math.min(MOST_FETCHES, options.connections >> 1)
  }

  /** Fetches as much as may be fetched now. To be called whenever something has changed. */
  pump(): void {
    const { shelf, connections, reading } = this.#options
    const asks = this.#options.asks()
    while (asks && shelf.underWay < this.#most && reading() + shelf.underWay < connections)
      if (!this.#begin(asks)) return
  }

  /** Begins the most probable fetch; false when there is none that may begin. */
  #begin(asks: Asks): boolean {
    const { catalogue, memoryBytes, largestBytes, isLeft } = this.#options
    for (const series of catalogue.series) {
      if (series.exhausted || isLeft(series)) continue
      let open = false
      for (const item of series.next(memoryBytes)) {
        const wanted = series.wanted(item)
        if (wanted === undefined) void this.#ask(series, item, asks)
        const missing = wanted && sizeOf(wanted) <= largestBytes && !this.#isHere(wanted)
        if (missing && this.#fetch(series, item, wanted, asks)) return true
        open ||= wanted === undefined || Boolean(missing)
        if (missing || this.#questions.size >= MOST_QUESTIONS) break
      }
      series.exhausted = !open
    }
    return false
  }

  #isHere(wanted: Read): boolean {
    const { uuid } = wanted.attachment
    const entry = this.#options.shelf.get(uuid)
    return this.#options.reading(uuid) > 0 || (entry !== undefined && (entry.whole || entry.end >= sizeOf(wanted)))
  }

  /** Orthanc is asked for all files at once, then one by one for those that were not in its answer, as needed. */
  async #ask(series: Series, item: Item, asks: Asks): Promise<void> {
    if (series.askedForAll === 'now' || this.#questions.has(item) || this.#questions.size >= MOST_QUESTIONS) return
    this.#questions.add(item)
    if (series.askedForAll === 'yes') await this.#askForOne(series, item, asks)
    else await this.#askForAll(series, asks).catch(() => {}) // then they are asked for one by one
    this.#questions.delete(item)
    series.exhausted = false
    this.pump()
  }

  async #askForAll(series: Series, { orthanc, signal }: Asks): Promise<void> {
    series.askedForAll = 'now'
    const all = await storedOf(series.uid, orthanc, signal).finally(() => {
      series.askedForAll = 'yes'
    })
    for (const item of series.items) {
      const stored = all.get(item.id)
      if (!stored || stored.size === 0) continue
      item.stored.dicom ??= stored.get(DICOM) ?? null
      item.stored.header ??= stored.get(HEADER) ?? null
      if (item.stored.header) this.#options.catalogue.addHeader({ series, item }, item.stored.header.uuid)
    }
  }

  async #askForOne(series: Series, item: Item, { orthanc, signal }: Asks): Promise<void> {
    const [kind, name] =
      series.kind === 'header' ? (['header', 'dicom-until-pixel-data'] as const) : (['dicom', 'dicom'] as const)
    const info = await infoOf(item.id, name, orthanc, signal).catch(() => undefined)
    item.stored[kind] ??= info ?? null
    if (info && kind === 'header') this.#options.catalogue.addHeader({ series, item }, info.uuid)
  }

  #fetch(series: Series, item: Item, wanted: Read, asks: Asks): boolean {
    const { shelf, account, isLeft, catalogue, memoryBytes } = this.#options
    const size = sizeOf(wanted)
    const risk = (one: Series) => one.unread * (isLeft(one) ? 1 : one.doubt)
    const risks = catalogue.series.reduce((sum, one) => sum + risk(one), 0)
    if (!account.allows(risks + costOf(size) * series.doubt)) return false
    let next: Set<string> | undefined
    const isNext = (uuid: string) => {
      next ??= new Set([...series.next(memoryBytes)].map(one => series.wanted(one)?.attachment.uuid ?? ''))
      return next.has(uuid)
    }
    const isSpare = (entry: Entry) => isLeft(entry.series) || (entry.series === series && !isNext(entry.uuid))
    if (!shelf.makeRoom(size, isSpare)) return false
    const { uuid } = wanted.attachment
    const stored = item.stored[wanted.attachment.type === 'dicom' ? 'dicom' : 'header']
    const fetch = async (signal: AbortSignal) => {
      const bytes = await this.#bytesOf(wanted, stored ?? undefined, AbortSignal.any([signal, asks.signal])).catch(
        error => {
          item.lost = true // a read by Orthanc will report the fault
          throw error
        },
      )
      if (!bytes) series.asksFirst = true
      series.exhausted = false
      return bytes
    }
    const entry = shelf.add({ uuid, series, size, whole: !wanted.range, fetch })
    series.unread += costOf(size)
    void entry.bytes.then(bytes => {
      if (bytes) this.#options.fetched(bytes.byteLength)
      this.pump()
    })
    return true
  }

  /**
   * What Orthanc would read. Undefined when Orthanc must be asked first: only the digest that its database has can show
   * whether the bytes are right. If it keeps none, their size is what its own read would be compared with, too.
   */
  async #bytesOf(wanted: Read, stored: Info | undefined, signal: AbortSignal) {
    const { attachment, range } = wanted
    const { bytes, verified } = await this.#options.area.deliver(
      attachment,
      range,
      async content => ({ bytes: await ownBytes(content, sizeOf(wanted)), verified: content.verified }),
      signal,
    )
    if (range || verified) return bytes
    if (!stored) return undefined
    const { md5 } = stored
    const found = md5 && createHash('md5').update(bytes).digest('hex')
    if (found !== md5) throw new Fault('Corrupt', `the bytes have the MD5 ${found}, those that Orthanc stored ${md5}`)
    return bytes
  }
}

const sizeOf = ({ range, size = 0 }: Read) => range?.end ?? size

/** What the account takes for a fetch. */
export const costOf = (size: number) => size + REQUEST_BYTES

/** In memory of their own: a small chunk may be a part of a large buffer. `size`: what Orthanc stored. */
async function ownBytes(content: Content, size: number): Promise<Buffer> {
  if (content.size !== size) {
    await discard(content)
    throw new Fault('Corrupt', `${content.size} bytes came, but Orthanc stored ${size}`)
  }
  const bytes = await collect(content)
  return bytes.buffer.byteLength > bytes.byteLength ? Buffer.from(new Uint8Array(bytes).buffer) : bytes
}
