import { Crew } from '../bulk/crew.ts'
import { Fault, isCode } from '../fault.ts'
import type { Finding } from '../verify/finding.ts'
import type { Place } from '../verify/place.ts'
import { batches, placeOf, type RepairContext } from './context.ts'
import { copyAside } from './put-aside.ts'

export type Away = 'trash' | 'delete'

/** Objects of one removal: as many as S3 takes in one request. */
const TOGETHER = 1_000

/**
 * Removes orphans, or moves them to the trash. The caller has proven that they may go. The index is asked about each of
 * them once more: an upload, or a restored database, may have brought it back.
 */
export async function removeOrphans(
  orphans: Iterable<Finding>,
  how: Away,
  context: RepairContext,
  signal: AbortSignal,
): Promise<void> {
  const { index, yes, onRepaired, onSettled } = context
  for (const batch of batches(orphans)) {
    const now = await index.find(new Set(batch.map(({ uuid }) => uuid)), signal)
    const left = batch.filter(({ uuid }) => !now.has(uuid))
    for (const finding of batch) if (now.has(finding.uuid)) onSettled(finding)
    for (const place of context.places) {
      const here = left.filter(finding => placeOf(context, finding) === place)
      for (const some of batches(here, TOGETHER)) {
        signal.throwIfAborted()
        if (yes) await removeAll(some, how, place, context, signal)
        else for (const finding of some) onRepaired(repairedBy(finding, how, place))
      }
    }
  }
}

/** Removes findings of one place. Those that go to the trash are copied there first. */
export async function removeAll(
  findings: readonly Finding[],
  how: Away,
  place: Place,
  context: RepairContext,
  signal: AbortSignal,
): Promise<void> {
  const { concurrency, onFailure, onRepaired, onSettled } = context
  const { store } = place
  let copied = findings
  if (how === 'trash') {
    const done: Finding[] = []
    const crew = new Crew(concurrency, onFailure)
    for (const finding of findings)
      await crew.add(async () => {
        try {
          await copyAside(store, finding.key, place.trashKeyOf(finding.key), signal)
          done.push(finding)
        } catch (error) {
          if (!isCode(error, 'NotFound')) throw Fault.from(error, { store: store.name, key: finding.key })
          onSettled(finding) // somebody else has removed it
        }
      })
    await crew.end()
    copied = done
  }
  if (copied.length === 0) return
  const removals = await store.removeMany(
    copied.map(({ key }) => key),
    signal,
  )
  for (const finding of copied) {
    const removal = removals.get(finding.key)
    if (removal === 'gone') onRepaired(repairedBy(finding, how, place))
    else onFailure(removal ?? unknown(finding))
  }
}

function repairedBy(finding: Finding, how: Away, place: Place) {
  return { finding, how, ...(how === 'trash' && { with: place.trashKeyOf(finding.key) }) }
}

function unknown({ key, store }: Finding): Fault {
  return new Fault('Unavailable', 'nothing is known of its removal', { where: { verb: 'remove', store, key } })
}
