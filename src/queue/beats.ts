/** The heartbeats of this process, and what it learns with them of the others. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Tally } from '../bulk/work.ts'
import { Fault } from '../fault.ts'
import type { Claims } from './claims.ts'
import type { Held } from './held.ts'
import { alive, type Status, type Worker } from './status.ts'

const LONGEST_PAUSE_MS = 5_000
/** The rate is that of so many heartbeats. */
const MEASURED = 6

/** What there is to tell. */
export interface Own {
  readonly held: readonly Held[]
  readonly underWay: Tally
  /** Done by this process since its beginning. */
  readonly pieces: number
}

export class Beats {
  readonly #claims: Claims
  readonly #seconds: number
  readonly #process: { readonly host: string; readonly pid: number }
  readonly #measured: { readonly at: number; readonly pieces: number }[] = []
  #status: Status | undefined
  #stop = new AbortController()
  #running: Promise<void> | undefined

  /** `seconds`: how long a process may be silent. */
  constructor(claims: Claims, seconds: number, process: { readonly host: string; readonly pid: number }) {
    this.#claims = claims
    this.#seconds = seconds
    this.#process = process
  }

  /** As of the last beat or look; there must have been one. */
  get status(): Status {
    if (!this.#status) throw new Fault('Internal', 'nothing is known of the run yet')
    return this.#status
  }

  /** All that are heard of, also this one. */
  get alive(): readonly Worker[] {
    return alive(this.status, this.#seconds)
  }

  /** Of this process: pieces a second. */
  get rate(): number {
    const [first, last] = [this.#measured[0], this.#measured.at(-1)]
    if (!first || !last || last.at === first.at) return 0
    return Math.max(0, ((last.pieces - first.pieces) * 1000) / (last.at - first.at))
  }

  async look(): Promise<void> {
    this.#status = await this.#claims.status()
  }

  async once({ held, underWay, pieces }: Own): Promise<void> {
    this.#measured.push({ at: performance.now(), pieces })
    if (this.#measured.length > MEASURED) this.#measured.shift()
    const claims = held.map(({ claim }) => claim)
    const { lost, ...status } = await this.#claims.beat(claims, { ...this.#process, rate: this.rate, underWay })
    this.#status = status
    const gone = new Set(lost)
    for (const one of held) if (gone.has(one.claim)) one.lose()
  }

  /** `broken`: the database was away for too long. */
  begin(own: () => Own, broken: (fault: Fault) => void): { stop(): Promise<void> } {
    this.#running = this.#beat(own).catch(error => broken(Fault.from(error)))
    return { stop: () => this.close() }
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #beat(own: () => Own): Promise<void> {
    const pause = Math.min(LONGEST_PAUSE_MS, (this.#seconds * 1000) / 3)
    const { signal } = this.#stop
    for (;;) {
      await sleep(pause, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      await this.once(own())
    }
  }
}
