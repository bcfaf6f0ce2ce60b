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
  /** What programs get of the tally: lines of their own, and what is in the summary. Without it, all of it is there. */
  forPrograms?(tally: Tally): { readonly lines: readonly Line[]; readonly summary: Tally }
}

/** With more failures, or lines of a kind, the rest is counted. */
const MOST_LINES = 20

/**
 * Runs all shards of `work` on this machine, and reports. Exit code 1 when something failed. Rejects when it could not
 * be finished, after the report of what was done: the caller says with failWith(3) what that means.
 */
export async function runBulk(
  work: BulkWork<ShardTally>,
  options: BulkArguments,
  wording: Wording,
  stop: AbortSignal,
): Promise<Outcome> {
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
    report(outcome, wording, json, seconds())
    if (ended) {
      if (options.state !== undefined) note(`the same command goes on where it was, because of --state`)
      throw ended
    }
    if (failures > 0)
      fail(
        new Fault('Unavailable', `${failures} of them could not be done`, {
          remedy: 'Remove the cause that the lines above name, then run the same command again.',
        }),
      )
    if (failures > 0) process.exitCode = 1
    else if (options.state !== undefined) state.remove()
    return outcome
  } finally {
    state?.close()
    json.close()
    if (own !== undefined) rmSync(own, { recursive: true, force: true })
  }
}

function positionOf(alone: Alone, wording: Wording, seconds: () => number) {
  const begun = { share: alone.progress.share, done: wording.done(alone.progress.tally) }
  return () => {
    const { share, tally } = alone.progress
    const done = wording.done(tally)
    const gone = share - begun.share
    const left = gone > 0 && share < 1 ? `, ${timeOf((seconds() * (1 - share)) / gone)} left` : ''
    return { share, text: `${wording.position(tally)}, ${rate(done - begun.done, seconds())}${left}` }
  }
}

function report({ tally, complete, lines }: Outcome, wording: Wording, json: JsonLines, seconds: number): void {
  const shown = new Map<string, number>()
  for (const line of lines()) {
    json.write(line)
    const sentence = json.ownsOutput ? undefined : wording.sentence(line)
    if (sentence === undefined) continue
    const count = (shown.get(line.kind) ?? 0) + 1
    shown.set(line.kind, count)
    if (count <= MOST_LINES) say(sentence)
  }
  const programs = wording.forPrograms?.(tally) ?? { lines: [], summary: tally }
  for (const line of programs.lines) json.write(line)
  json.write({ kind: 'summary', complete, ...programs.summary, seconds: Number(seconds.toFixed(1)) })
  if (json.ownsOutput) return
  for (const [kind, count] of shown) if (count > MOST_LINES) say(`${kind}: ${count - MOST_LINES} more`)
  if (!complete) say('This report is partial: not everything could be done.')
  for (const line of wording.summary(tally, complete)) say(line)
  say(`took ${timeOf(seconds)}`)
}
