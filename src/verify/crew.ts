import { Fault, type FaultCode } from '../fault.ts'

/** Work ends when so many pieces of it in a row fail for reasons of the store, not of the files. */
const MOST_IN_A_ROW = 20
/** What a store says of one object, while it serves others. */
const OF_ONE_FILE: readonly FaultCode[] = ['Archived', 'Corrupt', 'TooLarge']

/** A bounded number of pieces of work at a time. What fails is told, and the others go on, unless all of them fail. */
export class Crew {
  readonly #most: number
  readonly #onFailure: (fault: Fault) => void
  readonly #running = new Set<Promise<void>>()
  #inARow = 0
  #gaveUp: Fault | undefined

  constructor(most: number, onFailure: (fault: Fault) => void) {
    this.#most = most
    this.#onFailure = onFailure
  }

  /** Resolves when the work has begun. Rejects when the crew has given up. */
  async add(work: () => Promise<void>): Promise<void> {
    while (this.#running.size >= this.#most) await Promise.race(this.#running)
    if (this.#gaveUp) return await this.end()
    const piece: Promise<void> = work()
      .then(
        () => {
          this.#inARow = 0
        },
        error => this.#failed(Fault.from(error)),
      )
      .finally(() => this.#running.delete(piece))
    this.#running.add(piece)
  }

  /** Resolves when nothing of it runs any more. */
  async end(): Promise<void> {
    await Promise.all(this.#running)
    if (this.#gaveUp) throw this.#gaveUp
  }

  #failed(fault: Fault): void {
    if (fault.code === 'Canceled') {
      this.#gaveUp ??= fault
      return
    }
    this.#onFailure(fault)
    if (OF_ONE_FILE.includes(fault.code)) return
    if (++this.#inARow < MOST_IN_A_ROW) return
    this.#gaveUp ??= new Fault(fault.code, `${MOST_IN_A_ROW} files could not be looked at, one after the other`, {
      cause: fault,
      remedy: 'Remove the cause that the lines above name, then run the same command again.',
    })
  }
}
