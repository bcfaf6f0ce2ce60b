/** Bulk work that many processes share: the same output as on one machine, from the one that reports. */
import type { Outcome } from '../bulk/alone.ts'
import { type BulkWork, SHARDS, type ShardTally } from '../bulk/work.ts'
import { Fault } from '../fault.ts'
import { Many } from '../queue/many.ts'
import { type BulkArguments, failSome, MOST_LINES, report, type Wording } from './bulk-report.ts'
import { JsonLines } from './json-lines.ts'
import { withProgress } from './progress.ts'
import { queueSettings } from './queue-option.ts'
import { fail, note } from './terminal.ts'
import { timeOf } from './verify-progress.ts'

export interface QueuedArguments extends BulkArguments {
  /** For tests: how long a process may be silent. */
  readonly heartbeatSeconds?: number
}

/** As runBulk(). All processes return the outcome of the whole run, and end with the same exit code. */
export async function runQueued(
  work: BulkWork<ShardTally>,
  options: QueuedArguments,
  wording: Wording,
  stop: AbortSignal,
): Promise<Outcome> {
  if (options.state !== undefined)
    throw new Fault('BadRequest', '--state and --queue are given together', {
      remedy: 'Leave --state out: the database of the queue keeps what is done.',
    })
  JsonLines.check(options.json)
  const many = await joinRun(work, options, wording, stop)
  try {
    return await shareRun(many, options, wording, stop)
  } finally {
    await many.close()
  }
}

async function joinRun(
  work: BulkWork<ShardTally>,
  { queue = '', config, heartbeatSeconds }: QueuedArguments,
  wording: Wording,
  stop: AbortSignal,
): Promise<Many> {
  let failures = 0
  const many = await Many.join(
    {
      work,
      settings: queueSettings(queue, config),
      ...(heartbeatSeconds === undefined ? {} : { heartbeatSeconds }),
      pieces: tally => wording.done(tally),
      onFailure: fault => {
        if (++failures <= MOST_LINES || wording.tellsAllFailures) fail(fault)
      },
      onNote: note,
    },
    stop,
  )
  const { id, how } = many.joined
  const ago = `${timeOf(many.seconds)} ago`
  const name = `run ${shortId(id)}`
  if (how === 'new') note(`${name} begins; the same command on other machines takes part in it`)
  if (how === 'joined') note(`takes part in ${name}, which began ${ago}`)
  if (how === 'again') note(`goes on with ${name}, which began ${ago} and has shards left that failed`)
  return many
}

/** Enough to tell runs apart. */
export const shortId = (id: string) => id.slice(0, 8)

async function shareRun(many: Many, { json }: QueuedArguments, wording: Wording, stop: AbortSignal): Promise<Outcome> {
  const start = performance.now()
  const seconds = () => (performance.now() - start) / 1000
  let ended: Fault | undefined
  try {
    await withProgress(positionOf(many, wording, seconds), () => many.run(stop))
  } catch (error) {
    ended = Fault.from(error)
  }
  const { outcome, reporter } = many
  if (reporter === 'me' && ended?.code !== 'Canceled') {
    for (const line of await many.failuresElsewhere()) note(line)
    await reportWhole(many, json, wording)
  } else {
    sayPart(many, wording, json, seconds())
  }
  if (ended) throw ended
  const failures = Number(outcome.tally['failures'] ?? 0)
  if (failures > 0) failSome(failures, wording)
  return outcome
}

/** Only now the file is begun: other processes on this machine may have been given the same one. */
async function reportWhole(many: Many, path: string | undefined, wording: Wording): Promise<void> {
  const json = new JsonLines(path)
  try {
    await report(many.outcome, wording, json, many.seconds)
  } finally {
    json.close()
  }
  await many.reported()
}

function sayPart(many: Many, wording: Wording, json: string | undefined, seconds: number): void {
  const { shards, tally } = many.own
  const { reporter, joined } = many
  const by = reporter === undefined || reporter === 'me' ? undefined : `process ${reporter.pid} on ${reporter.host}`
  const part = { kind: 'part', run: joined.id, shards, reporter: by ?? null, ...tally, seconds: rounded(seconds) }
  if (json === '-') new JsonLines(json).write(part)
  note(`this process did ${shards} of the ${SHARDS} shards: ${wording.position(tally)}`)
  note(by === undefined ? goesOn(many.others.length) : `the whole report is printed by ${by}`)
}

const rounded = (seconds: number) => Number(seconds.toFixed(1))

function goesOn(others: number): string {
  if (others === 0) return 'nobody works on the run now; the same command goes on where it was'
  const by = others === 1 ? 'another process' : `${others} other processes`
  return `the run goes on in ${by}; the last one prints the whole report`
}

function positionOf(many: Many, wording: Wording, seconds: () => number) {
  let begun: number | undefined
  return () => {
    const { share, tally, rate, workers } = many.progress
    begun ??= share
    const gone = share - begun
    const left = gone > 0 && share < 1 ? `, ${timeOf((seconds() * (1 - share)) / gone)} left` : ''
    const by = workers === 1 ? '1 process' : `${workers} processes`
    return { share, text: `${wording.position(tally)}, ${Math.round(rate)} a second by ${by}${left}` }
  }
}
