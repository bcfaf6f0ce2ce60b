import type { LeaseSeen } from './lease-folder.ts'

/** Unchanged for so long, a lease has no living holder. The holder changes it every five seconds. */
const PATIENCE_MS = 30_000
/** After a longer gap between two looks, the count begins again: this process, or the disk, was paused meanwhile. */
const GAP_MS = 10_000

/** Tells whether a holder may be alive, by the clock of this process only: the clocks of two machines differ. */
export class LeaseWatch {
  readonly #now: () => number
  #text: string | undefined
  #unchangedSince = 0
  #lastLook = 0

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  mayLive({ id, text }: LeaseSeen): boolean {
    const now = this.#now()
    const seen = `${id} ${text}`
    if (seen !== this.#text || now - this.#lastLook > GAP_MS) {
      this.#text = seen
      this.#unchangedSince = now
    }
    this.#lastLook = now
    return now - this.#unchangedSince < PATIENCE_MS
  }
}
