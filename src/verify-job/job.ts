import { Fault, isObject } from '../fault.ts'
import type { Job, JobKind, JsonObject, Orthanc, StepOutcome } from '../orthanc.ts'
import { emptyTally } from '../verify/tally.ts'
import { contentOf, Shown } from './content.ts'
import { requestOf, type VerifyRequest } from './request.ts'
import { Run, type RunOptions } from './run.ts'

export interface VerifyJobOptions extends RunOptions {
  /** For tests: how long a step lasts. Default: a second. */
  readonly stepMs?: number
}

export interface VerifyJobs extends JobKind {
  create(request: VerifyRequest): Job
}

type Ended = Exclude<StepOutcome, 'continue'>

/** What Orthanc keeps of a job. */
interface State {
  readonly request: VerifyRequest
  readonly content: JsonObject
  readonly progress: number
  /** Undefined: it has not come to its end. Then it begins again, because nothing else of it is kept. */
  readonly outcome: Ended | undefined
}

/** One at a time: each takes its share of connections, memory and disk. */
interface Slot {
  job: VerifyJob | undefined
}

const TYPE = 'VerifyStorage'
const VERSION = 1
const STEP_MS = 1000
/** Levels of objects and arrays in what a job shows, and some more. */
const DEEPEST = 8

/** The job type `VerifyStorage`: compares Orthanc's index with the stores, and changes nothing. */
export function verifyJobs(options: VerifyJobOptions): VerifyJobs {
  const slot: Slot = { job: undefined }
  const begun = (request: VerifyRequest): State => {
    const nothing = { tally: emptyTally([]), complete: false, share: 0, strange: false }
    const content = contentOf(request, nothing, new Shown(), { phase: 'waiting' })
    return { request, content, progress: 0, outcome: undefined }
  }
  return {
    type: TYPE,
    create: request => new VerifyJob(begun(request), begun, slot, options),
    restore: saved => new VerifyJob(restored(saved), begun, slot, options),
  }
}

class VerifyJob implements Job {
  readonly type = TYPE
  readonly #options: VerifyJobOptions
  readonly #begun: (request: VerifyRequest) => State
  readonly #slot: Slot
  #state: State
  #run: Run | undefined

  constructor(state: State, begun: (request: VerifyRequest) => State, slot: Slot, options: VerifyJobOptions) {
    this.#state = state
    this.#begun = begun
    this.#slot = slot
    this.#options = options
  }

  content(): JsonObject {
    return this.#run?.content() ?? this.#state.content
  }

  progress(): number {
    return this.#run?.progress() ?? this.#state.progress
  }

  serialize(): JsonObject {
    const { request, outcome } = this.#state
    return {
      Kind: TYPE,
      Version: VERSION,
      Request: request,
      Content: this.content(),
      Progress: this.progress(),
      ...(outcome && { Outcome: outcome }),
    }
  }

  async step(orthanc: Orthanc, signal: AbortSignal): Promise<StepOutcome> {
    // Orthanc asks again where an answer was lost.
    if (this.#state.outcome) return this.#state.outcome
    try {
      this.#run ??= this.#begin()
    } catch (error) {
      return this.#refuse(Fault.from(error))
    }
    await this.#run.lent.serve(orthanc, this.#options.stepMs ?? STEP_MS, signal)
    const { outcome } = this.#run
    if (!outcome) return 'continue'
    this.#end({ ...this.#state, content: this.#run.content(), progress: this.#run.progress(), outcome })
    return outcome
  }

  async stop(): Promise<void> {
    await this.#run?.stop()
    this.#end(this.#state)
  }

  reset(): void {
    this.#state = this.#begun(this.#state.request)
  }

  #begin(): Run {
    if (this.#slot.job !== undefined && this.#slot.job !== this)
      throw new Fault('BadRequest', 'another verification runs', { remedy: 'Resubmit this job when it has ended.' })
    const run = new Run(this.#state.request, this.#options)
    this.#slot.job = this
    return run
  }

  #refuse(fault: Fault): 'failure' {
    const reason = fault.describe()
    this.#options.log.error(`verification: it cannot begin: ${reason}`)
    const { request } = this.#state
    const { content } = this.#begun(request)
    this.#state = { request, content: { ...content, Phase: 'ended', Reason: reason }, progress: 0, outcome: 'failure' }
    return 'failure'
  }

  #end(state: State): void {
    this.#state = state
    this.#run = undefined
    if (this.#slot.job === this) this.#slot.job = undefined
  }
}

function restored(saved: JsonObject): State {
  const { Kind, Version, Request, Content, Progress, Outcome } = saved
  if (Kind !== TYPE || Version !== VERSION) throw odd('Version')
  if (!isObject(Request)) throw odd('Request')
  if (!isObject(Content) || !isShallow(Content, DEEPEST)) throw odd('Content')
  if (typeof Progress !== 'number' || !(Progress >= 0 && Progress <= 1)) throw odd('Progress')
  if (Outcome !== undefined && Outcome !== 'success' && Outcome !== 'failure') throw odd('Outcome')
  return { request: requestOf(Request), content: Content as JsonObject, progress: Progress, outcome: Outcome }
}

/** What is deeper could not be written as JSON again. */
function isShallow(value: unknown, most: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  return most > 0 && Object.values(value).every(inner => isShallow(inner, most - 1))
}

const odd = (name: string) =>
  new Fault(
    'BadRequest',
    `the job cannot begin again: "${name}" in the state that Orthanc saved of it is not what a job writes`,
  )
