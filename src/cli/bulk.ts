/** What all commands of bulk work have in common: the state file, progress, `--json`, what is printed, exit codes. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Alone, type Outcome } from '../bulk/alone.ts'
import { State } from '../bulk/state.ts'
import type { BulkWork, ShardTally } from '../bulk/work.ts'
import { Fault, messageWithoutPath } from '../fault.ts'
import { type BulkArguments, failSome, MOST_LINES, report, type Wording } from './bulk-report.ts'
import { JsonLines } from './json-lines.ts'
import { withProgress } from './progress.ts'
import { fail, note } from './terminal.ts'
import { rate, timeOf } from './verify-progress.ts'

export type { BulkArguments, Wording } from './bulk-report.ts'

/**
 * Runs all shards of `work` on this machine, or with `--queue` on all that run the same command, and reports. Exit
 * code 1 when something failed. Rejects when it could not be finished, after the report of what was done: the caller
 * says with failWith(3) what that means.
 */
export async function runBulk(
  work: BulkWork<ShardTally>,
  options: BulkArguments,
  wording: Wording,
  stop: AbortSignal,
): Promise<Outcome> {
  if (options.queue !== undefined)
    return await (await import('./bulk-queue.ts')).runQueued(work, options, wording, stop)
  if (options.state !== undefined && options.json !== undefined && resolve(options.json) === resolve(options.state))
    throw new Fault('BadRequest', '--json and --state name one file', {
      remedy: 'Give each of them a file of its own.',
    })
  const json = new JsonLines(options.json)
  const own = options.state === undefined ? ownFolder() : undefined
  let state: State | undefined
  try {
    state = new State(options.state ?? join(own ?? '', 'state'), { command: work.name, ...work.identity })
    let failures = 0
    const onFailure = (fault: Fault) => {
      if (++failures <= MOST_LINES || wording.tellsAllFailures) fail(fault)
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
    if (failures > 0) failSome(failures, wording)
    else if (options.state !== undefined) state.remove()
    return outcome
  } finally {
    state?.close()
    json.close()
    if (own !== undefined) rmSync(own, { recursive: true, force: true })
  }
}

function ownFolder(): string {
  try {
    return mkdtempSync(join(tmpdir(), 'orthanc-cloud-storage-'))
  } catch (cause) {
    throw new Fault('BadRequest', `no state file can be made in ${tmpdir()}: ${messageWithoutPath(cause)}`, {
      cause,
      remedy: 'Name a file with --state, or another folder with TMPDIR.',
    })
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
