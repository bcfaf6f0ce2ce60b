/** What was put aside, and its end. */
import { Fault } from '../fault.ts'
import type { Stat } from '../stores/store.ts'
import type { Place } from '../verify/place.ts'
import { StoreClock } from '../verify/store-clock.ts'
import { batches } from './context.ts'
import { refuseWrongClock } from './repair.ts'

export interface TrashTally {
  /** What was in the trash. */
  objects: number
  bytes: number
  /** What is old enough: what was removed, or would be. */
  removed: number
  removedBytes: number
  failures: number
}

export interface EmptyOptions {
  readonly place: Place
  readonly olderThanMs: number
  /** Whether anything is removed. */
  readonly yes: boolean
  onRemoved(stat: Stat): void
  onFailure(error: unknown): void
}

const TOGETHER = 1_000

/** The age is that in the trash: the time since it was put there. */
export async function emptyTrash(options: EmptyOptions, signal: AbortSignal): Promise<TrashTally> {
  const { place, olderThanMs, yes, onRemoved, onFailure } = options
  const tally: TrashTally = { objects: 0, bytes: 0, removed: 0, removedBytes: 0, failures: 0 }
  const clock = new StoreClock()
  for await (const stat of trashOf(place, signal)) {
    clock.learn(stat)
    tally.objects++
    tally.bytes += stat.size
  }
  refuseWrongClock(clock.skewMs)
  let old: Stat[] = []
  const removeOld = async () => {
    for (const some of batches(old, TOGETHER)) {
      const removals = yes
        ? await place.store.removeMany(
            some.map(({ key }) => key),
            signal,
          )
        : undefined
      for (const stat of some) {
        const removal = removals ? removals.get(stat.key) : 'gone'
        if (removal === 'gone') {
          tally.removed++
          tally.removedBytes += stat.size
          onRemoved(stat)
        } else {
          tally.failures++
          const where = { verb: 'remove', store: place.store.name, key: stat.key }
          onFailure(removal ?? new Fault('Unavailable', 'nothing is known of its removal', { where }))
        }
      }
    }
    old = []
  }
  for await (const stat of trashOf(place, signal)) {
    if (!clock.isOlder(stat.modified.getTime(), olderThanMs)) continue
    old.push(stat)
    if (old.length === TOGETHER) await removeOld()
  }
  await removeOld()
  return tally
}

async function* trashOf(place: Place, signal: AbortSignal): AsyncIterable<Stat> {
  for await (const stat of place.store.list(place.trashPrefix, signal)) {
    signal.throwIfAborted()
    if (place.isInTrash(stat.key)) yield stat
  }
}
