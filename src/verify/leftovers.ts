/** What unfinished writes left behind in the places, as far as it is old and has a key of Orthanc's. */
import { setImmediate as turn } from 'node:timers/promises'
import { Fault, isCode } from '../fault.ts'
import type { Leftover } from '../stores/store.ts'
import type { Listed } from './fill.ts'
import type { Finding } from './finding.ts'

/** After so many, others have their turn: progress, and Ctrl-C. */
const TURN = 1_000

/** A finding, or why it is none: see PlaceTally. */
type Verdict = Finding | 'strangers' | 'undated' | 'young'

/** All those of a place with what they are. Rejects when they cannot be listed. */
export async function* judgedLeftovers(
  listed: Listed,
  olderThanMs: number,
  signal: AbortSignal,
): AsyncIterable<readonly [Leftover, Verdict]> {
  const { place, clock } = listed
  let seen = 0
  for await (const leftover of place.store.leftovers(place.prefix, signal)) {
    clock.learn({ modified: leftover.started, asOf: leftover.asOf })
    yield [leftover, verdictOf(leftover, listed, olderThanMs)]
    if (++seen % TURN === 0) await turn()
    signal.throwIfAborted()
  }
}

/** A place that does not list them is no failure of the run: it is told with the reason. */
export async function findLeftovers(
  listed: Listed,
  olderThanMs: number,
  onFinding: (finding: Finding) => void,
  signal: AbortSignal,
): Promise<void> {
  const { leftovers } = listed.tally
  try {
    for await (const [, verdict] of judgedLeftovers(listed, olderThanMs, signal)) {
      if (typeof verdict === 'string') leftovers[verdict]++
      else onFinding(verdict)
    }
    leftovers.notLookedFor = undefined
  } catch (error) {
    if (isCode(error, 'Canceled') || signal.aborted) throw error
    leftovers.notLookedFor = Fault.from(error).describe()
  }
}

function verdictOf(leftover: Leftover, { place, clock }: Listed, olderThanMs: number): Verdict {
  const { key, what, size, started } = leftover
  const parsed = place.parse(key)
  if (!parsed) return 'strangers'
  if (Number.isNaN(started.getTime())) return 'undated'
  if (!clock.isOlder(started.getTime(), olderThanMs)) return 'young'
  const bytes = size === undefined ? '' : ` of ${size} bytes`
  const found = what === 'unfinished upload' ? `an upload${bytes} that began` : `a temporary file${bytes}, last written`
  return {
    kind: 'leftover',
    uuid: parsed.uuid,
    type: place.typeOf(parsed.name),
    key,
    store: place.store.name,
    expected: 'nothing, that write has ended',
    found: `${found} ${started.toISOString()}`,
  }
}
