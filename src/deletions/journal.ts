/**
 * What is to be removed, on disk. The journal is a row of files to which lines are only ever added (record.ts). Lines
 * of many removals are written together: who comes while a write is under way waits for the next one. Each write ends
 * with a look at the lock: what was written before that look is found by whoever takes the journal over.
 *
 * Files are removed oldest first, each when all its entries are done, and the folder is synced in between. So no entry
 * outlives the line that says that it is done. Replaying a journal twice is harmless: its objects are gone.
 */
import { rename, unlink } from 'node:fs/promises'
import { Fault } from '../fault.ts'
import type { Disk, DiskFile } from '../stores/directory/disk.ts'
import { faultOf } from '../stores/directory/faults.ts'
import { syncOnce } from '../stores/directory/sync.ts'
import type { Entries, Segment } from './entries.ts'
import { damagedFile, type Found, segmentFile } from './folder.ts'
import type { FolderLock } from './lock.ts'
import { lineOf } from './record.ts'

/** A file ends after so many bytes. Small ones are given back sooner. */
const SEGMENT_BYTES = 4 * 1024 * 1024
/** What the files may have beyond twice their live entries. Above it, the live entries of the oldest one move on. */
const SLACK_BYTES = 64 * 1024 * 1024
const ENTRY_BYTES = 200
/** After a write, the sync begins so much later, for all writes meanwhile. The promise is 50 ms. */
const SYNC_MS = 20

interface Waiting {
  readonly line: string
  landed(segment: Segment): void
  failed(fault: Fault): void
}

export interface JournalOptions {
  readonly disk: Disk
  readonly folder: string
  readonly lock: Pick<FolderLock, 'holds'>
  readonly found: Found
  readonly segmentBytes?: number
  readonly slackBytes?: number
  /** Another process has taken the journal: this one must not use it any more. */
  lost(): void
  warn(line: string): void
}

interface Mark {
  readonly store: string
  readonly key: string
}

export class Journal {
  readonly entries: Entries
  readonly #options: JournalOptions
  readonly #segments: Segment[]
  #file: DiskFile | undefined
  readonly #waiting: Waiting[] = []
  /** By store and key: what is done, as long as no line on disk is certain to say so. */
  readonly #unmarked = new Map<string, Mark>()
  #writing: Promise<void> | undefined
  #syncing: Promise<void> | undefined
  #syncTimer: NodeJS.Timeout | undefined
  /** Counts writes, so that a sync knows what it made safe. */
  #written = 0
  #synced = 0
  /** Of those: written, but not yet safe from a power cut. */
  readonly #marksWritten = new Map<string, Mark>()
  #warned = false
  #over = false

  constructor(options: JournalOptions) {
    this.#options = options
    this.entries = options.found.entries
    this.#segments = [...options.found.segments]
  }

