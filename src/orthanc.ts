/** What the engine may ask of Orthanc: in a REST request, in a step of a job, in the standing call. */

export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [name: string]: Json | undefined
}

/**
 * Orthanc's own REST API, without the routes of plugins. The requests of one call are made one after the other, in
 * their order, on the thread that waits for the call. Rejects with a `Fault`: `Canceled`
 * when Orthanc stops, `TooLarge` for an answer above 16 MiB (ask for less: `?since=&limit=`, or without `expand`),
 * `BadRequest` for another 4xx, `Unavailable` for a 503, `Internal` for everything else that is not a 2xx.
 * When an engine dies, the call is repeated on the next one. A POST may then happen twice, a submission does not.
 */
export interface Orthanc {
  /** The parsed answer, or undefined for a 404. */
  get(uri: string, signal: AbortSignal): Promise<Json | undefined>
  /** A string is sent as it is: the few routes that take no JSON, such as `/tools/lookup`, take a text. */
  post(uri: string, body: Json, signal: AbortSignal): Promise<Json>
  /** Hands a new job over to Orthanc and returns its id. A call submits one job: asked again, it gives the same id. */
  submit(job: Job, priority: number, signal: AbortSignal): Promise<string>
}

export type StepOutcome = 'continue' | 'success' | 'failure'

/**
 * A job as Orthanc runs it: steps, one after the other. All of its state must be in serialize(): after a pause, a
 * restart of Orthanc or the death of an engine its JobKind builds it again from that text.
 */
export interface Job {
  /** `Content` of `GET /jobs/{id}`. Orthanc looks at it after each step. */
  content(): JsonObject
  /** 0 … 1. */
  progress(): number
  /** Without a field `Type`: that one is Orthanc's. */
  serialize(): JsonObject
  /**
   * One step, of about a second. Orthanc shows progress, saves the serialized state, and pauses or cancels the job only
   * between steps. Work may go on between steps, but `orthanc` can be used during this step only. A rejection is logged
   * and fails the job, except `Canceled`.
   */
  step(orthanc: Orthanc, signal: AbortSignal): Promise<StepOutcome>
  /** The job leaves the running state, and this object is not used again. Resolves when nothing of it is under way. */
  stop(): Promise<void>
  /** Sets the job back to its beginning (Orthanc's `resubmit`). No work of it is under way, and none begins here. */
  reset(): void
}

export interface JobKind {
  /** `Type` of `GET /jobs/{id}`. */
  readonly type: string
  /** Builds a job from what serialize() gave, maybe in an older version. `BadRequest` when it is not one of ours. */
  restore(serialized: JsonObject): Job
}
