import type { StorageArea } from '../area/area.ts'
import { Fault, isCode, isObject } from '../fault.ts'
import { FileQueue, type QueuedResource } from '../moves/file-queue.ts'
import {
  add,
  cursorOf,
  type Failure,
  type FileTally,
  failuresOf,
  figure,
  fileTallyOf,
  groupedOf,
  KEPT_FAILURES,
  none,
  odd,
  saveCursor,
} from '../moves/saved.ts'
import {
  type AskOrthanc,
  askForFile,
  askOf,
  BEGINNING,
  type Cursor,
  type Grouped,
  type KnownFile,
  listed,
  listOf,
  type Visit,
  walk,
} from '../moves/walk.ts'
import type { Job, JobKind, JsonObject, Orthanc, StepOutcome } from '../orthanc.ts'

export interface PrefetchOptions {
  readonly area: StorageArea
  /** Whether the cache keeps what is read. */
  isOn(): boolean
  /** Files at a time, of each job. */
  readonly concurrency: number
  /** One line for each file that fails. */
  error(line: string): void
  /** How long a step lasts. Default: a second. */
  readonly stepMs?: number
}

export interface PrefetchJobs extends JobKind {
  create(resources: Grouped): Job
}

const TYPE = 'Prefetch'
const VERSION = 1
const STEP_MS = 1000
/** After so many failures in a row, the store is away. */
const GIVE_UP_AFTER = 50

interface State {
  readonly resources: Grouped
  cursor: Cursor
  progress: number
  read: FileTally
  failed: number
  failures: Failure[]
}

const begun = (resources: Grouped): State => ({
  ...{ resources, cursor: BEGINNING, progress: 0, read: none(), failed: 0, failures: [] },
})

/** The job type `Prefetch`: reads the files of some resources, so that the cache has them. */
export function prefetchJobs(options: PrefetchOptions): PrefetchJobs {
  return {
    type: TYPE,
    create: resources => new PrefetchJob(begun(resources), options),
    restore: saved => new PrefetchJob(restored(saved), options),
  }
}

class PrefetchJob implements Job {
  readonly type = TYPE
  readonly #options: PrefetchOptions
  readonly #queue: FileQueue<{ readonly fault: Fault | undefined }>
  #state: State
  /** Of the step under way. */
  #ask: AskOrthanc = () => Promise.reject(new Fault('Internal', 'no step is under way'))
  #failuresInARow = 0

  constructor(state: State, options: PrefetchOptions) {
    this.#state = state
    this.#options = options
    this.#queue = new FileQueue({
      concurrency: options.concurrency,
      walk: () => {
        const { resources, cursor } = this.#state
        return walk(listed(listOf(resources), cursor.top), cursor, uri => this.#ask(uri))
      },
      work: async (file, signal) => ({ fault: await this.#read(file, signal) }),
    })
  }

  content(): JsonObject {
    const { resources, read, failed, failures } = this.#state
    return { ...resources, Read: { ...read }, Failed: failed, Failures: failures.map(failure => ({ ...failure })) }
  }

  progress = () => this.#state.progress

  serialize(): JsonObject {
    const { resources, cursor, progress } = this.#state
    return {
      Kind: TYPE,
      Version: VERSION,
      ...this.content(),
      ...resources,
      Cursor: saveCursor(cursor),
      Progress: progress,
    }
  }

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

  stop(): Promise<void> {
    return this.#queue.end(new Fault('Canceled', 'the job stops'))
  }

  reset(): void {
    this.#state = begun(this.#state.resources)
  }

  async #step(): Promise<StepOutcome> {
    const { isOn, error, stepMs = STEP_MS } = this.#options
    const until = performance.now() + stepMs
    for (;;) {
      await this.#commit()
      if (this.#queue.isDone) {
        this.#state.progress = 1
        return this.#state.failed === 0 ? 'success' : 'failure'
      }
      const why = !isOn() ? 'the cache is off' : this.#failuresInARow >= GIVE_UP_AFTER ? 'nothing can be read' : ''
      if (why) {
        await this.stop()
        error(`a prefetch gives up, because ${why}. Resubmit it when the cause is removed`)
        return 'failure'
      }
      const left = until - performance.now()
      if (left <= 0) return 'continue'
      if (this.#queue.mayWalk) await this.#queue.walkOn()
      else await this.#queue.wait(left)
    }
  }

  /** Resolves with why it could not be read. */
  async #read({ attachment }: KnownFile, signal: AbortSignal): Promise<Fault | undefined> {
    const { area } = this.#options
    const drain = async ({ body }: { body: AsyncIterable<unknown> }) => {
      for await (const _ of body);
    }
    return await area.deliver(attachment, undefined, drain, signal).then(() => undefined, Fault.from)
  }

  #commit(): Promise<void> {
    return this.#queue.commit(async ({ visit, files }: QueuedResource<{ readonly fault: Fault | undefined }>) => {
      const failed: [KnownFile, Fault][] = []
      // If the file was deleted or overwritten meanwhile, nobody needs it.
      for (const { file, outcome } of files)
        if (outcome?.fault && (await this.#isThere(visit, file))) failed.push([file, outcome.fault])
      for (const { file, outcome } of files) if (!outcome?.fault) add(this.#state.read, file.known.size)
      if (files.length > 0) this.#failuresInARow = failed.length === 0 ? 0 : this.#failuresInARow + failed.length
      for (const [file, fault] of failed) this.#countFailure(visit, file, fault)
      this.#state.cursor = visit.cursor
      this.#state.progress = Math.max(this.#state.progress, visit.progress)
    })
  }

  async #isThere({ uri }: Visit, { name, attachment }: KnownFile): Promise<boolean> {
    return (await askForFile(uri, name, this.#ask))?.attachment.uuid === attachment.uuid
  }

  #countFailure({ uri }: Visit, { name, attachment }: KnownFile, fault: Fault): void {
    // A file that is lost or damaged says nothing about the next one.
    if (isCode(fault, 'NotFound') || isCode(fault, 'Corrupt')) this.#failuresInARow = 0
    const state = this.#state
    state.failed++
    if (state.failures.length >= KEPT_FAILURES) return
    const where = `${uri}/attachments/${name}`
    const reason = fault.describe()
    state.failures.push({ Attachment: where, Uuid: attachment.uuid, Reason: reason })
    this.#options.error(`cannot prefetch ${where}: ${reason}`)
  }
}

function restored(saved: JsonObject): State {
  const { Kind, Version, Cursor, Progress, Read, Failed, Failures } = saved
  if (Kind !== TYPE || Version !== VERSION || !isObject(Cursor)) throw odd('Version')
  return {
    resources: groupedOf(saved),
    cursor: cursorOf(Cursor),
    progress: Math.min(1, figure(Progress, 'Progress')),
    read: fileTallyOf(Read),
    failed: figure(Failed, 'Failed'),
    failures: failuresOf(Failures),
  }
}
