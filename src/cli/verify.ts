import { tmpdir } from 'node:os'
import type { Composition } from '../compose.ts'
import type { EngineConfig } from '../config/config.ts'
import { loadKeyring } from '../config/key-file.ts'
import { Fault } from '../fault.ts'
import { type Keyring, keyring } from '../seal/keyring.ts'
import { encryptionStateOf } from '../seal/policy.ts'
import { Scratch } from '../verify/scratch.ts'
import { Verification } from '../verify/verify.ts'
import { placesOf, promisedIn } from '../verify-places.ts'
import { MOST_LINES } from './bulk-report.ts'
import { composeGuest, type GuestOptions, lookAtAll } from './compose-guest.ts'
import { emptyTrashOf } from './empty-trash.ts'
import { readConfig } from './orthanc-config.ts'
import { type IndexArguments, type OpenedIndex, openIndex } from './orthanc-index.ts'
import { withProgress } from './progress.ts'
import { fail, failWith, interruption, note, warn } from './terminal.ts'
import { VerifyProgress } from './verify-progress.ts'
import { openReplica, parseRepairs, type Replica, refuseReadOnly, repairFound } from './verify-repair.ts'
import { VerifyReport } from './verify-report.ts'
import { failLooks, verifyShared } from './verify-shared.ts'

export interface VerifyArguments extends IndexArguments, GuestOptions {
  readonly digests?: true
  readonly deep?: true
  /** Milliseconds. */
  readonly olderThan: number
  /** Milliseconds. */
  readonly settle: number
  readonly json?: string
  /** Keeps what is done, so that a later run goes on. */
  readonly state?: string
  /** Many processes share the work. */
  readonly queue?: string
  readonly scratch?: string
  /** The words of `--repair`. */
  readonly repair?: readonly string[]
  /** Without it, a repair only says what it would do. */
  readonly yes?: true
  /** How many orphans a person has counted. */
  readonly expect?: number
  readonly emptyTrash?: true
}

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
  const isShared = options.queue !== undefined || options.state !== undefined
  if (!isShared) stop.addEventListener('abort', () => note('interrupted; what was found so far follows'))
  let opened: OpenedIndex | undefined
  let scratch: Scratch | undefined
  let report: VerifyReport | undefined
  let replica: Replica | undefined
  try {
    if (!isShared) report = new VerifyReport(options)
    opened = open(options, config.http)
    if (!isShared) scratch = new Scratch(options.scratch ?? tmpdir())
    if (repairs?.fetchFrom !== undefined)
      replica = openReplica(repairs.fetchFrom, options, { ...config, identity: composition.identity })
    await lookAtAll(
      places.map(({ store }) => store),
      yes,
      stop,
    )
    const { index } = opened
    const how = {
      ...{ index, places, concurrency, digests, deep },
      olderThanMs: olderThan,
      settleMs: options.settle,
      promised: () => promisedIn(config, composition.store.name, warn),
      keyIds: new Set(keys.ids),
    }
    if (!report || !scratch)
      return await verifyShared(
        { ...how, identity: identityIn(config, composition, keys, options, index.name) },
        options,
        stop,
      )
    const { found, kept } = { found: report, kept: scratch }
    const verification = new Verification({
      ...how,
      scratch,
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
        const mend = { ...repairs, replica: replica?.tiers, yes, expect, concurrency, places }
        await repairFound(mend, verification, scratch, opened, composition, found, stop)
      }
    } catch (error) {
      ended = Fault.from(error)
    }
    for (const finding of verification.unproven) found.notLookedAtAgain(finding)
    found.end(verification, { index: index.name, seconds: progress.seconds })
    if (ended) throw ended
    const { failures } = verification.tally
    if (failures > 0) failLooks(failures)
    else if (found.left > 0 || verification.strange) process.exitCode ??= 1
  } finally {
    report?.close()
    scratch?.close()
    await opened?.index.close()
    await replica?.close()
    await composition.store.close()
  }
}

/** What two runs must have in common to be parts of the same one: stores, and what changes the findings. */
function identityIn(
  config: EngineConfig,
  { identity, rootPath }: Composition,
  keys: Keyring,
  options: VerifyArguments,
  index: string,
) {
  const { olderThan, digests = false, deep = false } = options
  const encryption = `${encryptionStateOf(config.encryption)} ${keys.ids.join(',')}`
  const { structure, legacyUnknownFiles } = config.naming
  const disk = config.hybrid ? `${config.hybrid.directory}, ${config.hybrid.writesTo}` : null
  return {
    store: `${identity} ${rootPath}`,
    structure,
    legacyUnknownFiles,
    encryption,
    disk,
    index,
    olderThan,
    digests,
    deep,
  }
}
