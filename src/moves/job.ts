import type { Attachment } from '../area/area.ts'
import type { HybridArea } from '../area/hybrid.ts'
import { alone, type MoveTurns } from '../area/turns.ts'
import { Fault, isCode } from '../fault.ts'
import type { Job, JobKind, Orthanc, StepOutcome } from '../orthanc.ts'
import { FileQueue } from './file-queue.ts'
import { JobTurn } from './job-turn.ts'
import { type FileOutcome, moveFile } from './move-file.ts'
import { KEPT_FAILURES } from './saved.ts'
import { begun, jobContent, type MoveRequest, type MoveState, restore, serialize } from './state.ts'
import {
  type AskOrthanc,
  askForFile,
  askOf,
  everything,
  isIndexInPlugin,
  type KnownFile,
  listed,
  listOf,
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

/** The job type `MoveStorage`. */
export function moveJobs(options: MoveJobOptions): MoveJobs {
  return {
    type: 'MoveStorage',
    create: request => new MoveJob(begun(request), options),
    restore: state => new MoveJob(restore(state), options),
  }
}

/** Moves what FileQueue walks through, and counts it. */
class MoveJob implements Job {
  readonly type = 'MoveStorage'
  readonly #options: MoveJobOptions
  readonly #turn: JobTurn
  #state: MoveState
  /** Of the step under way. */
  #ask: AskOrthanc = () => Promise.reject(new Fault('Internal', 'no step is under way'))
  readonly #queue: FileQueue<FileOutcome>
  #failuresInARow = 0
  #indexIsShared: boolean | undefined

  constructor(state: MoveState, options: MoveJobOptions) {
    this.#state = state
    this.#options = options
    this.#turn = new JobTurn(options.turns ?? alone, options.warn ?? (() => {}))
    this.#queue = new FileQueue({
      concurrency: options.concurrency,
      walk: () => this.#walk(),
      work: (file, signal) => this.#move(file, signal),
    })
  }

  content = () => ({ ...jobContent(this.#state), ...this.#turn.content() })
  progress = () => this.#state.progress
  serialize = () => serialize(this.#state)

  async step(orthanc: Orthanc, signal: AbortSignal): Promise<StepOutcome> {
    this.#ask = askOf(orthanc, signal)
    try {
      if (!(await this.#turn.take(this.#state.request))) {
        await this.#end()
        await this.#queue.wait(this.#options.stepMs ?? STEP_MS)
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

  #end(): Promise<void> {
    return this.#queue.end(new Fault('Canceled', 'the job stops'))
  }

  async #step(): Promise<StepOutcome> {
    const { error, stepMs = STEP_MS } = this.#options
    const until = performance.now() + stepMs
    for (;;) {
      if (this.#turn.lost) {
        await this.stop()
        return 'continue'
      }
      await this.#commit()
      if (this.#queue.isDone) {
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
      if (this.#queue.mayWalk) await this.#queue.walkOn()
      else await this.#queue.wait(left)
    }
  }

  #walk(): AsyncGenerator<Visit, undefined> {
    const { request, cursor } = this.#state
    const ask: AskOrthanc = uri => this.#ask(uri) // the generator outlives the step
    return walk(
      request.resources ? listed(listOf(request.resources), cursor.top) : everything(cursor, ask),
      cursor,
      ask,
    )
  }

  async #move(file: KnownFile, signal: AbortSignal): Promise<FileOutcome | undefined> {
    const outcome = await moveFile(this.#options.area, this.#state.request, file, signal).catch(
      (reason): FileOutcome => ({ kind: 'failed', fault: Fault.from(reason) }),
    )
    // After the turn was lost, nothing is known of what was under way. The walk comes by again.
    return this.#turn.lost ? undefined : outcome
  }

  /**
   * All questions to Orthanc about a resource come first. So it is counted as a whole, with its cursor, or not at all.
   */
  #commit(): Promise<void> {
    return this.#queue.commit(async ({ visit, files }) => {
      const counts: (() => void)[] = []
      for (const { file, outcome } of files) counts.push(await this.#counting(visit, file, outcome))
      for (const count of counts) count()
      this.#state.cursor = visit.cursor
      this.#state.progress = Math.max(this.#state.progress, visit.progress)
    })
  }

  /** What counts a file that is done. */
  async #counting(visit: Visit, file: KnownFile, outcome: FileOutcome | undefined): Promise<() => void> {
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
    return await this.#options.area.remove(attachment, this.#queue.signal).then(() => undefined, Fault.from)
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
}
