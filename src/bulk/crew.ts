import { Fault, type FaultCode } from '../fault.ts'

/** Work ends when so many pieces of it in a row fail for reasons of the store, not of the files. */
const MOST_IN_A_ROW = 20
/** What a store says of one object, while it serves others. */
const OF_ONE_FILE: readonly FaultCode[] = ['Archived', 'Corrupt', 'TooLarge']

type OnFailure = (fault: Fault) => void

/** Pieces of work that end together. */
interface Members {
  readonly onFailure: OnFailure
  readonly running: Set<Promise<void>>
  /** One of them was canceled, so no other one begins. */
  canceled: Fault | undefined
}

const members = (onFailure: OnFailure): Members => ({ onFailure, running: new Set(), canceled: undefined })

/** A bounded number of pieces of work at a time. What fails is told, and the others go on, unless all of them fail. */
export class Crew {
  readonly #most: number
  readonly #running = new Set<Promise<void>>()
  readonly #own: Members
  #inARow = 0
  #gaveUp: Fault | undefined

  constructor(most: number, onFailure: OnFailure) {
    this.#most = most
    this.#own = members(onFailure)
  }

  /** Resolves when the work has begun. Rejects when it was canceled, or the crew has given up. */
  add(work: () => Promise<void>): Promise<void> {
    return this.#begin(work, this.#own)
  }

  /** Resolves when nothing of it runs any more. */
  end(): Promise<void> {
    return this.#end(this.#own)
  }

  /**
   * Work with an end of its own, by the same crew. What cancels it cancels no other group: a shard that was lost to
   * another process ends alone.
   */
  group(onFailure: OnFailure): Pick<Crew, 'add' | 'end'> {
    const group = members(onFailure)
    return { add: work => this.#begin(work, group), end: () => this.#end(group) }
  }

  async #end(of: Members): Promise<void> {
    await Promise.all(of.running)
    const ended = of.canceled ?? this.#gaveUp
    if (ended) throw ended
  }

  async #begin(work: () => Promise<void>, of: Members): Promise<void> {
    while (this.#running.size >= this.#most) await Promise.race(this.#running)
    if (of.canceled ?? this.#gaveUp) return await this.#end(of)
    const piece: Promise<void> = work()
      .then(
        () => {
          this.#inARow = 0
        },
        error => this.#failed(Fault.from(error), of),
      )
      .finally(() => {
        this.#running.delete(piece)
        of.running.delete(piece)
      })
    this.#running.add(piece)
    of.running.add(piece)
  }

  #failed(fault: Fault, of: Members): void {
    if (fault.code === 'Canceled') {
      of.canceled ??= fault
      return
    }
    of.onFailure(fault)
    if (OF_ONE_FILE.includes(fault.code)) return
    if (++this.#inARow < MOST_IN_A_ROW) return
    this.#gaveUp ??= new Fault(fault.code, `${MOST_IN_A_ROW} files could not be looked at, one after the other`, {
      cause: fault,
      remedy: 'Remove the cause that the lines above name, then run the same command again.',
    })
  }
}
