/** `verify --queue` and `verify --state`: in shards, by many processes or by one that may be killed. */
import { tmpdir } from 'node:os'
import type { Outcome } from '../bulk/alone.ts'
import type { Tally } from '../bulk/work.ts'
import { SHARDS } from '../bulk/work.ts'
import { Fault } from '../fault.ts'
import { type SharedOptions, SharedVerification } from '../verify/shared.ts'
import { fromLine, tallyOf } from '../verify/shared-lines.ts'
import { isStrange, type VerifyTally } from '../verify/tally.ts'
import { runBulk, type Wording } from './bulk.ts'
import type { JsonLines } from './json-lines.ts'
import { fail, note } from './terminal.ts'
import { type ReportOptions, VerifyReport } from './verify-report.ts'

export interface SharedArguments extends ReportOptions {
  readonly config: readonly string[]
  readonly queue?: string
  readonly state?: string
  readonly scratch?: string
}

/** Throws `BadRequest` when the options do not fit together. */
export function checkShared(options: SharedArguments & { readonly emptyTrash?: true }): void {
  const { queue, state, repair, emptyTrash } = options
  const bad = (message: string, remedy: string) => new Fault('BadRequest', message, { remedy })
  const shared = queue === undefined ? '--state' : '--queue'
  if (queue !== undefined && state !== undefined)
    throw bad(
      '--state and --queue are given together',
      'Leave --state out: the database of the queue keeps what is done.',
    )
  if (queue === undefined && state === undefined) return
  if (repair)
    throw bad(
      `--repair and ${shared} are given together`,
      `A repair is done by one process: run verify --repair afterwards, without ${shared}.`,
    )
  if (emptyTrash) throw bad(`--empty-trash and ${shared} are given together`, `Leave ${shared} out.`)
}

/** Exit code 1 when something was found. Rejects when it could not be finished. */
export async function verifyShared(
  how: Omit<SharedOptions, 'scratch'>,
  options: SharedArguments,
  stop: AbortSignal,
): Promise<void> {
  const work = new SharedVerification({ ...how, scratch: options.scratch ?? tmpdir() })
  if (options.state !== undefined)
    stop.addEventListener('abort', () => note('interrupted; what was found so far follows'))
  const { stores } = work
  const print = (outcome: Outcome, json: JsonLines, seconds: number) =>
    printReport(outcome, new VerifyReport(options, json), { stores, index: how.index.name, seconds })
  const outcome = await runBulk(work, options, wordingOf(stores, { print, failed: failLooks }), stop)
  const tally = tallyOf(outcome.tally, stores)
  const found = Object.values(tally.findings).some(count => count > 0)
  if (outcome.complete && (found || isStrange(tally))) process.exitCode ??= 1
}

/** Nothing is known of so many files. */
export function failLooks(failures: number): void {
  fail(
    new Fault('Unavailable', `${failures} of the looks at files failed, so nothing is known of these`, {
      remedy: 'Remove the cause that the lines above name, then run the same command again.',
    }),
  )
}

async function printReport(
  { tally: counts, complete, lines }: Outcome,
  report: VerifyReport,
  run: { readonly stores: readonly string[]; readonly index: string; readonly seconds: number },
): Promise<void> {
  const { shared, ...tally } = tallyOf(counts, run.stores)
  // Of a last step that did not come to its end, there are lines, and no counts.
  for (const kind of Object.keys(tally.findings)) tally.findings[kind as keyof typeof tally.findings] = 0
  for await (const line of lines()) {
    const some = fromLine(line)
    if (some.kind === 'found') {
      report.add(some.finding)
      tally.findings[some.finding.kind]++
    } else if (some.kind === 'suspect' && !complete && tally.suspects > 0) {
      for (const finding of some.findings ?? []) report.notLookedAtAgain(finding)
    } else if (some.kind === 'end') {
      const place = tally.places[some.place]
      if (!place) continue
      place.clock = some.clock
      place.leftovers.notLookedFor = some.notLookedFor
    }
  }
  // Listings of shards do not show all of them.
  const places = tally.places.map(place => ({ ...place, strangers: null }))
  report.end({ tally: { ...tally, places }, complete, share: shared.compared / SHARDS }, run)
}

function wordingOf(stores: readonly string[], own: NonNullable<Wording['own']>): Wording {
  const objectsIn = ({ places }: VerifyTally) => places.reduce((sum, { objects }) => sum + objects, 0)
  return {
    own,
    position(counts) {
      const tally = tallyOf(counts, stores)
      const { indexed, suspects, settled, read, shared } = tally
      const found = Object.values(tally.findings).reduce((sum, count) => sum + count, 0)
      if (objectsIn(tally) + shared.compared === 0) return `${shared.read} files read from the index`
      const files = read.files > 0 ? `, ${read.files} read` : ''
      const again = found + settled > 0 ? `, ${found} found, ${settled} well` : ''
      return `${objectsIn(tally)} objects listed, ${indexed} files compared${files}, ${suspects} look wrong${again}`
    },
    done: (counts: Tally) => {
      const tally = tallyOf(counts, stores)
      return objectsIn(tally) + tally.indexed
    },
    sentence: () => undefined,
    summary: () => [],
  }
}