  /** Resolves when the removal is written. Rejects when it cannot be: then nothing will remove the object later. */
  add(store: string, key: string, at: number): Promise<void> {
    this.#unmarked.delete(nameOf({ store, key }))
    return this.#append(lineOf({ kind: 'removal', store, key, at }), segment =>
      this.entries.set(store, { key, at, segment }),
    )
  }

  /** The removal becomes a finding. */
  giveUp(store: string, key: string, at: number, words: string): Promise<void> {
    return this.#append(lineOf({ kind: 'finding', store, key, at, words }), segment =>
      this.entries.set(store, { key, at, segment, words }),
    )
  }

  /** The removal is done. If no line can say so, it is repeated after a restart, which is harmless. */
  done(store: string, key: string): void {
    if (!this.entries.delete(store, key)) return
    this.#unmarked.set(nameOf({ store, key }), { store, key })
    this.#kick()
  }

  /** Resolves when no crash can bring back an entry that is done. For an object that is written again. */
  async safe(store: string, key: string): Promise<void> {
    const name = nameOf({ store, key })
    if (!this.#unmarked.has(name) && !this.#marksWritten.has(name)) return
    await this.flush()
    if (this.#unmarked.has(name) || this.#marksWritten.has(name)) throw this.#unable()
  }

  /** Writes and syncs everything. Never rejects: what could not be written was reported. */
  async flush(): Promise<void> {
    for (let tries = 0; tries < 2; tries++) {
      this.#kick()
      await this.#writing
      await this.#syncNow()
      if (this.#unmarked.size === 0 && this.#written === this.#synced) return
    }
  }

  async close(): Promise<void> {
    await this.flush()
    this.#over = true
    clearTimeout(this.#syncTimer)
    await this.#leave()
    if (this.entries.size > 0 || this.#unmarked.size > 0) return
    for (const segment of [...this.#segments]) await this.#giveBack(segment)
  }

  #append(line: string, set: (segment: Segment) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(this.#unable())
      this.#waiting.push({
        line,
        landed(segment) {
          set(segment)
          resolve()
        },
        failed: reject,
      })
      this.#kick()
    })
  }

  #kick(): void {
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined
    })
  }

  async #write(): Promise<void> {
    while (!this.#over && (this.#waiting.length > 0 || this.#unmarked.size > 0)) {
      const waiting = this.#waiting.splice(0)
      const marks = new Map(this.#unmarked)
      // Marks first: a removal of the same object among the lines that wait is a new one.
      const text =
        [...marks.values()].map(mark => lineOf({ kind: 'done', ...mark })).join('') +
        waiting.map(({ line }) => line).join('')
      try {
        const segment = await this.#put(text)
        if (!(await this.#options.lock.holds())) {
          this.#over = true
          this.#options.lost()
          throw this.#unable()
        }
        for (const [name, mark] of marks) {
          if (this.#unmarked.get(name) === mark) this.#unmarked.delete(name)
          this.#marksWritten.set(name, mark)
        }
        this.#written++
        for (const { landed } of waiting) landed(segment)
        this.#warned = false
        this.#syncTimer ??= setTimeout(() => void this.#syncNow(), SYNC_MS)
        await this.#shrink().catch(error => this.#report(faultOf(error, this.#options.folder)))
      } catch (error) {
        const fault = faultOf(error, this.#options.folder)
        this.#report(fault)
        await this.#mend(error)
        for (const { failed } of waiting) failed(fault)
        if (waiting.length === 0) return // marks alone are written with the next removal
      }
    }
    for (const { failed } of this.#over ? this.#waiting.splice(0) : []) failed(this.#unable())
  }

  async #put(text: string): Promise<Segment> {
    const { disk, folder, segmentBytes = SEGMENT_BYTES } = this.#options
    const last = this.#segments.at(-1)
    if (this.#file && last && last.bytes >= segmentBytes) {
      await this.#leave()
    }
    if (!this.#file) {
      const number = (last?.number ?? 0) + 1
      this.#file = await disk.open(segmentFile(folder, number), 'ax', 0o600)
      this.#segments.push({ number, live: 0, bytes: 0, damaged: false })
      await syncOnce(disk, folder)
    }
    const segment = this.#segments.at(-1) as Segment
    await this.#file.run(file => file.appendFile(text))
    segment.bytes += Buffer.byteLength(text)
    return segment
  }

  /** After a failed write, the end of the file may hold half a line, which is taken away, so that no file is lost. */
  async #mend(error: unknown): Promise<void> {
    const bytes = this.#segments.at(-1)?.bytes ?? 0
    const whole =
      !(error instanceof Fault) &&
      (await this.#file
        ?.run(file => file.truncate(bytes))
        .then(
          () => true,
          () => false,
        ))
    if (!whole) await this.#leave() // a disk that hangs may still write it
  }

  /** No line is added to this file any more. */
  async #leave(): Promise<void> {
    await this.#syncNow()
    const file = this.#file
    this.#file = undefined
    await file?.close().catch(() => {})
  }

  async #syncNow(): Promise<void> {
    clearTimeout(this.#syncTimer)
    this.#syncTimer = undefined
    await this.#syncing
    this.#syncing ??= this.#sync().finally(() => {
      this.#syncing = undefined
    })
    await this.#syncing
  }

  async #sync(): Promise<void> {
    const file = this.#file
    const written = this.#written
    if (!file || written === this.#synced) return
    const marks = [...this.#marksWritten]
    try {
      await file.sync()
      this.#synced = written
      for (const [name, mark] of marks) if (this.#marksWritten.get(name) === mark) this.#marksWritten.delete(name)
    } catch (error) {
      this.#report(faultOf(error, this.#options.folder))
    }
  }

  #report(fault: Fault): void {
    if (this.#warned || this.#over) return
    this.#warned = true
    this.#options.warn(
      `the journal of removals cannot be written. Until it can, Orthanc waits for each removal: ${fault.describe()}`,
    )
  }

  #unable(): Fault {
    return new Fault('Unavailable', 'the journal of removals cannot be written', { retryable: false })
  }

  /** Gives back files that hold nothing any more, oldest first, and those that hold little. */
  async #shrink(): Promise<void> {
    const { slackBytes = SLACK_BYTES } = this.#options
    for (let [oldest] = this.#segments; oldest && this.#segments.length > 1; [oldest] = this.#segments) {
      if (oldest.live > 0) {
        const bytes = this.#segments.reduce((sum, segment) => sum + segment.bytes, 0)
        if (bytes <= slackBytes + 2 * ENTRY_BYTES * this.entries.size) return
        await this.#carry(oldest)
      }
      await this.#giveBack(oldest)
    }
  }

  async #giveBack({ number, damaged }: Segment): Promise<void> {
    const { disk, folder } = this.#options
    const file = segmentFile(folder, number)
    await disk.run(() => (damaged ? rename(file, damagedFile(folder, number)) : unlink(file)))
    this.#segments.shift()
    await syncOnce(disk, folder)
  }

  /** Writes the live entries of the oldest file again, at the end. */
  async #carry(oldest: Segment): Promise<void> {
    const live = [...this.entries.in(oldest)]
    const lines = live.map(([store, { key, at, words }]) =>
      lineOf(words === undefined ? { kind: 'removal', store, key, at } : { kind: 'finding', store, key, at, words }),
    )
    const segment = await this.#put(lines.join(''))
    this.#written++
    await this.#syncNow()
    if (this.#synced !== this.#written) throw this.#unable()
    for (const [store, entry] of live) {
      if (!this.entries.has(store, entry)) continue // it is done since
      entry.segment = segment
      segment.live++
      oldest.live--
    }
  }
}

const nameOf = ({ store, key }: Mark) => `${store}\n${key}`
