/**
 * What reading ahead may cost: bytes that are fetched and that nobody reads. An eighth of what is delivered may be
 * wasted, and once an allowance more.
 */

/** What a request costs beside its bytes: a store takes as long for it, and often as much money. */
export const REQUEST_BYTES = 32 * 1024

const SHARE = 1 / 8
/** So much may always be risked: with a reader who goes on in order, this is much; with one who jumps, nothing. */
const ALWAYS = 4 * REQUEST_BYTES

export class Account {
  readonly #allowance: number
  /** Never above the allowance: good guesses of long ago do not pay for bad ones. Nor as far below zero. */
  #balance: number

  constructor(allowance: number) {
    this.#allowance = allowance
    this.#balance = allowance
  }

  /** A file, or a part of one, went to Orthanc, wherever it came from. */
  delivered(bytes: number): void {
    this.#balance = Math.min(this.#balance + bytes * SHARE, this.#allowance)
  }

  /** Nobody read what was fetched. */
  wasted(bytes: number): void {
    this.#balance = Math.max(this.#balance - bytes, -this.#allowance)
  }

  /** `risk`: what will be wasted, by what is known at this moment. */
  allows(risk: number): boolean {
    return risk <= Math.max(this.#balance, ALWAYS)
  }
}
