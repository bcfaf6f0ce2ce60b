import type { Attachment } from '../area/area.ts'
import type { HybridArea } from '../area/hybrid.ts'
import { alone, type MoveTurns } from '../area/turns.ts'
import { Fault, isCode } from '../fault.ts'
import type { Job, JobKind, Orthanc, StepOutcome } from '../orthanc.ts'
import { JobTurn } from './job-turn.ts'
import { type FileOutcome, moveFile } from './move-file.ts'
import { begun, jobContent, KEPT_FAILURES, type MoveRequest, type MoveState, restore, serialize } from './state.ts'
import {
  type AskOrthanc,
  askForFile,
  askOf,
  everything,
  isIndexInPlugin,
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
  /** Without it, no other process moves. */
  readonly turns?: MoveTurns
  warn?(line: string): void
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
const STEP_MS = 1000
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
  readonly #turn: JobTurn
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
  #indexIsShared: boolean | undefined

  constructor(state: MoveState, options: MoveJobOptions) {
    this.#state = state
    this.#options = options
    this.#turn = new JobTurn(options.turns ?? alone, options.warn ?? (() => {}))
  }

  content = () => ({ ...jobContent(this.#state), ...this.#turn.content() })
  progress = () => this.#state.progress
  serialize = () => serialize(this.#state)

  async step(orthanc: Orthanc, signal: AbortSignal): Promise<StepOutcome> {
    this.#ask = askOf(orthanc, signal)
    try {
      if (!(await this.#turn.take(this.#state.request))) {
        await this.#end()
        await this.#wait(this.#options.stepMs ?? STEP_MS)
        return 'continue'
      }
    } catch (reason) {
      await this.stop()
      this.#options.error(Fault.from(reason).describe())
      return 'failure'
    }
    try {
      return await this.#step()
    } catch (reason) {
      await this.#commit().catch(() => {})
      await this.stop() // a failed question broke the walk; the next step begins it again at the cursor
      throw reason
    }
  }

  async stop(): Promise<void> {
    await this.#end()
    await this.#turn.end()
  }

  reset(): void {
    this.#state = begun(this.#state.request)
  }

  /** Forgets what is under way. The cursor knows where to go on. */
  async #end(): Promise<void> {
    this.#abort.abort(new Fault('Canceled', 'the job stops'))
    this.#waiting = []
    await Promise.all(this.#running)
    this.#abort = new AbortController()
    this.#queue = []
    this.#walker = undefined
    this.#walked = false
    this.#endedSinceCommit = false
  }

  async #step(): Promise<StepOutcome> {
    const { concurrency, error, stepMs = STEP_MS } = this.#options
    const until = performance.now() + stepMs
    for (;;) {
      if (this.#turn.lost) {
        await this.stop()
        return 'continue'
      }
      await this.#commit()
      if (this.#walked && this.#queue.length === 0) {
        this.#state.progress = 1
        await this.#turn.end()
        return this.#state.results.Failed === 0 ? 'success' : 'failure'
      }
      if (this.#failuresInARow >= GIVE_UP_AFTER) {
        await this.stop()
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
      const done = moveFile(this.#options.area, this.#state.request, queued.file, this.#abort.signal)
        .catch((reason): FileOutcome => ({ kind: 'failed', fault: Fault.from(reason) }))
        .then(outcome => {
          // After the turn was lost, nothing is known of what was under way. The walk comes by again.
          if (!this.#turn.lost) queued.outcome = outcome
          this.#running.delete(done)
          this.#endedSinceCommit = true
          this.#startMoves()
          this.#wake()
        })
      this.#running.add(done)
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
    const where = `${visit.uri}/attachments/${file.name}`
    const { uuid } = file.attachment
    const mayBeRemoved = outcome?.kind === 'failed' || (await this.#othersMayRemove())
    // If the file was deleted or overwritten during the move, this job has nothing to do with it any more.
    if (mayBeRemoved && (await askForFile(visit.uri, file.name, this.#ask))?.attachment.uuid !== uuid) {
      const fault = await this.#removeCopy(file.attachment)
      return () => fault && this.#countFailure(where, uuid, fault)
    }
    if (outcome?.kind === 'failed') return () => this.#countFailure(where, uuid, outcome.fault)
    return () => {
      this.#failuresInARow = 0
      outcome?.apply(this.#state)
    }
  }

  /** Whether another Orthanc may remove files of this index. Its removal does not end our move of the file. */
  async #othersMayRemove(): Promise<boolean> {
    if (this.#state.request.dryRun) return false
    this.#indexIsShared ??= await isIndexInPlugin(this.#ask)
    return this.#indexIsShared
  }

  /**
   * Of a file that Orthanc has no more. Another Orthanc removes a file after it has taken it out of the index. If our
   * copy came after that, nobody else would ever remove it.
   */
  async #removeCopy(attachment: Attachment): Promise<Fault | undefined> {
    if (!(await this.#othersMayRemove())) return undefined
    return await this.#options.area.remove(attachment, this.#abort.signal).then(() => undefined, Fault.from)
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
