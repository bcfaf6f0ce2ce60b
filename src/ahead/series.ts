/** One series that somebody reads: which of its files come next. */
import type { Attachment } from '../area/area.ts'
import type { Range } from '../bytes.ts'
import type { Info, Listed } from './listing.ts'

/**
 * What of the files is read: all of each; only the bytes in front of the pixel data; or the objects that hold these
 * bytes alone, which Orthanc writes when it may not read ranges.
 */
export type Kind = 'whole' | 'head' | 'header'

/** A read by Orthanc. `size`: of the file, if that is known. */
export interface Read {
  readonly attachment: Attachment
  readonly range: Range | undefined
  readonly size?: number
}

export interface Item extends Listed {
  /** Where it is in each order of the series. */
  places: readonly number[]
  /** How often each kind of it was read. */
  readonly reads: Record<Kind, number>
  /** Not to be fetched any more: that failed, or the file was removed. */
  lost: boolean
  /** What Orthanc knows of its objects: undefined = it was not asked yet, null = there is none. */
  readonly stored: Record<'dicom' | 'header', Info | null | undefined>
}

/** The files that are fetched ahead of a reader at first, if not all of them fit into memory. */
const FIRST_WINDOW = 4
const LARGEST_WINDOW = 256
/**
 * A reader that goes through a series does not read its files exactly in order: it may have several threads. In a
 * small series, most steps are short.
 */
const nearIn = (count: number) => Math.max(1, Math.min(4, count >> 3))
/** How much the last step says about the next one, against all those before it. */
const NEWS = 0.4
/** From here on a reader counts as one that goes through the series in order. */
const STEADY = 0.2
/** So many items are looked at in each direction: a series may have very many. */
const REACH = 2048

/** An order of the items, and a direction. */
interface Course {
  readonly order: number
  readonly direction: 1 | -1
  /** How well the steps of the reader fit, 0 … 1. */
  fit: number
}

