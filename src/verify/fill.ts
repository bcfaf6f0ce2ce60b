/** Brings the index and the listings into the scratch file. */
import { setImmediate as turn } from 'node:timers/promises'
import type { OrthancIndex } from '../orthanc-index/orthanc-index.ts'
import type { Stat } from '../stores/store.ts'
import type { Place } from './place.ts'
import type { Scratch, Seen } from './scratch.ts'
import type { StoreClock } from './store-clock.ts'
import type { PlaceTally, VerifyTally } from './tally.ts'

/** After so many rows, others have their turn: progress, and Ctrl-C. */
const TURN = 5_000

export async function fillFromIndex(
  index: OrthancIndex,
  scratch: Scratch,
  tally: VerifyTally,
  signal: AbortSignal,
): Promise<void> {
  for await (const batch of index.all(signal)) {
    for (const file of batch) scratch.addIndexed(file)
    tally.indexed += batch.length
    signal.throwIfAborted()
    await turn()
  }
}

export interface Listed {
  readonly place: Place
  /** Of the place. */
  readonly index: number
  readonly tally: PlaceTally
  readonly clock: StoreClock
}

/** Default: everything in the place. The order of the listing does not matter. */
export async function fillFromStore(
  listed: Listed,
  scratch: Pick<Scratch, 'addSeen'>,
  signal: AbortSignal,
  listing: AsyncIterable<Stat> = listed.place.store.list(listed.place.prefix, signal),
): Promise<void> {
  const { place, index, tally, clock } = listed
  for await (const stat of listing) {
    const found = place.parse(stat.key)
    if (!found && place.isInTrash(stat.key)) {
      tally.trash++
    } else if (!found) {
      tally.strangers++
    } else {
      scratch.addSeen(found.uuid, seenOf(stat, index, found.name))
      tally.objects++
      tally.bytes += stat.size
    }
    clock.learn(stat)
    if ((tally.objects + tally.strangers + tally.trash) % TURN === 0) await turn()
    signal.throwIfAborted()
  }
  tally.clock = clock.source
}

export function seenOf({ size, modified, md5 }: Stat, place: number, name: number): Seen {
  return { place, name, size, modified: modified.getTime(), md5 }
}
