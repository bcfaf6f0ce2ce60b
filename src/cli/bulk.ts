/** What all commands of bulk work have in common: the state file, progress, `--json`, what is printed, exit codes. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Alone, type Outcome } from '../bulk/alone.ts'
import { State } from '../bulk/state.ts'
import type { BulkWork, Line, ShardTally, Tally } from '../bulk/work.ts'
import { Fault } from '../fault.ts'
import { JsonLines } from './json-lines.ts'
import { withProgress } from './progress.ts'
import { fail, note, say } from './terminal.ts'
import { rate, timeOf } from './verify-progress.ts'

export interface BulkArguments {
  /** `--queue`: many processes share the work. */
  readonly queue?: string
  /** Of Orthanc: it says where its database is, for `--queue index`. */
  readonly config?: readonly string[]
  /** Keeps what is done, so that a later run goes on. */
  readonly state?: string
  readonly json?: string
}

/** What a command says of its own work. */
export interface Wording {
  /** Of the tally, for the line of progress: `12 objects copied (3.1 MB)`. */
  position(tally: Tally): string
  /** Pieces done, for the rate. */
  done(tally: Tally): number
  /** One line of the report, for people. Undefined: it is only for programs. */
  sentence(line: Line): string | undefined
  /** What the report ends with, for people. */
  summary(tally: Tally, complete: boolean): readonly string[]
}

/** With more failures, or lines of a kind, the rest is counted. */
export const MOST_LINES = 20

/**
 * Runs all shards of `work` on this machine, or with `--queue` on all that run the same command, and reports. Exit code 1 when something failed. Rejects when it could not
 * be finished, after the report of what was done: the caller says with failWith(3) what that means.
 */
export async function runBulk(
  work: BulkWork<ShardTally>,
  options: BulkArguments,
  wording: Wording,
  stop: AbortSignal,
): Promise<Outcome> {
  if (options.queue !== undefined)
    return await (await import('./bulk-queue.ts')).runQueued(work, options, wording, stop)
  const json = new JsonLines(options.json)
  const own = options.state === undefined ? mkdtempSync(join(tmpdir(), 'orthanc-cloud-storage-')) : undefined
  let state: State | undefined
  try {
    state = new State(options.state ?? join(own ?? '', 'state'), { command: work.name, ...work.identity })
    let failures = 0
    const onFailure = (fault: Fault) => {
      if (++failures <= MOST_LINES) fail(fault)
    }
    const alone = new Alone({ work, state, onFailure })
    const start = performance.now()
    const seconds = () => (performance.now() - start) / 1000
    let ended: Fault | undefined
    try {
      await withProgress(positionOf(alone, wording, seconds), () => alone.run(stop))
    } catch (error) {
      ended = Fault.from(error)
    }
    const { outcome } = alone
    await report(outcome, wording, json, seconds())
    if (ended) {
      if (options.state !== undefined) note(`the same command goes on where it was, because of --state`)
      throw ended
    }
    if (failures > 0) failSome(failures)
    else if (options.state !== undefined) state.remove()
    return outcome
  } finally {
    state?.close()
    json.close()
    if (own !== undefined) rmSync(own, { recursive: true, force: true })
  }
}

/** The end of a run in which single things failed. */
export function failSome(failures: number): void {
  fail(
    new Fault('Unavailable', `${failures} of them could not be done`, {
      remedy: 'Remove the cause that the lines above name, then run the same command again.',
    }),
  )
  process.exitCode = 1
}

function positionOf(alone: Alone, wording: Wording, seconds: () => number) {
  let begun: { readonly share: number; readonly done: number } | undefined
  return () => {
    const { share, tally } = alone.progress
    const done = wording.done(tally)
    begun ??= { share, done }
    const gone = share - begun.share
    const left = gone > 0 && share < 1 ? `, ${timeOf((seconds() * (1 - share)) / gone)} left` : ''
    return { share, text: `${wording.position(tally)}, ${rate(done - begun.done, seconds())}${left}` }
  }
}

/** Prints the whole report. */
export async function report(outcome: Outcome, wording: Wording, json: JsonLines, seconds: number): Promise<void> {
  const { tally, complete, lines } = outcome
  const shown = new Map<string, number>()
  for await (const line of lines()) {
    json.write(line)
    const sentence = json.ownsOutput ? undefined : wording.sentence(line)
    if (sentence === undefined) continue
    const count = (shown.get(line.kind) ?? 0) + 1
    shown.set(line.kind, count)
    if (count <= MOST_LINES) say(sentence)
  }
  json.write({ kind: 'summary', complete, ...tally, seconds: Number(seconds.toFixed(1)) })
  if (json.ownsOutput) return
  for (const [kind, count] of shown) if (count > MOST_LINES) say(`${kind}: ${count - MOST_LINES} more`)
  if (!complete) say('This report is partial: not everything could be done.')
  for (const line of wording.summary(tally, complete)) say(line)
  say(`took ${timeOf(seconds)}`)
}
