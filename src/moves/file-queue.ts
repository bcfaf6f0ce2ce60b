import type { KnownFile, Visit } from './walk.ts'

export interface QueuedFile<Outcome> {
  readonly file: KnownFile
  outcome: Outcome | undefined
}

/** A resource on its way: its files, and the cursor to note when they are done. */
export interface QueuedResource<Outcome> {
  readonly visit: Visit
  readonly files: readonly QueuedFile<Outcome>[]
}

export interface FileQueueOptions<Outcome> {
  /** Files at a time. */
  readonly concurrency: number
  /** Begins the walk, from where the job is. */
  walk(): AsyncGenerator<Visit, undefined>
  /** What is done with one file. Never rejects. Undefined: nothing is known of it. */
  work(file: KnownFile, signal: AbortSignal): Promise<Outcome | undefined>
}

/** Behind one huge file, so many resources may be done but not yet counted. */
const MAX_QUEUE = 10_000

/**
 * Walks ahead of the work by some files. The work ends in any order, but is counted in the order of the walk. So cursor
 * and counts fit together in every serialized state. A job that goes on from one repeats at most the files under way.
 */
export class FileQueue<Outcome> {
  readonly #options: FileQueueOptions<Outcome>
  #walker: AsyncGenerator<Visit, undefined> | undefined
  /** Whether the walk has come to its end. */
  #walked = false
  /** In the order of the walk: what is not counted yet. */
  #queue: QueuedResource<Outcome>[] = []
  /** Files of the queue whose work has not begun. */
  #waiting: QueuedFile<Outcome>[] = []
  readonly #running = new Set<Promise<void>>()
  /** Ends the work under way. */
  #abort = new AbortController()
  #endedSinceLook = false
  /** Ends the waiting of a step. */
  #wake = () => {}

  constructor(options: FileQueueOptions<Outcome>) {
    this.#options = options
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  get isDone(): boolean {
    return this.#walked && this.#queue.length === 0
  }

  get mayWalk(): boolean {
    return !this.#walked && this.#waiting.length < 4 * this.#options.concurrency && this.#queue.length < MAX_QUEUE
  }

  async walkOn(): Promise<void> {
    this.#walker ??= this.#options.walk()
    const { value: visit, done } = await this.#walker.next()
    this.#walked = done === true
    if (!visit) return
    const files = visit.files.map((file): QueuedFile<Outcome> => ({ file, outcome: undefined }))
    this.#queue.push({ visit, files })
    this.#waiting.push(...files)
    this.#startWork()
  }

  /** Counts the resources at the head that are done, one after the other. */
  async commit(count: (resource: QueuedResource<Outcome>) => Promise<void> | void): Promise<void> {
    this.#endedSinceLook = false
    const isDone = ({ files }: QueuedResource<Outcome>) => files.every(({ outcome }) => outcome)
    for (let head = this.#queue[0]; head && isDone(head); head = this.#queue[0]) {
      await count(head)
      this.#queue.shift()
    }
  }

  /** Until some work has ended since the last commit(), or the time is over. */
  wait(ms: number): Promise<void> {
    if (this.#endedSinceLook) return Promise.resolve()
    return new Promise(resolve => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** Forgets what is under way. The cursor knows where to go on. */
  async end(reason: Error): Promise<void> {
    this.#abort.abort(reason)
    this.#waiting = []
    await Promise.all(this.#running)
    this.#abort = new AbortController()
    this.#queue = []
    this.#walker = undefined
    this.#walked = false
    this.#endedSinceLook = false
  }

  #startWork(): void {
    while (this.#running.size < this.#options.concurrency) {
      const queued = this.#waiting.shift()
      if (!queued) return
      const done = this.#options.work(queued.file, this.#abort.signal).then(outcome => {
        queued.outcome = outcome
        this.#running.delete(done)
        this.#endedSinceLook = true
        this.#startWork()
        this.#wake()
      })
      this.#running.add(done)
    }
  }
}
