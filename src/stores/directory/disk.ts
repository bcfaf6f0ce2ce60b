/**
 * File operations that may hang. Each takes a thread of libuv's pool until the operating system ends it, and nobody can
 * end it sooner; the same threads look up the names of servers. So fewer run at once than there are threads, one that
 * hangs is given up but counted until it really ends, and when all that may run hang, the next ones fail at once. Who
 * waits for one holds others up: Orthanc locks its database for as long as a removal takes. So none is tried twice.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { Fault } from '../../fault.ts'

export interface DiskLimits {
  /** Operations at once. */
  readonly threads?: number
  /** How long one may take. */
  readonly timeoutMs?: number
  /** The same for those that take long on a healthy disk: a sync after gigabytes, the listing of a million names. */
  readonly longTimeoutMs?: number
}

/** Two folders may be in use, the object store's and Orthanc's own: both together leave threads for names. */
function threadsOfOne(): number {
  const pool = Number(process.env['UV_THREADPOOL_SIZE']) || 4
  return Math.min(32, Math.max(1, Math.floor((pool - 2) / 2)))
}

interface Waiting {
  start(): void
  giveUp(): void
}

interface Running {
  since: number
  until: number
  hangs: boolean
  giveUp(): void
}

/** While one hangs, the next ones have this part of their time: most probably they hang, too. */
const SUSPICIOUS = 1 / 6
/** Older than this when it is looked at, an operation may hang. */
const SLOW_MS = 1_000
const slow = new Set<Running>()
// A process that ends waits for its threads, so it waits for ever for one that hangs. Only this signal ends the wait.
process.on('exit', () => {
  if (slow.size > 0) process.kill(process.pid, 'SIGKILL')
})

export class Disk {
  readonly #folder: string
  readonly #threads: number
  readonly #timeoutMs: number
  readonly longTimeoutMs: number
  readonly #waiting: Waiting[] = []
  readonly #running = new Set<Running>()
  /** Of those that run: given up. */
  #hanging = 0
  /** Looks for operations that hang, as long as any run: a timer for each would cost more than most of them do. */
  #watch: NodeJS.Timeout | undefined
  readonly #interval: number
  #looked = 0

  constructor(
    folder: string,
    { threads = threadsOfOne(), timeoutMs = 30_000, longTimeoutMs = 300_000 }: DiskLimits = {},
  ) {
    this.#folder = folder
    this.#threads = threads
    this.#timeoutMs = timeoutMs
    this.longTimeoutMs = longTimeoutMs
    this.#interval = Math.min(SLOW_MS, timeoutMs)
  }

  /** `late`: what to do with a result that comes when nobody waits for it any more. */
  run<T>(work: () => Promise<T>, timeoutMs = this.#timeoutMs, late?: (result: T) => void): Promise<T> {
    if (this.#running.size < this.#threads) return this.#start(work, timeoutMs, late)
    if (this.#hanging === this.#threads) return Promise.reject(this.#silence())
    return new Promise((resolve, reject) => {
      this.#waiting.push({
        start: () => resolve(this.#start(work, timeoutMs, late)),
        giveUp: () => reject(this.#silence()),
      })
    })
  }

  /** Whether an operation was given up that has not ended. */
  get hangs(): boolean {
    return this.#hanging > 0
  }

  async open(path: string, flags: string | number, mode?: number): Promise<DiskFile> {
    const handle = await this.run(() => open(path, flags, mode), undefined, closeUnheard)
    return new DiskFile(this, handle)
  }

  #start<T>(work: () => Promise<T>, timeoutMs: number, late?: (result: T) => void): Promise<T> {
    if (!this.#watch) {
      this.#looked = performance.now()
      this.#watch = setInterval(() => this.#look(), this.#interval).unref()
    }
    return new Promise((resolve, reject) => {
      const since = performance.now()
      const running: Running = {
        since,
        until: since + (this.hangs ? timeoutMs * SUSPICIOUS : timeoutMs),
        hangs: false,
        giveUp: () => reject(this.#silence()),
      }
      this.#running.add(running)
      work().then(
        result => {
          this.#ended(running)
          if (running.hangs) late?.(result)
          else resolve(result)
        },
        error => {
          this.#ended(running)
          reject(error)
        },
      )
    })
  }

  #ended(running: Running): void {
    this.#running.delete(running)
    slow.delete(running)
    if (running.hangs) this.#hanging--
    this.#waiting.shift()?.start()
  }

  #look(): void {
    if (this.#running.size === 0) {
      clearInterval(this.#watch)
      this.#watch = undefined
    }
    const now = performance.now()
    // This process was stopped, or busy. The disk may have answered long ago.
    const late = now - this.#looked - this.#interval
    this.#looked = now
    for (const running of this.#running) {
      if (late > SLOW_MS) {
        running.since += late
        running.until += late
      }
      if (now - running.since >= SLOW_MS || now >= running.until) slow.add(running)
      if (running.hangs || now < running.until) continue
      running.hangs = true
      this.#hanging++
      running.giveUp()
    }
    if (this.#hanging === this.#threads) for (const { giveUp } of this.#waiting.splice(0)) giveUp()
  }

  #silence(): Fault {
    return new Fault('Unavailable', `the disk of ${this.#folder} does not answer`, {
      retryable: false,
      remedy: 'Look at the disk, or at the network mount and its server.',
    })
  }
}

/** An open file. One that hung is closed behind our back as soon as it answers. */
export class DiskFile {
  readonly #disk: Disk
  readonly #handle: FileHandle
  #hangs = false

  constructor(disk: Disk, handle: FileHandle) {
    this.#disk = disk
    this.#handle = handle
  }

  async run<T>(work: (handle: FileHandle) => Promise<T>, timeoutMs?: number): Promise<T> {
    try {
      return await this.#disk.run(() => work(this.#handle), timeoutMs)
    } catch (error) {
      if (error instanceof Fault) this.#hangs = true
      throw error
    }
  }

  sync(): Promise<void> {
    return this.run(handle => handle.sync(), this.#disk.longTimeoutMs)
  }

  async close(): Promise<void> {
    if (this.#hangs) closeUnheard(this.#handle)
    else await this.run(handle => handle.close(), this.#disk.longTimeoutMs)
  }
}

function closeUnheard(handle: FileHandle): void {
  handle.close().catch(() => {})
}
