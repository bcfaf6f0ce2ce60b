/** What the area may ask of Orthanc in the middle of a REST request or of a step of a job. */

export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [name: string]: Json | undefined
}

/**
 * Orthanc's own REST API, without plugins. Requests of one call are made one after the other, whoever asks first, each
 * on the Orthanc thread that waits for the call. Rejects with a `Fault`: `Canceled` when Orthanc stops, `TooLarge` for
 * an answer above 16 MiB (ask for less: `?since=&limit=`, or without `expand`), `BadRequest` for another 4xx,
 * `Unavailable` for a 503, `Internal` for whatever else is not a 2xx.
 * When an engine dies the call is repeated on the next one: a POST may then happen twice; a submission does not.
 */
export interface Orthanc {
  /** The parsed answer; undefined for a 404. */
  get(uri: string, signal: AbortSignal): Promise<Json | undefined>
  post(uri: string, body: Json, signal: AbortSignal): Promise<Json>
  /** Hands a new job over to Orthanc and returns its id. One job per call: asked again, it returns the same id. */
  submit(job: Job, priority: number, signal: AbortSignal): Promise<string>
}

export type StepOutcome = 'continue' | 'success' | 'failure'

/**
 * A job as Orthanc runs it: steps, one after the other. All of its state must be in serialize(): after a pause, a restart
 * of Orthanc or the death of an engine it is built anew from that text by its JobKind.
 */
export interface Job {
  /** `Content` of `GET /jobs/{id}`. Orthanc looks at it after each step. */
  content(): JsonObject
  /** 0 … 1. */
  progress(): number
  /** Without a field `Type`, which is Orthanc's. */
  serialize(): JsonObject
  /**
   * One step, of about a second: Orthanc shows progress, keeps the serialized state and looks for a wish to pause or
   * cancel between steps only. Work may go on in between, but `orthanc` is good during this step alone. A rejection is
   * logged and fails the job, except `Canceled`.
   */
  step(orthanc: Orthanc, signal: AbortSignal): Promise<StepOutcome>
  /** The job leaves the running state; this object is not used again. Resolves when nothing of it is under way. */
  stop(): Promise<void>
  /** Begin again (Orthanc's `resubmit`). Only the state changes: nothing is under way, and nothing begins here. */
  reset(): void
}

export interface JobKind {
  /** `Type` of `GET /jobs/{id}`. */
  readonly type: string
  /** From what serialize() gave, maybe of an older version. Throws `BadRequest` when it is not one of ours. */
  restore(serialized: JsonObject): Job
}
