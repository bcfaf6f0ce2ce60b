import type { Stat } from '../stores/store.ts'

/**
 * The time of a store, as far as the store itself tells it, so that the age of its objects does not depend on the clock
 * of this machine. Where it tells no time, it is no earlier than that of its newest object. This machine's clock can
 * only make objects younger: a single object with a date in the future must not make all others old.
 */
export class StoreClock {
  readonly #localNow: () => number
  #told = Number.NEGATIVE_INFINITY
  #newest = Number.NEGATIVE_INFINITY
  #behindMs = Number.POSITIVE_INFINITY
  #aheadMs = Number.NEGATIVE_INFINITY

  constructor(localNow: () => number = Date.now) {
    this.#localNow = localNow
  }

  learn({ asOf, modified }: Pick<Stat, 'asOf' | 'modified'>): void {
    if (asOf) {
      this.#told = Math.max(this.#told, asOf.getTime())
      const behind = this.#localNow() - asOf.getTime()
      // A page of a listing is some time old when its last object is looked at, so the smallest difference counts. But
      // no page can be of a later time: one server of several that is ahead would make young objects old.
      this.#behindMs = Math.min(this.#behindMs, behind)
      this.#aheadMs = Math.max(this.#aheadMs, -behind)
    }
    const written = modified.getTime()
    if (written > this.#newest && written <= this.#localNow()) this.#newest = written
  }

  /** What was learnt, in milliseconds since 1970, for the clock of another process; null = nothing. */
  get learnt(): { readonly told: number | null; readonly newest: number | null } {
    const known = (time: number) => (Number.isFinite(time) ? time : null)
    return { told: known(this.#told), newest: known(this.#newest) }
  }

  get source(): 'store' | 'newest object' | undefined {
    if (Number.isFinite(this.#told)) return 'store'
    return Number.isFinite(this.#newest) ? 'newest object' : undefined
  }

  /** How far the store's time is from that of this machine, in milliseconds. 0 where the store tells none. */
  get skewMs(): number {
    return Number.isFinite(this.#behindMs) ? Math.max(this.#behindMs, this.#aheadMs) : 0
  }

  /**
   * Whether an object that was written at `modified` (milliseconds since 1970, or NaN) is surely as old as that. Every
   * object with a date has the age of 0, also within the second that a `Date` of HTTP stands for.
   */
  isOlder(modified: number, ageMs: number): boolean {
    if (ageMs === 0) return !Number.isNaN(modified)
    const now = Number.isFinite(this.#told) ? this.#told : this.#newest
    return now - modified >= ageMs // never true of NaN
  }
}
