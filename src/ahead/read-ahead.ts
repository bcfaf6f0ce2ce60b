/**
 * A storage area that reads ahead. It sees the first bytes of the DICOM files that Orthanc reads, so it knows which
 * series they belong to. From the second file of a series on it fetches the others before Orthanc asks for them.
 */
import type { StorageArea } from '../area/area.ts'
import { type Content, type Range, sourceOf } from '../bytes.ts'
import { Fault } from '../fault.ts'
import type { Orthanc } from '../orthanc.ts'
import { Account, REQUEST_BYTES } from './account.ts'
import { type Asks, Catalogue } from './catalogue.ts'
import { costOf, Fetcher, settle } from './fetcher.ts'
import { Head } from './head.ts'
import type { Read, Series } from './series.ts'
import { type Entry, Shelf } from './shelf.ts'

export interface ReadAheadOptions {
  /** What is held and what is under way takes no more. */
  readonly memoryBytes: number
  /** Larger files are not read ahead. Default: those for which there is memory. */
  readonly largestBytes?: number | undefined
  /** Of the store, to all who read. */
  readonly connections: number
  /** How long the store takes to begin an answer, at its best: milliseconds. */
  nearest(): number
  log(line: string): void
  /** Milliseconds. Default: those of this process. */
  now?(): number
}

/** Since this engine started. */
export interface AheadCounts {
  fetched: number
  used: number
  /** Dropped before anybody had read them. */
  unused: number
  bytes: number
}

export interface ReadAhead extends StorageArea {
  readonly counts: Readonly<AheadCounts>
  /** Bytes in memory and on their way to it. */
  readonly held: number
  /** Reads ahead until `signal` is aborted. Then it lets go of everything, at once. */
  run(orthanc: Orthanc, signal: AbortSignal): Promise<void>
}

/** Below this a reader would hardly notice. It includes what the store and a busy machine need by themselves. */
const FAR_MS = 4
/** A series counts as left when none of its files was read for so long, or when so many others were. */
const LEFT_MS = 10_000
const LEFT_READS = 64
const SWEEP_MS = 15_000
/** What may be wasted before anything was delivered: a share of the memory, and some small files in any case. */
const allowanceOf = (memoryBytes: number) => Math.max(memoryBytes / 8, 16 * REQUEST_BYTES)

