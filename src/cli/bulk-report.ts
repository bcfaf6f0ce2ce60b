/** What all commands of bulk work are given, and what they say at the end, on one machine or many. */
import type { Outcome } from '../bulk/alone.ts'
import type { Line, Tally } from '../bulk/work.ts'
import { Fault } from '../fault.ts'
import type { JsonLines } from './json-lines.ts'
import { fail, say } from './terminal.ts'
import { timeOf } from './verify-progress.ts'

export interface BulkArguments {
  /** `--queue`: many processes share the work. */
  readonly queue?: string
  /** Of Orthanc: it says where its database is, for `--queue index`. */
  readonly config?: readonly string[]
  /** Keeps what is done, so that a later run goes on. */
  readonly state?: string
  readonly json?: string
}

export interface OwnReport {
  print(outcome: Outcome, json: JsonLines, seconds: number): Promise<void>
  /** Single things failed. */
  failed(failures: number): void
}

/** What a command says of its own work. */
export interface Wording {
  /** A report of its own, in place of the one that is common to bulk work. */
  readonly own?: OwnReport
  /** Of the tally, for the line of progress: `12 objects copied (3.1 MB)`. */
  position(tally: Tally): string
  /** Each failure is told at once, however many there are. Otherwise the rest is counted. */
  readonly tellsAllFailures?: boolean
  /** Pieces done, for the rate. */
  done(tally: Tally): number
  /** One line of the report, for people. Undefined: it is only for programs. */
  sentence(line: Line): string | undefined
  /** What the report ends with, for people. */
  summary(tally: Tally, complete: boolean): readonly string[]
  /** Prints one document in place of everything that would go to standard output. */
  document?(tally: Tally): void
  /** What programs get of the tally: lines of their own, and what is in the summary. Without it, all of it is there. */
  forPrograms?(tally: Tally): { readonly lines: readonly Line[]; readonly summary: Tally }
}

/** With more failures, or lines of a kind, the rest is counted. */
export const MOST_LINES = 20

/** The end of a run in which single things failed. */
export function failSome(failures: number, { own }: Wording): void {
  if (own) {
    own.failed(failures)
    return
  }
  fail(
    new Fault('Unavailable', `${failures} of them could not be done`, {
      remedy: 'Remove the cause that the lines above name, then run the same command again.',
    }),
  )
  process.exitCode = 1
}

/** Prints the whole report. */
export async function report(outcome: Outcome, wording: Wording, json: JsonLines, seconds: number): Promise<void> {
  if (wording.own) return await wording.own.print(outcome, json, seconds)
  if (wording.document) return wording.document(outcome.tally)
  try {
    await linesOf(outcome, wording, json, seconds)
  } finally {
    // Also when the file of --json cannot be written: what was done must not stay unknown.
    if (!json.ownsOutput) summaryOf(outcome, wording, seconds)
  }
}

async function linesOf(outcome: Outcome, wording: Wording, json: JsonLines, seconds: number): Promise<void> {
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
  const programs = wording.forPrograms?.(tally) ?? { lines: [], summary: tally }
  for (const line of programs.lines) json.write(line)
  json.write({ kind: 'summary', complete, ...programs.summary, seconds: Number(seconds.toFixed(1)) })
  if (json.ownsOutput) return
  for (const [kind, count] of shown) if (count > MOST_LINES) say(`${kind}: ${count - MOST_LINES} more`)
}

function summaryOf({ tally, complete }: Outcome, wording: Wording, seconds: number): void {
  if (!complete) say('This report is partial: not everything could be done.')
  for (const line of wording.summary(tally, complete)) say(line)
  say(`took ${timeOf(seconds)}`)
}
