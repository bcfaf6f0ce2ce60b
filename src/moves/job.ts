import type { Attachment } from '../area/area.ts'
import type { HybridArea } from '../area/hybrid.ts'
import { Fault, isCode } from '../fault.ts'
import type { Job, JobKind, Orthanc, StepOutcome } from '../orthanc.ts'
import { begun, jobContent, KEPT_FAILURES, type MoveRequest, type MoveState, restore, serialize } from './state.ts'
import {
  type AskOrthanc,
  askForFile,
  askOf,
  everything,
  type KnownFile,
  levels,
  listed,
  type Visit,
  walk,
} from './walk.ts'

export interface MoveJobOptions {
  readonly area: HybridArea
  /** Files at a time, of each job. */
  readonly concurrency: number
  /** One line for each file that fails. */
  error(line: string): void
  /** How long a step lasts. Between steps, Orthanc reads the progress, and can pause the job. */
  readonly stepMs?: number
}

export interface MoveJobs extends JobKind {
  create(request: MoveRequest): Job
}

/** After so many failures in a row, the store is away. A million time-outs more would say nothing new. */
const GIVE_UP_AFTER = 200
/** Behind one huge file, so many resources may be done but not yet counted. */
const MAX_QUEUE = 10_000

/** The job type `MoveStorage`. */
export function moveJobs(options: MoveJobOptions): MoveJobs {
  return {
    type: 'MoveStorage',
    create: request => new MoveJob(begun(request), options),
    restore: state => new MoveJob(restore(state), options),
  }
}

/** What became of one file. */
type FileOutcome =
  | { readonly kind: 'moved' | 'there' | 'counted'; apply(state: MoveState): void }
  | { readonly kind: 'failed'; readonly fault: Fault }

interface QueuedFile {
  readonly visit: Visit
  readonly file: KnownFile
  outcome: FileOutcome | undefined
}

/** A resource on its way: its files, and the cursor to note when they are done. */
interface QueuedResource {
  readonly visit: Visit
  readonly files: readonly QueuedFile[]
}

/**
 * Walks ahead of the moves by some files. Moves end in any order, but are counted in the order of the walk. So cursor
 * and counts fit together in every serialized state. A job that goes on from one repeats at most the files under way,
 * and finds them where they belong.
 */
class MoveJob implements Job {
  readonly #options: MoveJobOptions
  #state: MoveState
  /** Of the step under way. */
  #ask: AskOrthanc = () => Promise.reject(new Fault('Internal', 'no step is under way'))
  #walker: AsyncGenerator<Visit, undefined> | undefined
  /** Whether the walk has come to its end. */
  #walked = false
  /** In the order of the walk: what is not counted yet. */
  #queue: QueuedResource[] = []
  /** Files of the queue whose move has not begun. */
  #waiting: QueuedFile[] = []
  readonly #running = new Set<Promise<void>>()
  /** Ends the moves under way. */
  #abort = new AbortController()
  #endedSinceCommit = false
  /** Ends the waiting of a step. */
  #wake = () => {}
  #failuresInARow = 0

  constructor(state: MoveState, options: MoveJobOptions) {
    this.#state = state
    this.#options = options
  }

  content = () => jobContent(this.#state)
  progress = () => this.#state.progress
  serialize = () => serialize(this.#state)

  async step(orthanc: Orthanc, signal: AbortSignal): Promise<StepOutcome> {
    this.#ask = askOf(orthanc, signal)
    try {
      return await this.#step()
    } catch (reason) {
      await this.#commit().catch(() => {})
      await this.stop() // a failed question broke the walk; the next step begins it again at the cursor
      throw reason
    }
  }

  /** Forgets what is under way. The cursor knows where to go on. */
  async stop(): Promise<void> {
    this.#abort.abort(new Fault('Canceled', 'the job stops'))
    this.#waiting = []
    await Promise.all(this.#running)
    this.#abort = new AbortController()
    this.#queue = []
    this.#walker = undefined
    this.#walked = false
  }

  reset(): void {
    this.#state = begun(this.#state.request)
  }

  async #step(): Promise<StepOutcome> {
    const { concurrency, error, stepMs = 1000 } = this.#options
    const until = performance.now() + stepMs
    for (;;) {
      await this.#commit()
      if (this.#walked && this.#queue.length === 0) {
        this.#state.progress = 1
        return this.#state.results.Failed === 0 ? 'success' : 'failure'
      }
      if (this.#failuresInARow >= GIVE_UP_AFTER) {
        error(
          `the last ${GIVE_UP_AFTER} files could not be moved: the job gives up. Resubmit it when the cause is removed`,
        )
        return 'failure'
      }
      const left = until - performance.now()
      if (left <= 0) return 'continue'
      const mayWalk = !this.#walked && this.#waiting.length < 4 * concurrency && this.#queue.length < MAX_QUEUE
      if (mayWalk) await this.#walkOn()
      else await this.#wait(left)
    }
  }

  async #walkOn(): Promise<void> {
    this.#walker ??= this.#walk()
    const { value: visit, done } = await this.#walker.next()
    this.#walked = done === true
    if (!visit) return
    const files = visit.files.map((file): QueuedFile => ({ visit, file, outcome: undefined }))
    this.#queue.push({ visit, files })
    this.#waiting.push(...files)
    this.#startMoves()
  }

  #walk(): AsyncGenerator<Visit, undefined> {
    const { request, cursor } = this.#state
    const ask: AskOrthanc = uri => this.#ask(uri) // the generator outlives the step
    const { resources } = request
    const named = levels.flatMap(level => (resources?.[level] ?? []).map(id => [level, id] as const))
    return walk(resources ? listed(named, cursor.top) : everything(cursor, ask), cursor, ask)
  }

