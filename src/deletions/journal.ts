/**
 * What is to be removed, on disk. The journal is a row of files to which lines are only ever added (record.ts). Lines
 * of many removals are written together: who comes while a write is under way waits for the next one. Each write ends
 * with a look at the lock: what was written before that look is found by whoever takes the journal over.
 *
 * Files are removed oldest first, each when all its entries are done, and the folder is synced in between. So no entry
 * outlives the line that says that it is done. Replaying a journal twice is harmless: its objects are gone.
 */
import { Fault } from '../fault.ts'
import { faultOf } from '../stores/directory/faults.ts'
import type { Entries, Segment } from './entries.ts'
import type { Found } from './folder.ts'
import type { FolderLock } from './lock.ts'
import { lineOf } from './record.ts'
import { Segments, type SegmentsOptions } from './segments.ts'

/** What the files may have beyond twice their live entries. Above it, the live entries of the oldest one move on. */
const SLACK_BYTES = 64 * 1024 * 1024
const ENTRY_BYTES = 200
/** After a write, the sync begins so much later, for all writes meanwhile. The promise is 50 ms. */
const SYNC_MS = 20

interface Waiting {
  readonly line: string
  landed(segment: Segment): void
  /** `clean`: no trace of the line is on disk. */
  failed(fault: Fault, clean: boolean): void
}

export interface JournalOptions extends SegmentsOptions {
  readonly lock: Pick<FolderLock, 'holds'>
  readonly found: Found
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
  readonly #segments: Segments
  readonly #waiting: Waiting[] = []
  /** By store and key: what is done, as long as no line on disk is certain to say so. */
  readonly #unmarked = new Map<string, Mark>()
  #isWriting = false
  #writing: Promise<void> = Promise.resolve()
  #syncing: Promise<void> | undefined
  #syncTimer: NodeJS.Timeout | undefined
  /** Counts writes, so that a sync knows what it made safe. */
  #written = 0
  #synced = 0
  /** Of those: written, but not yet safe from a power cut. */
  readonly #marksWritten = new Map<string, Mark>()
  #warned = false
  #over = false
  #lost = false

  constructor(options: JournalOptions) {
    this.#options = options
    this.entries = options.found.entries
    this.#segments = new Segments(options, options.found.segments)
  }

  /** Resolves when the removal is written. Rejects when it cannot be: then nothing will remove the object later. */
  add(store: string, key: string, at: number): Promise<void> {
    const name = nameOf({ store, key })
    const mark = this.#unmarked.get(name)
    this.#unmarked.delete(name)
    return this.#append(
      lineOf({ kind: 'removal', store, key, at }),
      segment => this.entries.set(store, { key, at, segment }),
      clean => {
        if (mark || !clean) this.#unmarked.set(name, { store, key })
      },
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
    await this.#segments.leave()
    if (this.#lost || this.entries.size > 0 || this.#unmarked.size > 0) return
    while (this.#segments.all.length > 0) await this.#segments.giveBack()
  }

  #append(line: string, set: (segment: Segment) => void, unset = (_clean: boolean) => {}): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(this.#unable())
      this.#waiting.push({
        line,
        landed(segment) {
          set(segment)
          resolve()
        },
        failed(fault, clean) {
          unset(clean)
          reject(fault)
        },
      })
      this.#kick()
    })
  }

  #kick(): void {
    if (this.#isWriting) return
    this.#isWriting = true
    this.#writing = this.#write()
  }

  /** Ends in the very step that finds nothing to write: what comes right after it begins another pass. */
  async #write(): Promise<void> {
    while (!this.#over && (this.#waiting.length > 0 || this.#unmarked.size > 0)) {
      const waiting = this.#waiting.splice(0)
      const marks = new Map(this.#unmarked)
      // Marks first: a removal of the same object among the lines that wait is a new one.
      const text =
        [...marks.values()].map(mark => lineOf({ kind: 'done', ...mark })).join('') +
        waiting.map(({ line }) => line).join('')
      let written = false
      try {
        const segment = await this.#put(text)
        written = true
        if (!(await this.#options.lock.holds())) {
          this.#over = this.#lost = true
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
        await this.#shrink().catch(async error => {
          this.#report(faultOf(error, this.#options.folder))
          await this.#segments.mend(error)
        })
      } catch (error) {
        const fault = faultOf(error, this.#options.folder)
        this.#report(fault)
        const clean = (await this.#segments.mend(error)) && !written
        for (const { failed } of waiting) failed(fault, clean)
        // Marks alone are written with the next removal.
        if (waiting.length === 0 && this.#waiting.length === 0) break
      }
    }
    this.#isWriting = false
    for (const { failed } of this.#over ? this.#waiting.splice(0) : []) failed(this.#unable(), true)
  }

  async #put(text: string): Promise<Segment> {
    if (this.#segments.isFull) {
      await this.#syncNow()
      await this.#segments.leave()
    }
    return await this.#segments.put(text)
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
    const written = this.#written
    if (written === this.#synced) return
    const marks = [...this.#marksWritten]
    try {
      await this.#segments.sync()
      this.#synced = written
      for (const [name, mark] of marks) if (this.#marksWritten.get(name) === mark) this.#marksWritten.delete(name)
    } catch (error) {
      // What the kernel could not write, it has forgotten: another sync of this file would prove nothing.
      await this.#segments.leave()
      for (const [name, mark] of marks) if (!this.#unmarked.has(name)) this.#unmarked.set(name, mark)
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
    for (let [oldest, next] = this.#segments.all; oldest && next; [oldest, next] = this.#segments.all) {
      if (oldest.live > 0) {
        if (this.#segments.bytes <= slackBytes + 2 * ENTRY_BYTES * this.entries.size) return
        await this.#carry(oldest)
      }
      await this.#segments.giveBack()
    }
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
