import { setTimeout as sleep } from 'node:timers/promises'
import { Fault, isCode, isErrno } from '../../fault.ts'
import { Disk, type DiskLimits } from '../directory/disk.ts'
import { faultOf } from '../directory/faults.ts'
import type { ProcessIdentity } from '../directory/lease-process.ts'
import { CopyFolder, type CopyFolderOptions } from './copy-folder.ts'
import { StagingMemory } from './copy-writer.ts'
import { type FolderOptions, openFolder } from './folder.ts'
import { BEAT_MS, FolderLock, type Taken } from './lock.ts'

export interface CacheSwitchOptions extends CopyFolderOptions, FolderOptions {
  warn(line: string): void
  readonly limits?: DiskLimits
  // For tests.
  readonly self?: ProcessIdentity
  readonly retryMs?: number
  readonly patienceMs?: number
}

/** All copies under way may wait for the disk with so many bytes together. */
const STAGING_BYTES = 32 * 1024 * 1024
/** A local disk answers sooner. One that hangs delays a reader for so long, once. */
const LIMITS: DiskLimits = { timeoutMs: 2_000, longTimeoutMs: 5_000 }
const TIDY_MS = 60_000
const FIRST_RETRY_MS = 60_000
const LONGEST_RETRY_MS = 30 * 60_000
/** How long a start waits for another engine to end. */
const PATIENCE_MS = 10_000
const LOOK_MS = 100
/** How long a start waits until all files are known. */
const FIND_MS = 200
/** Copies to remove that are remembered while the cache is off. */
const MOST_MISSED = 100_000

/**
 * The folder of a cache while it can be used. Whatever the disk does, it only turns the cache off: with one warning,
 * and until a later try succeeds.
 */
export class CacheSwitch {
  readonly #options: CacheSwitchOptions
  readonly #disk: Disk
  readonly #lock: FolderLock
  readonly #memory = new StagingMemory(STAGING_BYTES)
  #folder: CopyFolder | undefined
  /** Copies to remove when the cache is on again. Undefined: too many, so all. */
  #missed: Set<string> | undefined = new Set()
  #timers: NodeJS.Timeout[] = []
  #retryMs: number
  #saidOff = false
  #starting: Promise<void> | undefined
  #closed = false
  #evictions = 0

  constructor(options: CacheSwitchOptions) {
    this.#options = options
    this.#disk = new Disk(options.path, options.limits ?? LIMITS)
    this.#lock = new FolderLock(this.#disk, options.path, options.self)
    this.#retryMs = options.retryMs ?? FIRST_RETRY_MS
  }

  /** Undefined: the cache is off. */
  get folder(): CopyFolder | undefined {
    return this.#folder
  }

  get evictions(): number {
    return this.#evictions + (this.#folder?.evictions ?? 0)
  }