  #startMoves(): void {
    while (this.#running.size < this.#options.concurrency) {
      const queued = this.#waiting.shift()
      if (!queued) return
      const done = this.#perform(queued.file, this.#abort.signal)
        .catch((reason): FileOutcome => ({ kind: 'failed', fault: Fault.from(reason) }))
        .then(outcome => {
          queued.outcome = outcome
          this.#running.delete(done)
          this.#endedSinceCommit = true
          this.#startMoves()
          this.#wake()
        })
      this.#running.add(done)
    }
  }

  async #perform({ attachment, known }: KnownFile, signal: AbortSignal): Promise<FileOutcome> {
    const { target, keepSource, dryRun } = this.#state.request
    if (dryRun) return await this.#count(attachment, known.size, signal)
    const moved = await this.#options.area.move(attachment, target, { keepSource, known }, signal)
    if (moved === 'missing') throw missing(attachment.uuid)
    const there = moved === 'already-there'
    return {
      kind: there ? 'there' : 'moved',
      apply: ({ results }) => add(there ? results.AlreadyThere : results.Moved, known.size),
    }
  }

  async #count(attachment: Attachment, size: number, signal: AbortSignal): Promise<FileOutcome> {
    const found = await this.#options.area.locate(attachment, signal)
    if (!found['file-system'] && !found['object-storage']) throw missing(attachment.uuid)
    return {
      kind: 'counted',
      apply({ results }) {
        if (found['file-system']) add(results.OnFileSystem, size)
        if (found['object-storage']) add(results.OnObjectStorage, size)
      },
    }
  }

  /**
   * Counts the resources at the head of the queue that are done. All questions to Orthanc about a resource come first.
   * So it is counted as a whole, with its cursor, or not at all.
   */
  async #commit(): Promise<void> {
    this.#endedSinceCommit = false
    const isDone = ({ files }: QueuedResource) => files.every(({ outcome }) => outcome)
    for (let head = this.#queue[0]; head && isDone(head); head = this.#queue[0]) {
      const counts: (() => void)[] = []
      for (const file of head.files) counts.push(await this.#counting(file))
      for (const count of counts) count()
      this.#state.cursor = head.visit.cursor
      this.#state.progress = Math.max(this.#state.progress, head.visit.progress)
      this.#queue.shift()
    }
  }

  /** What counts a file that is done. */
  async #counting({ visit, file, outcome }: QueuedFile): Promise<() => void> {
    if (outcome?.kind !== 'failed')
      return () => {
        this.#failuresInARow = 0
        outcome?.apply(this.#state)
      }
    // If the file was deleted or overwritten during the move, this job has nothing to do with it any more.
    const still = await askForFile(visit.uri, file.name, this.#ask)
    if (still?.attachment.uuid !== file.attachment.uuid) return () => {}
    return () => this.#countFailure(`${visit.uri}/attachments/${file.name}`, file.attachment.uuid, outcome.fault)
  }

  #countFailure(where: string, uuid: string, fault: Fault): void {
    const { results } = this.#state
    // A file that is lost or damaged says nothing about the next one.
    this.#failuresInARow = isCode(fault, 'NotFound') || isCode(fault, 'Corrupt') ? 0 : this.#failuresInARow + 1
    results.Failed++
    if (results.Failures.length >= KEPT_FAILURES) return
    const reason = fault.describe()
    results.Failures.push({ Attachment: where, Uuid: uuid, Reason: reason })
    this.#options.error(`cannot move ${where}: ${reason}`)
  }

  /** Until a move has ended since the last #commit(), or the time is over. */
  #wait(ms: number): Promise<void> {
    if (this.#endedSinceCommit) return Promise.resolve()
    return new Promise(resolve => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

function add(tally: { Files: number; Bytes: number }, bytes: number): void {
  tally.Files++
  tally.Bytes += bytes
}

function missing(uuid: string): Fault {
  return new Fault('NotFound', 'the file is neither on the file system nor in the object storage', {
    where: { verb: 'move', key: uuid },
    remedy: "It is in Orthanc's database, but its bytes are lost. Look for it in a backup.",
  })
}
