import { tmpdir } from 'node:os'
import { loadKeyring } from '../config/key-file.ts'
import { Fault } from '../fault.ts'
import { keyring } from '../seal/keyring.ts'
import { Scratch } from '../verify/scratch.ts'
import { Verification } from '../verify/verify.ts'
import { placesOf, promisedIn } from '../verify-places.ts'
import { composeGuest, type GuestOptions, lookAtAll } from './compose-guest.ts'
import { emptyTrashOf } from './empty-trash.ts'
import { readConfig } from './orthanc-config.ts'
import { type IndexArguments, type OpenedIndex, openIndex } from './orthanc-index.ts'
import { withProgress } from './progress.ts'
import { fail, failWith, interruption, note, warn } from './terminal.ts'
import { VerifyProgress } from './verify-progress.ts'
import { openReplica, parseRepairs, type Replica, refuseReadOnly, repairFound } from './verify-repair.ts'
import { VerifyReport } from './verify-report.ts'

export interface VerifyArguments extends IndexArguments, GuestOptions {
  readonly digests?: true
  readonly deep?: true
  /** Milliseconds. */
  readonly olderThan: number
  /** Milliseconds. */
  readonly settle: number
  readonly json?: string
  readonly scratch?: string
  /** The words of `--repair`. */
  readonly repair?: readonly string[]
  /** Without it, a repair only says what it would do. */
  readonly yes?: true
  /** How many orphans a person has counted. */
  readonly expect?: number
  readonly emptyTrash?: true
}

/** With more failures, the rest is counted. */
const MOST_LINES = 20

/** `open`: for tests. */
export async function verify(options: VerifyArguments, open = openIndex): Promise<void> {
  failWith(3)
  const { concurrency, olderThan, digests = false, deep = false, yes = false, expect } = options
  const repairs = options.repair && parseRepairs(options.repair)
  const config = readConfig(options.config)
  if (!config) throw new Fault('BadConfig', 'the configuration has no section of a storage provider')
  if (options.emptyTrash) return await emptyTrashOf(config, options)
  if (repairs && yes) refuseReadOnly(config)
  const keys = config.encryption ? loadKeyring(config.encryption, warn) : keyring(undefined, [])
  const composition = composeGuest(config, options)
  const places = placesOf(config, composition, keys)
  const stop = interruption()
  stop.addEventListener('abort', () => note('interrupted; what was found so far follows'))
  let opened: OpenedIndex | undefined
  let scratch: Scratch | undefined
  let report: VerifyReport | undefined
  let replica: Replica | undefined
  try {
    report = new VerifyReport(options)
    opened = open(options, config.http)
    scratch = new Scratch(options.scratch ?? tmpdir())
    if (repairs?.fetchFrom !== undefined)
      replica = openReplica(repairs.fetchFrom, options, { ...config, identity: composition.identity })
    await lookAtAll(
      places.map(({ store }) => store),
      yes,
      stop,
    )
    const { found, kept, index } = { found: report, kept: scratch, index: opened.index }
    const verification = new Verification({
      ...{ index, places, scratch, concurrency, digests, deep },
      olderThanMs: olderThan,
      settleMs: options.settle,
      promised: () => promisedIn(config, composition.store.name, warn),
      keyIds: new Set(keys.ids),
      onFinding: finding => {
        found.add(finding)
        if (repairs) kept.addFinding(finding)
      },
      onFailure: fault => {
        if (verification.tally.failures <= MOST_LINES) fail(fault)
      },
    })
    const progress = new VerifyProgress(verification, deep)
    let ended: Fault | undefined
    try {
      await withProgress(
        () => progress.position,
        () => verification.run(stop),
      )
      if (repairs) {
        const how = { ...repairs, replica: replica?.tiers, yes, expect, concurrency, places }
        await repairFound(how, verification, scratch, opened, composition, found, stop)
      }
    } catch (error) {
      ended = Fault.from(error)
    }
    found.end(verification, { index: index.name, seconds: progress.seconds })
    if (ended) throw ended
    const { failures } = verification.tally
    if (failures > 0)
      fail(
        new Fault('Unavailable', `${failures} of the looks at files failed, so nothing is known of these`, {
          remedy: 'Remove the cause that the lines above name, then run the same command again.',
        }),
      )
    else if (found.left > 0 || verification.strange) process.exitCode ??= 1
  } finally {
    report?.close()
    scratch?.close()
    await opened?.index.close()
    await replica?.close()
    await composition.store.close()
  }
}
