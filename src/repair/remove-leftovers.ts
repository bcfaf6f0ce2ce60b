import { Fault } from '../fault.ts'
import type { Listed } from '../verify/fill.ts'
import { judgedLeftovers } from '../verify/leftovers.ts'
import type { RepairContext } from './context.ts'

/** Discards what unfinished writes left behind in a place. They are listed once more: what has ended is not there. */
export async function removeLeftovers(
  listed: Listed,
  olderThanMs: number,
  { yes, onRepaired, onFailure }: RepairContext,
  signal: AbortSignal,
): Promise<void> {
  const { store } = listed.place
  for await (const [leftover, verdict] of judgedLeftovers(listed, olderThanMs, signal)) {
    if (typeof verdict === 'string') continue
    try {
      if (yes) await store.removeLeftover(leftover, signal)
      onRepaired({ finding: verdict, how: 'discard' })
    } catch (error) {
      if (signal.aborted) throw error
      onFailure(Fault.from(error, { store: store.name, key: leftover.key }))
    }
  }
}
