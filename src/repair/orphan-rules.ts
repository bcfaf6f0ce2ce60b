/**
 * When orphans may be removed. What looks like an orphan may be a file of an Orthanc whose index was not read: of
 * another one, of one that was restored, of one that is empty because its database is new. So everything here is a
 * reason to refuse, and all of them are told.
 */
import type { PlaceTally } from '../verify/tally.ts'

export interface OrphanFacts {
  /** What the index has. */
  readonly indexed: number
  /** Those of them that at least one place has. */
  readonly present: number
  readonly places: readonly PlaceOfOrphans[]
  /** `--expect`: the number of orphans that a person has looked at. */
  readonly expected: number | undefined
}

export interface PlaceOfOrphans extends Pick<PlaceTally, 'store' | 'objects'> {
  /** Objects of files that the index has. */
  readonly known: number
  readonly orphans: number
  /** Days with orphans, of which the index has nothing there; and how many orphans these are. In days since 1970. */
  readonly lostDays: readonly number[]
  readonly ofLostDays: number
}

/** More of the index is missing where index and stores do not belong together. */
const MOST_MISSING = 0.5
/** So many of the objects may be orphans without the question whether that is right. */
const MOST_ORPHANS = 0.05

/** Empty: they may be removed. */
export function reasonsToKeep(facts: OrphanFacts): readonly string[] {
  const { indexed, present, places, expected } = facts
  const orphans = places.reduce((sum, place) => sum + place.orphans, 0)
  if (orphans === 0) return []
  if (indexed > 0 && present < indexed * (1 - MOST_MISSING))
    return [`${indexed - present} of the ${indexed} files in the index are missing: is it the index of this store?`]
  const asked = `Look at them, then say with --expect ${orphans} that so many are right.`
  if (expected !== undefined)
    return expected === orphans ? [] : [`there are ${orphans} orphans, and --expect says ${expected}`]
  if (indexed === 0) return [`the index is empty. ${asked}`]
  return places.flatMap(({ store, objects, known, orphans: here, lostDays, ofLostDays }) => {
    if (here === 0) return []
    if (known === 0) return [`nothing in ${store} is in the index: is it the index of this store? ${asked}`]
    const reasons = []
    if (here > objects * MOST_ORPHANS)
      reasons.push(`${here} of the ${objects} objects in ${store} would go, which is more than 5 %. ${asked}`)
    if (ofLostDays > 0)
      reasons.push(
        `${ofLostDays} of them in ${store} were written on days of which the index has nothing (${shown(lostDays)}): ` +
          `was the database restored from an older state? ${asked}`,
      )
    return reasons
  })
}

function shown(days: readonly number[]): string {
  const dates = [...days].sort((a, b) => a - b).map(day => new Date(day * 86_400_000).toISOString().slice(0, 10))
  return dates.length > 1 ? `${dates[0]} to ${dates.at(-1)}` : String(dates[0])
}
