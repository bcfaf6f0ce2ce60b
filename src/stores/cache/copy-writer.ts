import { rename, unlink } from 'node:fs/promises'
import type { Disk, DiskFile } from '../directory/disk.ts'
import { headBytes, SliceSums } from './copy-format.ts'

/** What is written at once. Most copies take one writing. */
const STAGE_BYTES = 1024 * 1024
/** Of one copy that waits for the disk. */
const MOST_WAITING = 4 * STAGE_BYTES

/** Memory of all copies under way. Who gets none gives its copy up. */
export class StagingMemory {
  #free: number

  constructor(bytes: number) {
    this.#free = bytes
  }

  take(bytes: number): Buffer | undefined {
    if (bytes > this.#free) return undefined
    this.#free -= bytes
    return Buffer.allocUnsafeSlow(bytes)
  }

  give({ byteLength }: Buffer): void {
    this.#free += byteLength
  }
}

export interface CopyWriterOptions {
  readonly disk: Disk
  readonly memory: StagingMemory
  readonly identity: Buffer
  /** Of the object. */
  readonly size: number
  readonly path: string
  readonly temporary: string
  /** Opens the temporary file, when there is room for all of it. Undefined: there is none. */
  open(): Promise<DiskFile | undefined>
}

/**
 * Writes a copy beside the reader, who never waits for it: the bytes are put aside in memory, and when the disk does
 * not keep up, the copy is given up.
 */
export class CopyWriter {
  readonly #options: CopyWriterOptions
  readonly #sums: SliceSums
  readonly #head: number
  /** Of the file. */
  readonly bytes: number
  #stage: Buffer | undefined
  /** Where the next byte goes in the stage, and where the stage begins in the file. */
  #filled: number
  #stagedTo = 0
  readonly #queue: Buffer[] = []
  #waiting = 0
  #writtenTo = 0
  #file: DiskFile | undefined
  #pump: Promise<void> | undefined
  #givenUp = false
  #failure: unknown

  constructor(options: CopyWriterOptions) {
    this.#options = options
    this.#sums = new SliceSums(options.identity)
    this.#head = headBytes(options.identity, options.size)
    this.bytes = this.#head + options.size
    this.#filled = this.#head
    this.#stage = this.#newStage()
    // The head comes last. Until then, nothing that was in this memory before may get on the disk.
    if (this.bytes > STAGE_BYTES) this.#stage?.fill(0, 0, this.#head)
  }

  /** The chunk may change afterwards. */
  write(chunk: Uint8Array): void {
    if (this.#givenUp) return
    this.#sums.add(chunk)
    for (let from = 0; from < chunk.byteLength && !this.#givenUp; ) {
      const stage = this.#stage
      if (!stage || this.#filled === stage.byteLength) {
        this.giveUp() // more bytes than announced
        return
      }
      const piece = chunk.subarray(from, from + stage.byteLength - this.#filled)
      stage.set(piece, this.#filled)
      from += piece.byteLength
      this.#filled += piece.byteLength
      if (this.#filled === stage.byteLength && this.#stagedTo + this.#filled < this.bytes) this.#passOn(stage)
    }
  }

  giveUp(): void {
    this.#givenUp = true
  }

  get isWanted(): boolean {
    return !this.#givenUp
  }

  /** After the last byte, or after giveUp(). True: the copy is there. Rejects as the disk does. */
  async end(): Promise<boolean> {
    const stage = this.#stage
    if (!stage || this.#stagedTo + this.#filled !== this.bytes) this.giveUp()
    const head = this.#givenUp ? undefined : this.#sums.head(this.#options.identity, this.#options.size)
    const isOne = this.#stagedTo === 0
    if (head && stage) {
      if (isOne) head.copy(stage)
      this.#passOn(stage)
    }
    await this.#written()
    if (head && !isOne && !this.#givenUp) await this.#attempt(() => this.#writeAt(head, 0))
    return await this.#publish()
  }

  async #publish(): Promise<boolean> {
    const { disk, path, temporary, memory } = this.#options
    if (this.#stage) memory.give(this.#stage)
    this.#stage = undefined
    while (this.#queue.length > 0) this.#drop()
    if (this.#writtenTo !== this.bytes) this.giveUp()
    const file = this.#file
    this.#file = undefined
    if (!file) return this.#outcome(false)
    await this.#attempt(() => file.close())
    if (!this.#givenUp) {
      await this.#attempt(() => disk.run(() => rename(temporary, path)))
      if (!this.#failure) return this.#outcome(true)
    }
    await disk.run(() => unlink(temporary)).catch(() => {}) // else the next start removes it
    return this.#outcome(false)
  }

  #outcome(isThere: boolean): boolean {
    if (this.#failure) throw this.#failure
    return isThere
  }

  #newStage(): Buffer | undefined {
    const bytes = Math.min(STAGE_BYTES, this.bytes - this.#stagedTo)
    const stage = this.#waiting > MOST_WAITING ? undefined : this.#options.memory.take(bytes)
    if (!stage) this.giveUp()
    return stage
  }

  #passOn(stage: Buffer): void {
    this.#queue.push(stage)
    this.#waiting += stage.byteLength
    this.#stagedTo += stage.byteLength
    this.#filled = 0
    this.#stage = undefined
    if (!this.#pump) this.#startPump()
    if (this.#stagedTo < this.bytes) this.#stage = this.#newStage()
  }

  #startPump(): void {
    this.#pump = this.#attempt(() => this.#write()).then(() => {
      this.#pump = undefined
      if (this.#queue.length > 0 && !this.#givenUp) this.#startPump()
    })
  }

  async #written(): Promise<void> {
    while (this.#pump !== undefined) await this.#pump
  }

  async #write(): Promise<void> {
    this.#file ??= await this.#options.open()
    if (!this.#file) this.giveUp()
    for (let stage = this.#queue[0]; stage && !this.#givenUp; stage = this.#queue[0]) {
      await this.#writeAt(stage, this.#writtenTo)
      this.#writtenTo += stage.byteLength
      this.#drop()
    }
  }

  #drop(): void {
    const stage = this.#queue.shift()
    if (!stage) return
    this.#waiting -= stage.byteLength
    this.#options.memory.give(stage)
  }

  async #writeAt(bytes: Buffer, position: number): Promise<void> {
    const file = this.#file
    for (let at = 0; file && at < bytes.byteLength; ) {
      const from = at
      const { bytesWritten } = await file.run(handle =>
        handle.write(bytes, from, bytes.byteLength - from, position + from),
      )
      if (bytesWritten === 0) throw new Error('the disk took no byte')
      at += bytesWritten
    }
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#failure ??= error
      this.giveUp()
    }
  }
}
