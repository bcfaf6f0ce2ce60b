import { Fault, isCode } from '../fault.ts'
import type { Json } from '../orthanc.ts'
import type { Asked } from '../orthanc-index/resources.ts'
import { attempt } from '../stores/wrappers/retry.ts'

/** As HttpOrthanc repeats them. */
const POLICY = { maxRetries: 4, firstDelayMs: 500 }
const TOO_LARGE =
  'This Orthanc has more than a job can ask for. Run "orthanc-cloud-storage verify" instead: it reads the index from PostgreSQL, or over HTTP with --orthanc.'

/** The questions by which the index is read: repeated where that may help, and counted, to show how far it is. */
export class IndexQuestions implements Asked {
  /** How often the reading of the whole index has begun. */
  readings = 0
  readonly #orthanc: Asked
  readonly #policy: typeof POLICY
  #patients = 0
  #visited = 0

  constructor(orthanc: Asked, policy = POLICY) {
    this.#orthanc = orthanc
    this.#policy = policy
  }

  /** How much of the patients the reading under way has seen, from 0 to 1. */
  get share(): number {
    return this.#patients === 0 ? 0 : Math.min(1, this.#visited / this.#patients)
  }

  async get(uri: string, signal: AbortSignal): Promise<Json | undefined> {
    const answer = await this.#ask(() => this.#orthanc.get(uri, signal), signal)
    if (uri === '/patients') {
      this.readings++
      this.#visited = 0
      this.#patients = Array.isArray(answer) ? answer.length : 0
    } else if (/^\/patients\/[^/]+$/.test(uri)) {
      this.#visited++
    }
    return answer
  }

  post(uri: string, body: Json, signal: AbortSignal): Promise<Json> {
    return this.#ask(() => this.#orthanc.post(uri, body, signal), signal)
  }

  async #ask<T>(once: () => Promise<T>, signal: AbortSignal): Promise<T> {
    try {
      return await attempt(once, this.#policy, signal, () => {})
    } catch (error) {
      if (isCode(error, 'TooLarge')) throw error.with({ remedy: TOO_LARGE })
      throw Fault.from(error)
    }
  }
}
