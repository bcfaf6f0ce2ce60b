/**
 * What reading ahead may cost: bytes that are fetched and that nobody reads. Their share of all that is delivered stays
 * below an eighth, after an allowance at the beginning.
 */

/** What a request costs beside its bytes: a store takes as long for it, and often as much money. */
export const REQUEST_BYTES = 32 * 1024

const SHARE = 1 / 8

export class Account {
  readonly #allowance: number
  #delivered = 0
  #wasted = 0

  constructor(allowance: number) {
    this.#allowance = allowance
  }

  /** A file, or a part of one, went to Orthanc, wherever it came from. */
  delivered(bytes: number): void {
    this.#delivered += bytes
    if (this.#delivered * SHARE < this.#allowance * 8) return
    // Long years of good guesses must not pay for a bad day.
    this.#delivered /= 2
    this.#wasted /= 2
  }

  /** Nobody read what was fetched. */
  wasted(bytes: number): void {
    this.#wasted += bytes
  }

  /** `risk`: what will be wasted if the guesses of this moment are wrong. */
  allows(risk: number): boolean {
    return this.#wasted + risk <= this.#allowance + this.#delivered * SHARE
  }
}
