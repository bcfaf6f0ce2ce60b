import { Crew } from '../bulk/crew.ts'
import { Fault, isCode } from '../fault.ts'
import type { Removals } from '../stores/store.ts'
import type { Finding } from '../verify/finding.ts'
import type { Place } from '../verify/place.ts'
import { batches, placeOf, type RepairContext } from './context.ts'
import { copyAside } from './put-aside.ts'
import { removeTogether } from './remove-together.ts'

export type Away = 'trash' | 'delete'

/** Objects of one removal: as many as S3 takes in one request. */
const TOGETHER = 1_000
/** When a store refuses so many removals and carries out none, it refuses the next ones, too. */
const MOST_REFUSED = 20

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
  const removals = await removeTogether(
    store,
    copied.map(({ key }) => key),
    signal,
  ).catch(error => {
    for (const finding of copied) onFailure(unknown(finding)) // some of them may be gone
    throw error
  })
  let refused = 0
  let broken: unknown
  for (const finding of copied) {
    const removal = removals.get(finding.key)
    if (removal !== 'gone') {
      refused++
      onFailure(removal ?? unknown(finding))
      continue
    }
    try {
      onRepaired(repairedBy(finding, how, place))
    } catch (error) {
      broken ??= error // of the report: the others must still be counted, because they are gone
    }
  }
  if (broken !== undefined) throw broken
  if (refused === copied.length && refused >= MOST_REFUSED) throw noneOf(copied.length, removals, copied[0] as Finding)
}

/** Such as by a retention, or for want of a permission: without an end here, each object would go to the trash. */
function noneOf(count: number, removals: Removals, first: Finding): Fault {
  const removal = removals.get(first.key)
  const cause = removal instanceof Fault ? removal : unknown(first)
  return new Fault(cause.code, `none of ${count} objects could be removed`, {
    cause,
    where: { store: first.store },
    remedy: 'Remove the cause that the lines above name (a permission, a retention), then run the command again.',
  })
}

function repairedBy(finding: Finding, how: Away, place: Place) {
  return { finding, how, ...(how === 'trash' && { with: place.trashKeyOf(finding.key) }) }
}

function unknown({ key, store }: Finding): Fault {
  return new Fault('Unavailable', 'nothing is known of its removal', { where: { verb: 'remove', store, key } })
}
