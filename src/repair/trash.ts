/** What was put aside, and its end. */
import { Fault } from '../fault.ts'
import type { Stat } from '../stores/store.ts'
import type { Place } from '../verify/place.ts'
import { StoreClock } from '../verify/store-clock.ts'
import { removeTogether } from './remove-together.ts'
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

export const newTrashTally = (): TrashTally => ({ objects: 0, bytes: 0, removed: 0, removedBytes: 0, failures: 0 })

export interface EmptyOptions {
  readonly place: Place
  readonly olderThanMs: number
  /** Whether anything is removed. */
  readonly yes: boolean
  /** What is counted, also where it ends before its end. */
  readonly tally: TrashTally
  onRemoved(stat: Stat): void
  onFailure(error: unknown): void
}

const TOGETHER = 1_000

/** The age is that in the trash: the time since it was put there. */
export async function emptyTrash(options: EmptyOptions, signal: AbortSignal): Promise<void> {
  const { place, olderThanMs, yes, tally, onRemoved, onFailure } = options
  const clock = new StoreClock()
  for await (const stat of trashOf(place, signal)) {
    clock.learn(stat)
    tally.objects++
    tally.bytes += stat.size
  }
  // Where the store tells no time, nothing in the trash is older than the newest object in it: that of the others says
  // more.
  if (clock.source === 'newest object' && olderThanMs > 0)
    for await (const stat of place.store.list(place.prefix, signal)) {
      signal.throwIfAborted()
      clock.learn(stat)
    }
  refuseWrongClock(clock.skewMs)
  const notKnown = ({ key }: Stat) =>
    new Fault('Unavailable', 'nothing is known of its removal', {
      where: { verb: 'remove', store: place.store.name, key },
    })
  const removed = (some: readonly Stat[]) =>
    removeTogether(
      place.store,
      some.map(({ key }) => key),
      signal,
    ).catch(error => {
      tally.failures += some.length
      for (const stat of some) onFailure(notKnown(stat)) // some of them may be gone
      throw error
    })
  let old: Stat[] = []
  const removeOld = async () => {
    const some = old
    old = []
    let broken: unknown
    const removals = yes && some.length > 0 ? await removed(some) : undefined
    for (const stat of some) {
      const removal = yes ? removals?.get(stat.key) : 'gone'
      if (removal === 'gone') {
        tally.removed++
        tally.removedBytes += stat.size
        try {
          onRemoved(stat)
        } catch (error) {
          broken ??= error // of the report: the others must still be counted, because they are gone
        }
      } else {
        tally.failures++
        onFailure(removal ?? notKnown(stat))
      }
    }
    if (broken !== undefined) throw broken
  }
  for await (const stat of trashOf(place, signal)) {
    if (!clock.isOlder(stat.modified.getTime(), olderThanMs)) continue
    old.push(stat)
    if (old.length === TOGETHER) await removeOld()
  }
  await removeOld()
}

async function* trashOf(place: Place, signal: AbortSignal): AsyncIterable<Stat> {
  for await (const stat of place.store.list(place.trashPrefix, signal)) {
    signal.throwIfAborted()
    if (place.isInTrash(stat.key)) yield stat
  }
}
