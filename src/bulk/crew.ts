import { Fault, type FaultCode } from '../fault.ts'

/** Work ends when so many pieces of it in a row fail for reasons of the store, not of the files. */
const MOST_IN_A_ROW = 20
/** What a store says of one object, while it serves others. */
const OF_ONE_FILE: readonly FaultCode[] = ['Archived', 'Corrupt', 'TooLarge']

type OnFailure = (fault: Fault) => void

/** A bounded number of pieces of work at a time. What fails is told, and the others go on, unless all of them fail. */
export class Crew {
  readonly #most: number
  readonly #onFailure: OnFailure
  readonly #running = new Set<Promise<void>>()
  #inARow = 0
  #gaveUp: Fault | undefined

  constructor(most: number, onFailure: OnFailure) {
    this.#most = most
    this.#onFailure = onFailure
  }

  /** Resolves when the work has begun. Rejects when the crew has given up. */
  async add(work: () => Promise<void>): Promise<void> {
    await this.#begin(work, this.#onFailure, undefined)
  }

  /** Resolves when nothing of it runs any more. */
  async end(): Promise<void> {
    await Promise.all(this.#running)
    if (this.#gaveUp) throw this.#gaveUp
  }

  /** Work with an end of its own, by the same crew. */
  group(onFailure: OnFailure): Pick<Crew, 'add' | 'end'> {
    const own = new Set<Promise<void>>()
    return {
      add: work => this.#begin(work, onFailure, own),
      end: async () => {
        await Promise.all(own)
        if (this.#gaveUp) throw this.#gaveUp
      },
    }
  }

  async #begin(work: () => Promise<void>, onFailure: OnFailure, own: Set<Promise<void>> | undefined): Promise<void> {
    while (this.#running.size >= this.#most) await Promise.race(this.#running)
    if (this.#gaveUp) {
      await Promise.all(own ?? this.#running)
      throw this.#gaveUp
    }
    const piece: Promise<void> = work()
      .then(
        () => {
          this.#inARow = 0
        },
        error => this.#failed(Fault.from(error), onFailure),
      )
      .finally(() => {
        this.#running.delete(piece)
        own?.delete(piece)
      })
    this.#running.add(piece)
    own?.add(piece)
  }

  #failed(fault: Fault, onFailure: OnFailure): void {
    if (fault.code === 'Canceled') {
      this.#gaveUp ??= fault
      return
    }
    onFailure(fault)
    if (OF_ONE_FILE.includes(fault.code)) return
    if (++this.#inARow < MOST_IN_A_ROW) return
    this.#gaveUp ??= new Fault(fault.code, `${MOST_IN_A_ROW} files could not be looked at, one after the other`, {
      cause: fault,
      remedy: 'Remove the cause that the lines above name, then run the same command again.',
    })
  }
}
