import { amount } from '../bytes.ts'
import type { Verification } from '../verify/verify.ts'
import type { Position } from './progress.ts'

/** Before so much is done, the time that is left would be a guess. */
const ENOUGH = 0.02

/** How far a verification is, how fast it goes, and how long it will take. */
export class VerifyProgress {
  readonly #verification: Pick<Verification, 'phase' | 'share' | 'tally' | 'listedAt'>
  readonly #deep: boolean
  readonly #now: () => number
  readonly #start: number

  /** `now`: milliseconds. */
  constructor(
    verification: Pick<Verification, 'phase' | 'share' | 'tally' | 'listedAt'>,
    deep: boolean,
    now = () => performance.now(),
  ) {
    this.#verification = verification
    this.#deep = deep
    this.#now = now
    this.#start = now()
  }

  /** Since the beginning. */
  get seconds(): number {
    return (this.#now() - this.#start) / 1000
  }

  get position(): Position {
    const { phase, share, tally, listedAt } = this.#verification
    const objects = tally.places.reduce((sum, place) => sum + place.objects + place.strangers, 0)
    if (phase === 'listing')
      return {
        share: undefined,
        text: `${tally.indexed} files in the index, ${objects} objects listed, ${rate(tally.indexed + objects, this.seconds)}`,
      }
    const seconds = (this.#now() - listedAt) / 1000
    const found = Object.values(tally.findings).reduce((sum, count) => sum + count, 0)
    if (phase === 'looking again')
      return { share, text: `${tally.suspects} to be looked at again, ${found} found, ${tally.settled} well` }
    const { files, bytes } = tally.read
    const parts = [
      this.#deep ? `${files} files read (${amount(bytes)}), ${rate(files, seconds)}` : 'comparing',
      `${tally.suspects} look wrong`,
      ...(share >= ENOUGH && share < 1 ? [`${timeOf((seconds * (1 - share)) / share)} left`] : []),
    ]
    return { share, text: parts.join(', ') }
  }
}

export const rate = (count: number, seconds: number) => `${Math.round(count / Math.max(seconds, 0.001))} a second`

/** For people: `3 minutes`. */
export function timeOf(seconds: number): string {
  const units: readonly [string, number][] = [
    ['day', 86_400],
    ['hour', 3_600],
    ['minute', 60],
    ['second', 1],
  ]
  const [name, size] = units.find(([, length]) => seconds >= 2 * length) ?? (['second', 1] as const)
  const count = Math.round(seconds / size)
  return `${count} ${name}${count === 1 ? '' : 's'}`
}
