import type { Headers } from './dialect.ts'

/** Providers refuse signatures and tokens that are older or younger than this. */
const TOLERATED_MS = 5 * 60_000

const [EARLIEST, LATEST] = [Date.UTC(2020), Date.UTC(2120)]

/** NaN for a date that cannot be right: nothing can be signed with it. */
export function dateOf(headers: Headers): number {
  const date = Date.parse(String(headers['date']))
  return date > EARLIEST && date < LATEST ? date : Number.NaN
}

/** What to do about a refusal when the server's Date shows that this machine's clock is wrong; else undefined. */
export function clockRemedy(headers: Headers, now = Date.now()): string | undefined {
  const off = now - dateOf(headers)
  if (!(Math.abs(off) > TOLERATED_MS)) return undefined
  return `This machine's clock is ${wrongBy(off)} the server's: synchronise it (NTP).`
}

function wrongBy(off: number): string {
  return `${Math.round(Math.abs(off) / 60_000)} minutes ${off > 0 ? 'ahead of' : 'behind'}`
}

/** The time that a store's requests are signed with: this machine's, until the store itself says that it is wrong. */
export class Clock {
  readonly #warn: (line: string) => void
  #offset = 0

  constructor(warn: (line: string) => void) {
    this.#warn = warn
  }

  now(): number {
    return Date.now() + this.#offset
  }

  /**
   * `headers`: of a refusal that certainly comes from the store. True = its Date differs from the time that requests
   * are signed with, which is now corrected.
   */
  learn(headers: Headers): boolean {
    const theirs = dateOf(headers)
    if (!(Math.abs(theirs - this.now()) > TOLERATED_MS)) return false
    const now = Date.now()
    const wrong = Math.abs(theirs - now) > TOLERATED_MS
    this.#offset = wrong ? theirs - now : 0
    this.#warn(
      wrong
        ? `this machine's clock is ${wrongBy(now - theirs)} the store's: until it is synchronised (NTP), requests are signed with the store's time`
        : "this machine's clock is right again: requests are signed with its time",
    )
    return true
  }
}