export function readAhead(area: StorageArea, options: ReadAheadOptions): ReadAhead {
  const { memoryBytes, largestBytes = memoryBytes, connections, nearest, log, now = () => performance.now() } = options
  const counts: AheadCounts = { fetched: 0, used: 0, unused: 0, bytes: 0 }
  const account = new Account(allowanceOf(memoryBytes))
  const shelf = new Shelf(memoryBytes, entry => {
    entry.series.exhausted = false
    account.wasted(settle(entry))
    if (entry.ready && !entry.used) counts.unused++
  })
  const catalogue = new Catalogue({ forgotten: uuid => shelf.forget(uuid), log, now })
  /** Files that are read from the store for Orthanc, and by how many readers. */
  const reading = new Map<string, number>()
  let readers = 0
  let reads = 0
  let asks: Asks | undefined
  const isLeft = ({ lastRead: { at, number } }: Series) => now() - at > LEFT_MS || reads - number > LEFT_READS
  const fetcher = new Fetcher({
    area,
    catalogue,
    shelf,
    account,
    memoryBytes,
    largestBytes: Math.min(largestBytes, memoryBytes),
    connections,
    asks: () => asks,
    reading: uuid => (uuid === undefined ? readers : (reading.get(uuid) ?? 0)),
    isLeft,
    fetched(bytes) {
      counts.fetched++
      counts.bytes += bytes
    },
  })

  /** What was fetched of this, or is on its way: now in its reader's hands, and to be released. */
  function entryFor(read: Read): Entry | undefined {
    const { uuid } = read.attachment
    const known = catalogue.find(uuid)
    if (!known) return undefined
    const entry = shelf.get(uuid)
    const covers = entry && (read.range ? read.range.end <= entry.end : entry.whole)
    catalogue.note(known, read, Boolean(covers), reads)
    if (!covers) return undefined
    entry.readers++
    return entry
  }

  /** Undefined when nothing came of the fetch: then the reader reads itself. */
  async function serve<T>(
    entry: Entry,
    range: Range | undefined,
    use: (content: Content) => Promise<T>,
    signal: AbortSignal,
  ): Promise<{ readonly value: T } | undefined> {
    try {
      const bytes = await unlessGivenUp(entry.bytes, signal)
      if (!bytes || (range && range.end > bytes.byteLength)) return undefined
      if (!entry.used) counts.used++
      settle(entry)
      shelf.use(entry)
      const size = range ? range.end - range.start : bytes.byteLength
      const value = await use({ size, body: sourceOf(bytes).open(range) })
      account.delivered(costOf(size))
      return { value }
    } finally {
      shelf.release(entry)
      fetcher.pump()
    }
  }

  /** Reads from the store, and learns from the first bytes when they come from far away. */
  async function readItself<T>(read: Read, use: (content: Content) => Promise<T>, signal: AbortSignal): Promise<T> {
    const { attachment, range } = read
    const { uuid } = attachment
    const began = now()
    const isNew = (range?.start ?? 0) === 0 && !catalogue.find(uuid)
    let head: Head | undefined
    let size = 0
    let verified = false
    readers++
    reading.set(uuid, (reading.get(uuid) ?? 0) + 1)
    try {
      const watched = (content: Content) => {
        size = content.size
        verified = content.verified === true
        if (isNew && !head && Math.min(now() - began, nearest()) >= FAR_MS) head = new Head()
        return use(head ? { ...content, body: head.watch(content.body) } : content)
      }
      const value = await area.deliver(attachment, range, watched, signal)
      account.delivered(costOf(size))
      return value
    } finally {
      readers--
      const others = (reading.get(uuid) ?? 1) - 1
      if (others > 0) reading.set(uuid, others)
      else reading.delete(uuid)
      const identity = head?.identity()
      if (identity)
        void catalogue.learn({ attachment, range, size, identity, verified }, asks, reads).then(() => fetcher.pump())
      fetcher.pump()
    }
  }

  return {
    name: area.name,
    counts,
    get held() {
      return shelf.bytes
    },

    async create(attachment, body, signal) {
      // A reader may have loaded what was there before.
      await area.create(attachment, body, signal).finally(() => shelf.forget(attachment.uuid))
    },

    read: (attachment, range, signal) => area.read(attachment, range, signal),

    async deliver(attachment, range, use, signal) {
      if (attachment.type !== 'dicom' && attachment.type !== 'dicom-until-pixel-data')
        return await area.deliver(attachment, range, use, signal)
      reads++
      const read = { attachment, range }
      const entry = entryFor(read)
      fetcher.pump()
      const served = entry && (await serve(entry, range, use, signal))
      return served ? served.value : await readItself(read, use, signal)
    },

    async remove(attachment, signal) {
      catalogue.remove(attachment.uuid)
      await area.remove(attachment, signal)
    },

    async run(orthanc, signal) {
      const mine = { orthanc, signal }
      asks = mine
      const sweep = setInterval(() => catalogue.sweep(), SWEEP_MS).unref()
      await new Promise<void>(resolve => {
        if (signal.aborted) resolve()
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
      clearInterval(sweep)
      if (asks !== mine) return
      asks = undefined
      catalogue.sweep(true)
    },
  }
}

/** What `work` resolves to. The work goes on for others when this reader gives up. */
function unlessGivenUp<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(Fault.ofAbort(signal))
    if (signal.aborted) return giveUp()
    signal.addEventListener('abort', giveUp, { once: true })
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', giveUp))
  })
}
