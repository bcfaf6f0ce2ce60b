import { KINDS, type Kind } from './finding.ts'

/** What a verification has counted. */
export interface VerifyTally {
  /** Attachments in the index. */
  indexed: number
  /** Those of them that at least one place has. */
  present: number
  readonly places: PlaceTally[]
  readonly findings: Record<Kind, number>
  /** What looks wrong, and is still to be looked at again. */
  suspects: number
  /** What looked wrong and was not, when it was looked at again: files that were stored, removed or moved meanwhile. */
  settled: number
  /** Objects that the index does not have, too young to be called orphans. */
  young: number
  /** Objects whose removal Orthanc was promised already, and waits in the journal of removals. */
  promised: number
  /** Files that were read to their end, and what Orthanc would have got of them in bytes. */
  readonly read: { files: number; bytes: number }
  /** Those of them of which the index has no MD5: only their size, and their tag if they have one, was verified. */
  withoutMd5: number
  /** Objects whose MD5 the listing told, beside that of the index; and those of which nothing could be compared. */
  readonly digests: { same: number; unclear: number }
  /** Files of which nothing is known, because a look at them failed. */
  failures: number
}

export interface PlaceTally {
  /** Name of the store. */
  readonly store: string
  objects: number
  /** As they are stored. */
  bytes: number
  /** Keys that no file of Orthanc's has. */
  strangers: number
  /** Objects that an earlier run has put aside. */
  trash: number
  /** Objects of files that the index has. */
  known: number
  /**
   * By what the age of orphans was measured: `store`, its own time; `newest object`, because it tells no time;
   * undefined, because it has no objects.
   */
  clock: 'store' | 'newest object' | undefined
  /** What unfinished writes left behind, beside the findings. */
  readonly leftovers: LeftoverTally
}

export interface LeftoverTally {
  /** Why nobody knows of them; undefined = they were listed. */
  notLookedFor: string | undefined
  /** Too young: the write may be under way. */
  young: number
  /** The store does not tell how old they are. */
  undated: number
  /** Their key is one that no file of Orthanc's has. */
  strangers: number
}

interface Presence extends Pick<VerifyTally, 'indexed' | 'present'> {
  readonly places: readonly Pick<PlaceTally, 'objects'>[]
}

/**
 * Whether index and stores probably do not belong together: one of them is empty, or nothing of the index is in a
 * store. It means something only when everything was looked at.
 */
export function isStrange({ indexed, present, places }: Presence): boolean {
  const objects = places.reduce((sum, place) => sum + place.objects, 0)
  return present === 0 && (indexed > 0 || objects > 0)
}

const unseen = (): LeftoverTally => ({ notLookedFor: 'the run ended before', young: 0, undated: 0, strangers: 0 })

export const emptyTally = (stores: readonly string[]): VerifyTally => ({
  indexed: 0,
  present: 0,
  places: stores.map(store => ({
    ...{ store, objects: 0, bytes: 0, strangers: 0, trash: 0, known: 0, clock: undefined },
    leftovers: unseen(),
  })),
  findings: Object.fromEntries(KINDS.map(kind => [kind, 0])) as Record<Kind, number>,
  suspects: 0,
  settled: 0,
  young: 0,
  promised: 0,
  read: { files: 0, bytes: 0 },
  withoutMd5: 0,
  digests: { same: 0, unclear: 0 },
  failures: 0,
})

/** Whether a verification looks for this kind at all. A count of 0 must not stand for what nobody looked at. */
export function isLookedFor(
  kind: Kind,
  { deep = false, digests = false },
  { places }: { readonly places: readonly { readonly leftovers: Pick<LeftoverTally, 'notLookedFor'> }[] },
): boolean {
  if (kind === 'leftover') return places.some(({ leftovers }) => leftovers.notLookedFor === undefined)
  if (kind === 'unknown key') return deep
  return kind === 'corrupt' ? deep || digests : true
}
