import { Fault } from '../fault.ts'
import type { Job, JobKind, JsonObject, Orthanc, StepOutcome } from '../orthanc.ts'

/**
 * The jobs that run in this engine, by the number that the plugin gives each of them. Each call of a job brings its
 * serialized text. If this engine does not know the job yet, it builds the job from that text.
 */
export class Jobs {
  readonly #kinds: readonly [JobKind, ...JobKind[]]
  readonly #running = new Map<number, Job>()

  constructor(...kinds: readonly [JobKind, ...JobKind[]]) {
    this.#kinds = kinds
  }

  /** In the order of their numbers. */
  get types(): readonly string[] {
    return this.#kinds.map(({ type }) => type)
  }

  get running(): readonly Job[] {
    return [...this.#running.values()]
  }

  async step(number: number, serialized: string, orthanc: Orthanc, signal: AbortSignal): Promise<[Job, StepOutcome]> {
    const job = this.#running.get(number) ?? this.restore(serialized)
    this.#running.set(number, job)
    const outcome = await job.step(orthanc, signal).catch(error => {
      if (Fault.from(error).code === 'Canceled') return 'continue' as const // Orthanc stops. The job goes on later
      throw error
    })
    return [job, outcome]
  }

  async stop(number: number, serialized: string): Promise<Job> {
    const job = this.#running.get(number) ?? this.restore(serialized)
    this.#running.delete(number)
    await job.stop()
    return job
  }

  /** Orthanc resets only jobs that do not run. */
  reset(number: number, serialized: string): Job {
    this.#running.delete(number)
    const job = this.restore(serialized)
    job.reset()
    return job
  }

  restore(serialized: string): Job {
    const { Type: _orthancs, ...state } = parsed(serialized)
    // A text without `Kind` is from a time when there was one kind only.
    const kind = this.#kinds.find(({ type }) => type === state['Kind']) ?? this.#kinds[0]
    return kind.restore(state)
  }
}

function parsed(serialized: string): JsonObject {
  try {
    const value = JSON.parse(serialized)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch {
    // as below
  }
  throw new Fault('BadRequest', 'the state that Orthanc saved of a job is not a JSON object')
}
