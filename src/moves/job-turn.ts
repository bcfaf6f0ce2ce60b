import type { Mover, MoveTurn, MoveTurns } from '../area/turns.ts'
import { Fault } from '../fault.ts'
import type { JsonObject } from '../orthanc.ts'
import type { MoveRequest } from './state.ts'

/** So many steps of a second, a job waits for a disk that is away. */
const MOST_TRIES = 60
const COPY = 'What is on a disk that is read-only can be copied away with "KeepSource".'

/** The turn of one job among all that move files between the same two tiers, from other processes, too. */
export class JobTurn {
  readonly #turns: MoveTurns
  readonly #warn: (line: string) => void
  #turn: MoveTurn | undefined
  #waitsFor: Mover | undefined
  #refusal: string | undefined
  /** Tries in a row that found the disk away. */
  #tries = 0

  constructor(turns: MoveTurns, warn: (line: string) => void) {
    this.#turns = turns
    this.#warn = warn
  }

  /** Whether the job may go on. Rejects when it never may, as things are. */
  async take({ target, keepSource, dryRun }: MoveRequest): Promise<boolean> {
    this.#refusal = undefined
    if (this.#turn || dryRun) return true
    const taken = await this.#turns.take().catch(error => {
      const fault = Fault.from(error)
      // A full disk is a usual reason for a move away from it. A copy leaves its source alone, and a disk that is
      // read-only is a usual reason for one.
      const harmless = (fault.code === 'TooLarge' && target === 'object-storage') || keepSource
      if (harmless && ['TooLarge', 'Denied', 'BadConfig'].includes(fault.code)) return undefined
      // A network mount may be away for a moment, and this job may have waited for hours.
      if (fault.code === 'Unavailable' && ++this.#tries < MOST_TRIES) return fault
      const refusal = fault.code === 'Denied' ? fault.with({ remedy: `${fault.remedy} ${COPY}` }) : fault
      this.#refusal = refusal.describe()
      throw refusal.at({ verb: 'move' })
    })
    if (taken instanceof Fault) {
      if (this.#tries === 1) this.#warn(`a move waits: ${taken.describe()}`)
      return false
    }
    this.#tries = 0
    if (taken && 'waitsFor' in taken) {
      const { host, pid } = taken.waitsFor
      if (!this.#waitsFor) this.#warn(`a move waits: it is the turn of ${pid ? `process ${pid} on ` : ''}${host}`)
      this.#waitsFor = taken.waitsFor
      return false
    }
    this.#waitsFor = undefined
    this.#turn = taken
    return true
  }

  /** Another process moves now. What is under way here must end. */
  get lost(): boolean {
    return this.#turn?.lost === true
  }

  async end(): Promise<void> {
    const turn = this.#turn
    this.#turn = this.#waitsFor = undefined
    await turn
      ?.end()
      .catch(error => this.#warn(`the turn to move files could not be ended: ${Fault.from(error).describe()}`))
  }

  /** For `Content` of `GET /jobs/{id}`. */
  content(): JsonObject {
    const { host, pid, since } = this.#waitsFor ?? {}
    return {
      ...(host !== undefined && { WaitsFor: { Host: host, Process: pid, Since: since } }),
      ...(this.#refusal !== undefined && { Refusal: this.#refusal }),
    }
  }
}