  /**
   * `BadConfig` for a folder that a cache must not use. In an engine that follows a dead one, nothing stops the start.
   */
  start(isFirst: boolean): Promise<void> {
    this.#starting ??= this.#start(isFirst).finally(() => {
      this.#starting = undefined
    })
    return this.#starting
  }

  async #start(isFirst: boolean): Promise<void> {
    if (this.#folder || this.#closed) return
    this.#stopTimers()
    try {
      await this.#turnOn(isFirst)
    } catch (error) {
      const { path, option } = this.#options
      const fault = faultOf(error, path)
      if (!isFirst || !isCode(fault, 'BadConfig')) return this.#turnOff(fault)
      throw error instanceof Fault ? fault : fault.with({}, `${option} is ${path}: ${fault.message}`)
    }
  }

  /** What is done every minute. */
  async tidy(): Promise<void> {
    if (this.#folder) await tidy(this.#folder)
  }

  /** What the disk said to `folder`. */
  failed(folder: CopyFolder, error: unknown): void {
    if (folder !== this.#folder || isErrno(error, 'EMFILE', 'ENFILE', 'ENOMEM')) return
    this.#turnOff(faultOf(error, this.#options.path))
  }

  /** A copy was written. */
  succeeded(folder: CopyFolder): void {
    if (folder !== this.#folder || !this.#saidOff) return
    this.#saidOff = false
    this.#retryMs = this.#options.retryMs ?? FIRST_RETRY_MS
    this.#options.warn(`the cache in ${this.#options.path} is on again`)
  }

  /** A copy is out of date that could not be removed now. */
  missed(name: string): void {
    if (this.#closed) return
    this.#missed?.add(name)
    if (this.#missed && this.#missed.size > MOST_MISSED) this.#missed = undefined
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#stopTimers()
    const folder = this.#folder
    this.#folder = undefined
    await folder?.close().catch(() => {})
    if (folder) await this.#lock.release().catch(() => {}) // whoever comes next sees that this process has ended
  }

  async #turnOn(isFirst: boolean): Promise<void> {
    const { path, option } = this.#options
    await openFolder(this.#disk, this.#options)
    const taken = await this.#take(isFirst ? (this.#options.patienceMs ?? PATIENCE_MS) : 0)
    if (taken) {
      const code = isFirst && taken.lives ? 'BadConfig' : 'Unavailable'
      throw new Fault(code, `${option} is ${path}, which ${taken.holder} uses`, {
        remedy: 'Each Orthanc needs a folder of its own for its cache.',
        retryAfterMs: BEAT_MS,
      })
    }
    const folder = new CopyFolder(this.#disk, this.#options, this.#memory)
    folder.found.then(
      () => tidy(folder).catch(error => this.failed(folder, error)),
      error => this.failed(folder, error),
    )
    await this.#catchUp(folder)
    // Nothing new is kept before all files are known. Most folders are read so soon that nobody notices it.
    await Promise.race([folder.found, sleep(FIND_MS, undefined, { ref: false })])
    await this.#catchUp(folder)
    if (this.#closed) return await folder.close()
    this.#folder = folder
    this.#every(BEAT_MS, async () => {
      if (await this.#lock.beat()) return
      throw new Fault('Unavailable', 'another process uses its folder', { retryAfterMs: BEAT_MS })
    })
    this.#every(TIDY_MS, () => tidy(folder))
  }

  /** An Orthanc that was killed a moment ago has an engine that is about to end. */
  async #take(patienceMs: number): Promise<Taken | undefined> {
    const end = performance.now() + patienceMs
    for (;;) {
      const taken = await this.#lock.take()
      if (!taken?.lives || performance.now() >= end) return taken
      await sleep(LOOK_MS)
    }
  }

  /** Removes copies of what was written or removed while the cache was off. */
  async #catchUp(folder: CopyFolder): Promise<void> {
    while (this.#missed === undefined || this.#missed.size > 0) {
      const missed = this.#missed
      this.#missed = new Set()
      try {
        if (!missed) await folder.removeAll()
        else for (const name of missed) await folder.remove(name, true)
      } catch (error) {
        this.#missed = undefined
        throw error
      }
    }
  }

  #turnOff(fault: Fault): void {
    this.#stopTimers()
    const folder = this.#folder
    this.#evictions += folder?.evictions ?? 0
    this.#folder = undefined
    folder?.abandon()
    if (!this.#saidOff)
      this.#options.warn(
        `the cache in ${this.#options.path} is off, and all files are read from the store: ${fault.describe()}`,
      )
    this.#saidOff = true
    if (this.#closed) return
    this.#timers.push(setTimeout(() => this.start(false), fault.retryAfterMs ?? this.#retryMs).unref())
    if (!fault.retryAfterMs) this.#retryMs = Math.min(2 * this.#retryMs, LONGEST_RETRY_MS)
  }

  /** One at a time, also when the disk is slow. */
  #every(ms: number, work: () => Promise<void>): void {
    const folder = this.#folder
    let busy = false
    const timer = setInterval(async () => {
      if (busy) return
      busy = true
      await work().catch(error => folder && this.failed(folder, error))
      busy = false
    }, ms)
    this.#timers.push(timer.unref())
  }

  #stopTimers(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers = []
  }
}

async function tidy(folder: CopyFolder): Promise<void> {
  await folder.writeTimes()
  await folder.expire()
}