export class Series {
  /** SeriesInstanceUID. */
  readonly uid: string
  /** When, and as which one of all reads, a file of it was read. */
  lastRead = { at: 0, number: 0 }
  /** Bytes that were fetched or are under way, and that nobody has read yet. */
  unread = 0
  kind: Kind = 'whole'
  /** Whether there was nothing more to fetch. Whatever changes that sets it back. */
  exhausted = false
  /**
   * Whether Orthanc is asked for size and digest of each file before it is fetched. Its list has the sizes before
   * compression, and no digests, which are needed where the store has none.
   */
  asksFirst: boolean
  /** Whether Orthanc is being asked, or was, for what it knows of all files at once. */
  askedForAll: 'no' | 'now' | 'yes' = 'no'
  /** Whether Orthanc compresses the files. Then it reads none of them in part. */
  readonly #compressed: boolean
  #orders: readonly (readonly Item[])[] = [[], []]
  readonly #courses: readonly Course[] = [0, 1].flatMap(order => [
    { order, direction: 1, fit: 0 },
    { order, direction: -1, fit: 0 },
  ])
  #lastKind: Kind = 'whole'
  /** The longest part that was read of a file, where only parts are read. */
  #partBytes = 0
  #wholeBytes = 0
  #place: Item | undefined
  #window = FIRST_WINDOW

  constructor(uid: string, { compressed, asksFirst }: { compressed: boolean; asksFirst: boolean }) {
    this.uid = uid
    this.#compressed = compressed
    this.asksFirst = asksFirst
  }

  /** As Orthanc lists them. */
  get items(): readonly Item[] {
    return this.#orders[1] as readonly Item[]
  }

  /** Takes the files as they are now. What is known of those that were there before stays. */
  take(listed: readonly Listed[]): void {
    this.exhausted = false
    const before = new Map(this.items.map(item => [item.uuid, item]))
    const items = listed.map((one): Item => {
      const news = {
        places: [],
        reads: { whole: 0, head: 0, header: 0 },
        lost: false,
        stored: { dicom: undefined, header: undefined },
      }
      return before.get(one.uuid) ?? { ...one, ...news }
    })
    const indexed = items.toSorted((a, b) => (a.index ?? Number.MAX_VALUE) - (b.index ?? Number.MAX_VALUE))
    for (const [place, item] of indexed.entries()) item.places = [place]
    for (const [place, item] of items.entries()) item.places = [item.places[0] as number, place]
    this.#orders = [indexed, items]
    this.#wholeBytes = items.reduce((sum, { size }) => sum + size, 0)
  }

  /** A file was read, or is about to be. `hit`: whether it was fetched ahead; undefined = it could not be yet. */
  note(item: Item, read: Read, hit: boolean | undefined): void {
    const kind = this.#kindOf(item, read)
    if (!kind) return
    // One file in between that is read otherwise says nothing about the next ones.
    if (!this.#place || kind === this.#lastKind) this.kind = kind
    this.#lastKind = kind
    this.exhausted = false
    item.reads[kind]++
    if (kind === 'head') this.#partBytes = Math.max(this.#partBytes, partOf(read.range))
    if (kind === 'header') this.#partBytes = Math.max(this.#partBytes, read.size ?? 0)
    const near = nearIn(this.items.length)
    for (const course of this.#courses) {
      const step = this.#place && this.#place !== item ? stepOf(course, this.#place, item) : undefined
      if (step !== undefined) course.fit += ((step > 0 && step <= near ? 1 / step : 0) - course.fit) * NEWS
    }
    this.#place = item
    if (hit) this.#window = Math.min(this.#window * 2, LARGEST_WINDOW)
    if (hit === false) this.#window = Math.max(this.#window >> 1, FIRST_WINDOW)
  }

  /** How probable it is that a file of the series will not be read. */
  get doubt(): number {
    return 1 - this.#course.fit
  }

  /**
   * What is to be fetched of an item. Undefined when Orthanc must be asked for it first (`stored`), null when there is
   * nothing.
   */
  wanted({ uuid, size, stored }: Item): Read | null | undefined {
    if (this.kind === 'header') return stored.header && readOf(stored.header, 'dicom-until-pixel-data')
    if (this.kind === 'head' && this.#partBytes < size)
      return { ...readOf({ uuid, size }, 'dicom'), range: { start: 0, end: this.#partBytes } }
    return this.asksFirst ? stored.dicom && readOf(stored.dicom, 'dicom') : readOf({ uuid, size }, 'dicom')
  }

  /**
   * What may be read next, the most probable first. If everything fits into `memory`: all that comes after the reader's
   * place, then what is before it and was never read. Else as much as the window has, if the reader goes on in order.
   */
  *next(memory: number): Iterable<Item> {
    const place = this.#place
    if (!place) return
    const { order, direction } = this.#course
    const items = this.#orders[order] as readonly Item[]
    const at = place.places[order] as number
    const allFit = (this.kind === 'whole' ? this.#wholeBytes : items.length * this.#partBytes) <= memory
    const reach = allFit ? REACH : this.#isSteady ? this.#window : 0
    for (let i = 1; i <= reach && i <= items.length; i++) {
      const item = items[at + i * direction]
      if (item && !item.lost && item.reads[this.kind] < place.reads[this.kind]) yield item
    }
    for (let i = 1; allFit && i <= REACH && i <= items.length; i++) {
      const item = items[at - i * direction]
      if (item && !item.lost && item.reads[this.kind] === 0) yield item
    }
  }

  /** Undefined for a part in the middle of a file: nothing can be learnt from that. */
  #kindOf(item: Item, { attachment, range }: Read): Kind | undefined {
    if (attachment.type === 'dicom-until-pixel-data') return 'header'
    if (!range || (range.start === 0 && (this.#compressed || range.end >= item.size))) return 'whole'
    return range.start === 0 ? 'head' : undefined
  }

  get #isSteady(): boolean {
    return this.#course.fit >= STEADY
  }

  get #course(): Course {
    return this.#courses.reduce((best, course) => (course.fit > best.fit ? course : best))
  }
}

const stepOf = ({ order, direction }: Course, from: Item, to: Item) =>
  ((to.places[order] as number) - (from.places[order] as number)) * direction

const readOf = ({ uuid, size }: Pick<Info, 'uuid' | 'size'>, type: Attachment['type']): Read => ({
  attachment: { uuid, type },
  range: undefined,
  size,
})

/** The headers of a series have nearly the same length. */
const partOf = (range: Range | undefined) => Math.ceil((range?.end ?? 0) * 1.25) + 256
