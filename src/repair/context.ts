import type { MoveTurns } from '../area/turns.ts'
import type { OrthancIndex } from '../orthanc-index/orthanc-index.ts'
import type { Finding } from '../verify/finding.ts'
import type { Place } from '../verify/place.ts'

/** One thing that was repaired or, in a dry run, would be. */
export interface Repaired {
  readonly finding: Finding
  readonly how: 'trash' | 'delete' | 'fetch' | 'discard'
  /** The key in the trash; where it was fetched from. */
  readonly with?: string
}

/** Of a site with two places. */
export interface TwoTiers {
  /** Rejects unless they are proven to be two: else the double is the file itself. */
  apart(signal: AbortSignal): Promise<void>
  /** Of those that move, in any process. */
  readonly turns: MoveTurns
}

/** What all repairs need. */
export interface RepairContext {
  readonly index: OrthancIndex
  /** The one of new files first. */
  readonly places: readonly Place[]
  readonly tiers?: TwoTiers | undefined
  /** Objects in work at once. */
  readonly concurrency: number
  /** Whether anything is changed. */
  readonly yes: boolean
  onRepaired(repaired: Repaired): void
  /** It is not wrong any more, when it is looked at again: nothing was to do. */
  onSettled(finding: Finding): void
  /** It stays as it is. */
  onFailure(error: unknown): void
}

/** The index is asked about so many at a time: in PostgreSQL, each question reads its table from end to end. */
const BATCH = 5_000

export function* batches<T>(all: Iterable<T>, size = BATCH): Iterable<readonly T[]> {
  let batch: T[] = []
  for (const one of all) {
    batch.push(one)
    if (batch.length < size) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}

export function placeOf({ places }: Pick<RepairContext, 'places'>, { store }: Finding): Place {
  return places.find(place => place.store.name === store) as Place
}
