/** The files of the journal: lines are added to the last one, and the oldest is given back. */
import { rename, stat, unlink } from 'node:fs/promises'
import { Fault } from '../fault.ts'
import type { Disk, DiskFile } from '../stores/directory/disk.ts'
import { syncOnce } from '../stores/directory/sync.ts'
import type { Segment } from './entries.ts'
import { damagedFile, segmentFile } from './folder.ts'

export interface SegmentsOptions {
  readonly disk: Disk
  readonly folder: string
  /** A file ends after so many bytes. Small ones are given back sooner. */
  readonly segmentBytes?: number | undefined
}

const SEGMENT_BYTES = 4 * 1024 * 1024

export class Segments {
  readonly #options: SegmentsOptions
  readonly #all: Segment[]
  /** The last one, if lines can be added to it. */
  #file: DiskFile | undefined

  constructor(options: SegmentsOptions, found: readonly Segment[]) {
    this.#options = options
    this.#all = [...found]
  }

  /** Ascending. */
  get all(): readonly Segment[] {
    return this.#all
  }

  get bytes(): number {
    return this.#all.reduce((sum, segment) => sum + segment.bytes, 0)
  }

  /** Whether the last file is full: then it is left before the next line. */
  get isFull(): boolean {
    return this.#file !== undefined && (this.#all.at(-1)?.bytes ?? 0) >= (this.#options.segmentBytes ?? SEGMENT_BYTES)
  }

  async put(text: string): Promise<Segment> {
    this.#file ??= await this.#begin()
    const segment = this.#all.at(-1) as Segment
    await this.#file.run(file => file.appendFile(text))
    segment.bytes += Buffer.byteLength(text)
    return segment
  }

  async #begin(): Promise<DiskFile> {
    const { disk, folder } = this.#options
    const number = (this.#all.at(-1)?.number ?? 0) + 1
    const file = await disk.open(segmentFile(folder, number), 'ax', 0o600)
    this.#all.push({ number, live: 0, bytes: 0, damaged: false })
    this.#file = file
    // The command line may be run by root. The engine must be able to read what it leaves.
    if (process.geteuid?.() === 0) {
      const { uid, gid } = await disk.run(() => stat(folder))
      await file.run(handle => handle.chown(uid, gid))
    }
    await syncOnce(disk, folder)
    return file
  }

  /** After a failed write: takes away what it may have written. False: that cannot be done, and the file is left. */
  async mend(error: unknown): Promise<boolean> {
    const file = this.#file
    if (!file) return true
    const bytes = this.#all.at(-1)?.bytes ?? 0
    const truncated = () =>
      file
        .run(handle => handle.truncate(bytes))
        .then(
          () => true,
          () => false,
        )
    // A disk that hung, which is a Fault, may still write it.
    if (!(error instanceof Fault) && (await truncated())) return true
    await this.leave()
    return false
  }

  /** No line is added to the last file any more. */
  async leave(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close().catch(() => {})
  }

  /** Rejects when the last file was left, after a failure: nobody knows whether its lines are safe. */
  async sync(): Promise<void> {
    if (!this.#file) throw new Error('the file was closed before it was synced')
    await this.#file.sync()
  }

  /** Removes the oldest file; one that is damaged stays, for people, under another name. */
  async giveBack(): Promise<void> {
    const { disk, folder } = this.#options
    const [oldest] = this.#all
    if (!oldest) return
    const file = segmentFile(folder, oldest.number)
    await disk.run(() => (oldest.damaged ? rename(file, damagedFile(folder, oldest.number)) : unlink(file)))
    this.#all.shift()
    await syncOnce(disk, folder)
  }
}
