import { tmpdir } from 'node:os'
import { diskNaming } from '../area/naming.ts'
import { type Composition, compose } from '../compose.ts'
import type { EngineConfig } from '../config/config.ts'
import { identityOf } from '../config/identity.ts'
import { loadKeyring } from '../config/key-file.ts'
import { Deletions } from '../deletions/deletions.ts'
import { Fault } from '../fault.ts'
import { logTo } from '../log.ts'
import type { OrthancIndex } from '../orthanc-index/orthanc-index.ts'
import { a1 } from '../seal/a1.ts'
import { type Keyring, keyring } from '../seal/keyring.ts'
import { encryptionStateOf, envelopesOf } from '../seal/policy.ts'
import type { Store } from '../stores/store.ts'
import type { Finding } from '../verify/judge.ts'
import { Place } from '../verify/place.ts'
import { Scratch } from '../verify/scratch.ts'
import { Verification } from '../verify/verify.ts'
import { withRoomFor } from './connections.ts'
import { readConfig } from './orthanc-config.ts'
import { type IndexArguments, openIndex } from './orthanc-index.ts'
import { withProgress } from './progress.ts'
import { fail, failWith, interruption, note, warn } from './terminal.ts'
import { VerifyProgress } from './verify-progress.ts'
import { VerifyReport } from './verify-report.ts'

export interface VerifyArguments extends IndexArguments {
  readonly digests?: true
  readonly deep?: true
  /** Milliseconds. */
  readonly olderThan: number
  /** Milliseconds. */
  readonly settle: number
  readonly json?: string
  readonly scratch?: string
  readonly concurrency: number
}

const CHECK_DEADLINE_MS = 60_000
/** With more failures, the rest is counted. */
const MOST_LINES = 20

/** `open`: for tests. */
export async function verify(options: VerifyArguments, open = openIndex): Promise<void> {
  failWith(3)
  const { concurrency, olderThan, digests = false, deep = false } = options
  const config = readConfig(options.config)
  if (!config) throw new Fault('BadConfig', 'the configuration has no section of a storage provider')
  const keys = config.encryption ? loadKeyring(config.encryption, warn) : keyring(undefined, [])
  const composition = compose(
    withRoomFor(config, concurrency),
    logTo(() => {}), // failures are reported below, and warnings were printed already
    'guest',
  )
  const places = placesOf(config, composition, keys)
  const stop = interruption()
  stop.addEventListener('abort', () => note('interrupted; what was found so far follows'))
  let index: OrthancIndex | undefined
  let scratch: Scratch | undefined
  let report: VerifyReport | undefined
  try {
    report = new VerifyReport(options)
    index = open(options, config.http)
    scratch = new Scratch(options.scratch ?? tmpdir())
    // An empty folder that should be a mount would make everything look missing.
    for (const { store } of places) {
      const deadline = AbortSignal.any([stop, AbortSignal.timeout(CHECK_DEADLINE_MS)])
      await store.check(deadline, { purpose: 'look', writes: false, warn })
    }
    const found = report
    const verification = new Verification({
      ...{ index, places, scratch, concurrency, digests, deep },
      olderThanMs: olderThan,
      settleMs: options.settle,
      promised: () => promisedIn(config, composition.store),
      keyIds: new Set(keys.ids),
      onFinding: finding => found.add(finding),
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
    else if (found.found > 0 || verification.strange) process.exitCode ??= 1
  } finally {
    report?.close()
    scratch?.close()
    await index?.close()
    await composition.store.close()
  }
}

/** What waits in the journal of removals, where there is one: Orthanc has forgotten it, and it will be removed. */
async function promisedIn(config: EngineConfig, { name }: Store): Promise<(orphan: Finding) => boolean> {
  if (!config.deletions) return () => false
  try {
    const { entries } = await Deletions.look(config.deletions.folder)
    const { pending, findings } = entries.of(identityOf(config))
    return ({ store, key }) => store === name && (pending.has(key) || findings.has(key))
  } catch (error) {
    warn(`removals that wait may be called orphans: ${Fault.from(error).describe()}`)
    return () => false
  }
}

/** Where Orthanc's files may be, in the order in which it reads them. */
function placesOf(config: EngineConfig, { store, hybrid, tiers }: Composition, keys: Keyring): readonly Place[] {
  const encryption = encryptionStateOf(config.encryption)
  const place = (tierName: 'object-storage' | 'file-system', at: typeof store, naming: typeof config.naming) => {
    const tier = tiers[tierName]
    const envelopes = envelopesOf(encryption, tierName, a1(keys))
    return tier ? [new Place({ tierName, store: at, naming, envelopes, tier })] : []
  }
  const inStore = place('object-storage', store, config.naming)
  const onDisk = hybrid ? place('file-system', hybrid.fileSystem, diskNaming) : []
  return config.hybrid?.writesTo === 'file-system' ? [...onDisk, ...inStore] : [...inStore, ...onDisk]
}
