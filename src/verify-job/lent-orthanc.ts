import { Fault, isCode, throwIfAborted } from '../fault.ts'
import type { Json } from '../orthanc.ts'
import type { Asked } from '../orthanc-index/resources.ts'
import { unlessAborted } from '../stores/unless-aborted.ts'

interface Question {
  readonly signal: AbortSignal
  /** Rejects only when the step was broken off, so that the question is still open. */
  ask(orthanc: Asked, step: AbortSignal): Promise<void>
}

/**
 * Orthanc, for work that goes on between the steps of a job. What it asks waits until a step lends its own Orthanc,
 * however long that takes. Every question only reads. So one whose step was broken off is asked again in the next step.
 */
export class LentOrthanc implements Asked {
  readonly #open: Question[] = []
  #wake = () => {}
  #closed = false

  get(uri: string, signal: AbortSignal): Promise<Json | undefined> {
    return this.#ask((orthanc, step) => orthanc.get(uri, step), signal)
  }

  post(uri: string, body: Json, signal: AbortSignal): Promise<Json> {
    return this.#ask((orthanc, step) => orthanc.post(uri, body, step), signal)
  }

  /** Nothing is asked any more: the step under way ends. */
  close(): void {
    this.#closed = true
    this.#wake()
  }

  /**
   * What one step does: answers the questions in their order, for `ms` milliseconds or until close(). Rejects with
   * `Canceled` when the step is broken off.
   */
  async serve(orthanc: Asked, ms: number, step: AbortSignal): Promise<void> {
    const end = performance.now() + ms
    do {
      throwIfAborted(step)
      const question = this.#open.shift()
      if (question) await this.#answer(question, orthanc, step)
      else if (!this.#closed) await this.#wait(Math.max(0, end - performance.now()), step)
    } while (!this.#closed && performance.now() < end)
  }

  async #ask<T>(how: (orthanc: Asked, step: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    throwIfAborted(signal)
    const answer = Promise.withResolvers<T>()
    this.#open.push({
      signal,
      ask: async (orthanc, step) => {
        try {
          answer.resolve(await how(orthanc, step))
        } catch (error) {
          if (step.aborted || isCode(error, 'Canceled')) throw error
          answer.reject(error)
        }
      },
    })
    this.#wake()
    return await unlessAborted(answer.promise, signal)
  }

  async #answer(question: Question, orthanc: Asked, step: AbortSignal): Promise<void> {
    if (question.signal.aborted) return
    try {
      await question.ask(orthanc, step)
    } catch (error) {
      this.#open.unshift(question)
      throw isCode(error, 'Canceled') ? error : new Fault('Canceled', 'the step was broken off', { cause: error })
    }
  }

  /** Until something is asked, or there is nothing more to ask, or the time of the step is over. */
  #wait(ms: number, step: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const wake = () => {
        clearTimeout(timer)
        step.removeEventListener('abort', wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      step.addEventListener('abort', wake, { once: true })
      this.#wake = wake
    })
  }
}
