/** What `verify --repair` may change, and when. */
import type { Tier } from '../area/tier.ts'
import { Fault } from '../fault.ts'
import type { Scratch } from '../verify/scratch.ts'
import { dayOf, type Verification } from '../verify/verify.ts'
import { placeOf, type RepairContext } from './context.ts'
import { type MovesRun, removeDoubles } from './doubles.ts'
import { fetchMissing } from './fetch-missing.ts'
import { reasonsToKeep } from './orphan-rules.ts'
import { type Away, removeOrphans } from './orphans.ts'
import { removeLeftovers } from './remove-leftovers.ts'

/** What a person asked for. */
export interface Repairs {
  readonly orphans?: Away
  readonly doubles?: Away
  readonly leftovers?: true
  /** Where to fetch missing files from. */
  readonly missing?: readonly Tier[]
}

export interface RepairOptions extends RepairContext {
  readonly repairs: Repairs
  /** How many orphans a person has counted. */
  readonly expect: number | undefined
  /** Rejects unless it is proven that index and stores belong together. */
  proveBelonging(signal: AbortSignal): Promise<void>
  /** undefined: nobody can be asked. */
  readonly movesRun: MovesRun | undefined
}

/** Ages are differences of times. */
const LARGEST_SKEW_MS = 5 * 60_000

/**
 * After a verification that came to its end. Each kind that may not be repaired rejects with all reasons, before
 * anything of that kind is changed. What fails alone is told, and the others go on.
 */
export async function repair(
  verification: Pick<Verification, 'tally' | 'skewMs' | 'knownDays' | 'listed' | 'olderThanMs'>,
  scratch: Pick<Scratch, 'findings'>,
  options: RepairOptions,
  signal: AbortSignal,
): Promise<void> {
  const { repairs, movesRun } = options
  refuseWrongClock(verification.skewMs)
  await options.proveBelonging(signal)
  if (repairs.missing) await fetchMissing(scratch.findings('missing'), repairs.missing, options, signal)
  if (repairs.doubles) {
    if (!movesRun)
      throw new Fault('BadRequest', 'doubles are removed only when Orthanc says that it moves no file', {
        remedy: 'Give the URL of the running Orthanc: --orthanc http://localhost:8042.',
      })
    await removeDoubles(scratch.findings('double'), repairs.doubles, movesRun, options, signal)
  }
  if (repairs.leftovers)
    for (const listed of verification.listed) await removeLeftovers(listed, verification.olderThanMs, options, signal)
  if (repairs.orphans) {
    refuseDoubtfulOrphans(verification, scratch, options)
    await removeOrphans(scratch.findings('orphan'), repairs.orphans, options, signal)
  }
}

export function refuseWrongClock(skewMs: number): void {
  if (skewMs <= LARGEST_SKEW_MS) return
  const minutes = Math.round(skewMs / 60_000)
  throw new Fault('BadRequest', `the clocks of the store and of this machine differ by ${minutes} minutes`, {
    remedy: 'One of them is wrong, so nothing is removed by its age. Set the clock (NTP), then run the command again.',
  })
}

function refuseDoubtfulOrphans(
  { tally, knownDays }: Pick<Verification, 'tally' | 'knownDays'>,
  scratch: Pick<Scratch, 'findings'>,
  options: RepairOptions,
): void {
  const counts = tally.places.map(place => ({ ...place, orphans: 0, ofLostDays: 0, days: new Set<number>() }))
  for (const finding of scratch.findings('orphan')) {
    const at = options.places.indexOf(placeOf(options, finding))
    const count = counts[at]
    if (!count) continue
    count.orphans++
    const day = dayOf(finding.modified ?? 0)
    if (knownDays[at]?.has(day)) continue
    count.ofLostDays++
    count.days.add(day)
  }
  const places = counts.map(({ days, ...place }) => ({ ...place, lostDays: [...days] }))
  const { indexed, present } = tally
  const reasons = reasonsToKeep({ indexed, present, places, expected: options.expect })
  if (reasons.length === 0) return
  throw new Fault('BadRequest', `no orphan is removed: ${reasons.join('; ')}`, { remedy: '' })
}
