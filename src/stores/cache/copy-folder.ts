/** The files of a cache in use: `ab/ab12…` for the copy of that name. What the disk says goes to the caller. */
import { constants } from 'node:fs'
import { mkdir, unlink, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { isErrno } from '../../fault.ts'
import type { Disk, DiskFile } from '../directory/disk.ts'
import { ifThere } from '../directory/faults.ts'
import { type Copy, openCopy } from './copy-reader.ts'
import { CopyWriter, type StagingMemory } from './copy-writer.ts'
import { BLOCK_BYTES, blocksOf, FileIndex, MOST_FILES } from './file-index.ts'
import { findFiles } from './find-files.ts'

export interface CopyFolderOptions {
  readonly path: string
  /** Of all files, with those that are being written. */
  readonly maxBytes: number
  /** A copy that was not used for so long goes. */
  readonly maxAgeMs: number
}

/** Above so many, the times of last use are written at once. */
const MOST_TOUCHED = 10_000
/** A head of a larger object would not fit into what is written at once. */
const LARGEST_BYTES = 32 * 1024 ** 3

/** A copy that is being written. */
export interface CopyUnderWay {
  /** The chunk may change afterwards. */
  write(chunk: Uint8Array): void
  /** The copy will not be there. */
  giveUp(): void
  /** After the last byte, or after giveUp(). Resolves when nothing is under way. Rejects as the disk does. */
  end(): Promise<void>
}

let temporaries = 0

export class CopyFolder {
  readonly #disk: Disk
  readonly #options: CopyFolderOptions
  readonly #memory: StagingMemory
  readonly #index = new FileIndex()
  /** Resolves when all files are in the index. */
  readonly found: Promise<void>
  #isFound = false
  #closed = false
  /** Of copies under way. */
  #reserved = 0
  /** Of files that are being removed to make room. */
  #leaving = 0
  #lastEviction: Promise<unknown> = Promise.resolve()
  #expiring: Promise<void> | undefined
  /** Times of last use that are not on the disk yet. */
  #touched = new Map<string, number>()
  evictions = 0

  constructor(disk: Disk, options: CopyFolderOptions, memory: StagingMemory) {
    this.#disk = disk
    this.#options = options
    this.#memory = memory
    this.found = this.#find()
    this.found.catch(() => {}) // whoever needs it gets the error
  }

  get files(): number {
    return this.#index.count
  }

  get bytes(): number {
    return this.#index.bytes + this.#reserved + this.#leaving
  }

  /** Undefined: there is no such copy. Without a look at the disk, once all files are known. */
  async open(name: string, identity: Buffer): Promise<Copy | undefined> {
    const bytes = this.#index.bytesOf(name)
    if (bytes === undefined && this.#isFound) return undefined
    const copy = await openCopy(this.#disk, this.#pathOf(name), bytes, identity)
    if (!copy) this.#index.delete(name)
    return copy
  }

  /** The copy is used now. */
  touch(name: string, copy: Copy): void {
    const now = Date.now()
    if (this.#index.bytesOf(name) === undefined) this.#index.add(name, copy.bytes, now)
    else this.#index.touch(name, now)
    this.#touched.set(name, now)
    if (this.#touched.size > MOST_TOUCHED) void this.writeTimes().catch(() => {})
  }

  /** Undefined: an object of this size is not kept, or how much room there is is not known yet. */
  begin(name: string, identity: Buffer, size: number): CopyUnderWay | undefined {
    if (!this.#isFound || 2 * size > this.#options.maxBytes || size > LARGEST_BYTES) return undefined
    const path = this.#pathOf(name)
    const temporary = join(path, '..', `.${name}.${process.pid.toString(36)}${(temporaries++).toString(36)}.tmp`)
    let reserved = 0
    const writer: CopyWriter = new CopyWriter({
      ...{ disk: this.#disk, memory: this.#memory, identity, size, path, temporary },
      open: async () => {
        const bytes = blocksOf(writer.bytes) * BLOCK_BYTES
        if (!(await this.#reserve(bytes, () => writer.isWanted))) return undefined
        reserved = bytes
        return await this.#create(temporary)
      },
    })
    const end = async (ending: Promise<boolean>) => {
      try {
        if (await ending) this.#index.add(name, writer.bytes, Date.now())
      } finally {
        this.#reserved -= reserved
      }
    }
    return {
      write: chunk => writer.write(chunk),
      giveUp: () => writer.giveUp(),
      end: () => end(writer.end()),
    }
  }

  /** Resolves when there is no such file. `surely`: it may be there although the index does not have it. */
  async remove(name: string, surely = !this.#isFound): Promise<void> {
    const perhaps = surely || this.#index.bytesOf(name) !== undefined
    this.#index.delete(name)
    this.#touched.delete(name)
    if (perhaps) await ifThere(this.#disk.run(() => unlink(this.#pathOf(name))))
  }

  /** Removes what was not used for too long, and what is too much because MaxSize was larger before. */
  expire(): Promise<void> {
    this.#expiring ??= this.#expire().finally(() => {
      this.#expiring = undefined
    })
    return this.#expiring
  }

  async #expire(): Promise<void> {
    await this.found
    const { maxAgeMs, maxBytes } = this.#options
    for (let old = this.#index.oldest(); old; old = this.#index.oldest()) {
      if (this.#closed || (Date.now() - old.used < maxAgeMs && this.bytes <= maxBytes)) return
      await this.#evict(old.name)
    }
  }

  /** So that the order of use outlives this process. */
  async writeTimes(): Promise<void> {
    const touched = this.#touched
    this.#touched = new Map()
    for (const [name, time] of touched)
      await ifThere(this.#disk.run(() => utimes(this.#pathOf(name), time / 1000, time / 1000)))
  }

  async removeAll(): Promise<void> {
    await this.found
    for (let old = this.#index.oldest(); old; old = this.#index.oldest()) await this.remove(old.name)
  }

  /** Ends what it does by itself. */
  abandon(): void {
    this.#closed = true
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.writeTimes()
  }

  async #find(): Promise<void> {
    const { path } = this.#options
    for await (const { name, bytes, time } of findFiles(this.#disk, path, () => this.#closed))
      if (this.#index.count < MOST_FILES) this.#index.addFound(name, bytes, time)
      else await ifThere(this.#disk.run(() => unlink(this.#pathOf(name))))
    this.#index.settle()
    this.#isFound = true
  }

  /** False: there is no room, or the copy is not wanted any more. */
  async #reserve(bytes: number, isWanted: () => boolean): Promise<boolean> {
    const fits = () => this.bytes + bytes <= this.#options.maxBytes && this.#index.count < MOST_FILES
    while (!fits()) {
      if (this.#closed || !isWanted()) return false
      // One file at a time, so that nobody waits long for its turn, and nothing is removed for nothing.
      const done = this.#lastEviction.then(() => fits() || this.#evict(this.#index.oldest()?.name))
      this.#lastEviction = done.catch(() => {})
      if (!(await done)) return false
    }
    this.#reserved += bytes
    return true
  }

  /** False: there is nothing to evict. */
  async #evict(name: string | undefined): Promise<boolean> {
    if (name === undefined) return false
    const bytes = this.#index.bytesOf(name) ?? 0
    this.#leaving += bytes
    try {
      await this.remove(name)
    } finally {
      this.#leaving -= bytes
    }
    this.evictions++
    return true
  }

  async #create(path: string): Promise<DiskFile> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
    return await this.#disk.open(path, flags, 0o600).catch(async error => {
      if (!isErrno(error, 'ENOENT')) throw error
      // Only this folder: if the one above it is gone, nothing is made in its place.
      await this.#disk
        .run(() => mkdir(join(path, '..'), { mode: 0o700 }))
        .catch(failure => {
          if (!isErrno(failure, 'EEXIST')) throw failure
        })
      return await this.#disk.open(path, flags, 0o600)
    })
  }

  #pathOf(name: string): string {
    return join(this.#options.path, name.slice(0, 2), name)
  }
}
