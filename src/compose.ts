import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import type { Attachment, Found, StorageArea, TierName } from './area/area.ts'
import { findIn } from './area/find.ts'
import { type HybridArea, hybridArea } from './area/hybrid.ts'
import { diskNaming, keysOf, prefixOf } from './area/naming.ts'
import { objectArea } from './area/object-area.ts'
import type { Tier } from './area/tier.ts'
import { VerifiedCache } from './area/verified-cache.ts'
import { type Content, collect } from './bytes.ts'
import type { EngineConfig, NamingConfig } from './config/config.ts'
import { loadKeyring } from './config/key-file.ts'
import { Fault, isCode } from './fault.ts'
import type { Logger } from './log.ts'
import { type MoveJobs, moveJobs } from './moves/job.ts'
import { a1, ID_BYTES, keyIdOf } from './seal/a1.ts'
import { Budget } from './seal/budget.ts'
import { unsealIfSealed } from './seal/detect.ts'
import { keyring } from './seal/keyring.ts'
import { encryptionStateOf, envelopesOf } from './seal/policy.ts'
import { apart } from './stores/apart.ts'
import { azureStore } from './stores/azure/azure.ts'
import { directoryStore } from './stores/directory/directory.ts'
import type { Role } from './stores/directory/root.ts'
import { gcsStore } from './stores/gcs/gcs.ts'
import { s3Store } from './stores/s3/s3.ts'
import type { Store } from './stores/store.ts'
import { withChecksum } from './stores/wrappers/checksum.ts'
import { withDeadline } from './stores/wrappers/deadline.ts'
import { withLog } from './stores/wrappers/log.ts'
import { type Counts, counting } from './stores/wrappers/metrics.ts'
import { attempt, withRetry } from './stores/wrappers/retry.ts'

export interface Hybrid {
  readonly mode: 'WriteToFileSystem' | 'WriteToObjectStorage'
  readonly area: HybridArea
  readonly disk: Store
  readonly jobs: MoveJobs
}

export interface Composition {
  /** The object store. */
  readonly store: Store
  readonly area: StorageArea
  /** Where files may be. */
  readonly tiers: Readonly<Partial<Record<TierName, Tier>>>
  readonly counts: Counts
  /** In a hybrid mode: both tiers, the disk, and the jobs that move files between them. */
  readonly hybrid: Hybrid | undefined
  /** Repeats what verification above the store finds wrong, as often as MaxRetries says. */
  readonly again: Again
  /** What the log says at start, beside the store's name. */
  readonly description: string
  /** Whether Orthanc may ask for ranges. If not, it stores the header of each image as a file of its own (docs/contract.md). */
  readonly ranges: boolean
  /** Longest time Orthanc waits for one call, in milliseconds: the store's own deadline and some slack. */
  readonly callDeadlineMs: number
}

/** Verified plain bytes of sealed objects, for the ranges that Orthanc asks of one file one after the other. */
const CACHE_BYTES = 64 * 1024 * 1024
const LARGEST_CACHED_BYTES = 16 * 1024 * 1024
const SLACK_MS = 30_000
const PROBE = '.orthanc-cloud-storage-check'
const TWO_PLACES = "Give the object storage (DirectoryStorage.Path) another folder than Orthanc's StorageDirectory."
/** How long the object store has for the proof that it is not the disk, when Orthanc starts. */
const APART_MS = 10_000
/** A directory has no options for these. */
const LOCAL = { maxRetries: 3, requestTimeoutMs: 1_200_000, limit: 'the deadline of 20 minutes' }

/**
 * The object graph. The only file that names concrete stores; the order of the wrappers is the order of these lines.
 * `role`: what the process is to the folders in use, see stores/directory/root.ts.
 */
export function compose(config: EngineConfig, log: Logger, role: Role = 'owner'): Composition {
  const info = (line: string) => log.info(line)
  const { provider, naming } = config
  const patience = provider.kind === 'directory' ? LOCAL : { ...provider, limit: 'RequestTimeout' }
  const { maxRetries, requestTimeoutMs, limit } = patience

  const raw = providerStore(config, log, role)
  const patient = withRetry({ maxRetries }, info)(raw)
  const verified = withChecksum(patient)
  const punctual = withDeadline(requestTimeoutMs, limit)(verified)
  const { counted, counts } = counting()
  const store = withLog(info)(counted(punctual))

  const sealing = sealingOf(config.encryption, line => log.warn(line))
  // What a store could mend by itself it has tried to; what is left is bytes that turned out wrong.
  const again: Again = (work, signal) =>
    attempt(work, { maxRetries }, signal, info, ({ code, retryable }) => code === 'Corrupt' && retryable)
  const cloud = tierOf('object-storage', store, naming, sealing, again)
  const hybrid = hybridOf(config, { raw, cloud, sealing, again, maxRetries, log, role })
  const place = hybrid ? `${hybrid.area.name}` : store.name

  return {
    store,
    area: hybrid?.area ?? cloud.area,
    tiers: hybrid?.area.tiers ?? { 'object-storage': cloud },
    counts,
    hybrid,
    again,
    description: [`stores Orthanc's files in ${place}`, sealing.description].filter(Boolean).join(', '),
    // Sealed, an object is read whole; so Orthanc had better keep headers apart, as with the official plugins.
    ranges: !config.encryption?.enabled || config.encryption.rangeReads,
    callDeadlineMs: requestTimeoutMs + SLACK_MS,
  }
}

function providerStore({ provider, naming, http }: EngineConfig, log: Logger, role: Role): Store {
  const info = (line: string) => log.info(line)
  const warn = (line: string) => log.warn(line)
  const environment = { ...http, warn, probeKey: prefixOf(naming) + PROBE }
  switch (provider.kind) {
    case 's3':
      return s3Store(provider, environment, info)
    case 'azure':
      return azureStore(provider, environment, { info, warn })
    case 'gcs':
      return gcsStore(provider, environment, info)
    case 'directory':
      return directoryStore(provider.path, { role })
  }
}

type Sealing = ReturnType<typeof sealingOf>
type Again = <T>(work: () => Promise<T>, signal: AbortSignal) => Promise<T>

function tierOf(tier: TierName, store: Store, naming: NamingConfig, sealing: Sealing, again: Again): Tier {
  const envelopes = sealing.envelopesOn(tier)
  const { budget, tell } = sealing
  const keys = (attachment: Attachment) => [
    ...new Set(envelopes.flatMap(({ suffix }) => keysOf(naming, suffix, attachment))),
  ]
  const area = objectArea({
    store,
    keysOf: (attachment, suffix) => keysOf(naming, suffix, attachment),
    envelopes,
    tell,
    budget,
    cache: new VerifiedCache(CACHE_BYTES, LARGEST_CACHED_BYTES),
    again,
  })
  const keyId = async ({ key, size }: Found, signal: AbortSignal) => {
    if (!sealing.mayBeSealed || size < ID_BYTES) return undefined
    return keyIdOf(await collect(await store.get(key, { start: 0, end: ID_BYTES }, signal)))
  }
  const ranges = async (attachment: Attachment, size: number, signal: AbortSignal) => {
    for (const envelope of envelopes)
      for (const key of keysOf(naming, envelope.suffix, attachment))
        if ((await store.stat(key, signal))?.size === envelope.sealedSize(size))
          return envelope.ranges(range => store.get(key, range, signal))
    throw new Fault('NotFound', 'the file is not where it was', { where: { store: store.name } })
  }
  return {
    area,
    find: findIn(store, keys),
    keyIdOf: keyId,
    local: tier === 'file-system',
    ranges,
    storedSize: envelopes[0].sealedSize,
  }
}

interface Parts {
  readonly raw: Store
  readonly cloud: Tier
  readonly sealing: Sealing
  readonly again: Again
  /** Of the object store. */
  readonly maxRetries: number
  readonly log: Logger
  readonly role: Role
}

function hybridOf(config: EngineConfig, parts: Parts): Hybrid | undefined {
  const { hybrid, moveConcurrency, naming } = config
  const { raw, cloud, sealing, again, maxRetries, log, role } = parts
  if (!hybrid) return undefined
  refuseSameFolder(config)
  const info = (line: string) => log.info(line)
  const files = directoryStore(hybrid.directory, { sync: hybrid.sync, marked: false, role })
  const patient = withRetry({ maxRetries: LOCAL.maxRetries }, info)(files)
  const measuredDisk = withLog(info)(withDeadline(LOCAL.requestTimeoutMs, LOCAL.limit)(patient))
  const proveApart = apart({ disk: files, store: raw, rootPath: naming.rootPath, remedy: TWO_PLACES })
  const disk: Store = {
    ...measuredDisk,
    async check(signal, options = {}) {
      const { purpose = 'start', writes = true, warn = () => {} } = options
      try {
        await measuredDisk.check(signal, options)
      } catch (error) {
        // Where new files go to the object store, it is enough that the old ones can be read.
        if (hybrid.writesTo === 'file-system' || !(isCode(error, 'Denied') || isCode(error, 'BadConfig'))) throw error
        await measuredDisk.check(signal, { ...options, writes: false }).catch(() => {
          throw error
        })
        return warn(`moves to Orthanc's disk will fail, and most probably removals there: ${error.describe()}`)
      }
      if (purpose === 'status' || !writes) return
      if (purpose === 'look' && !(await isThere(files, signal))) return // the proof would make the folder
      // A store that is away says nothing, nor one whose bucket or container is still to be made: its own check tells of
      // that, and may make it. Then it is asked before the first move.
      await proveApart(AbortSignal.any([signal, AbortSignal.timeout(APART_MS)]), true).catch(error => {
        if (isCode(error, 'BadConfig')) throw error
      })
    },
  }
  // A move may not wait for memory on both tiers.
  const unbounded = { ...sealing, budget: new Budget(Number.MAX_SAFE_INTEGER) }
  const onDisk = tierOf('file-system', disk, diskNaming, unbounded, again)
  const area = hybridArea({
    tiers: {
      'object-storage': cloud,
      'file-system': {
        ...onDisk,
        async settle(attachment, signal) {
          const found = await onDisk.find(attachment, signal)
          if (found) await files.settle(found.key, signal)
        },
      },
    },
    first: hybrid.writesTo,
    digests: digest,
    // A start does not wait for a network that breaks; a move does, as for everything else.
    apart: signal => attempt(() => proveApart(signal), { maxRetries }, signal, info),
    warn: line => log.warn(line),
  })
  const jobs = moveJobs({ area, concurrency: moveConcurrency, error: line => log.error(line) })
  return { mode: hybrid.writesTo === 'file-system' ? 'WriteToFileSystem' : 'WriteToObjectStorage', area, disk, jobs }
}

const isThere = (folder: Store, signal: AbortSignal) =>
  folder.check(signal, { purpose: 'status' }).then(
    () => true,
    () => false,
  )

/** What can be said without a look at the disk; apart() finds the rest. */
function refuseSameFolder({ provider, hybrid, naming }: EngineConfig): void {
  if (!hybrid || provider.kind !== 'directory') return
  const { path } = provider
  if (![path, resolve(path, naming.rootPath)].some(folder => resolve(folder) === resolve(hybrid.directory))) return
  throw new Fault('BadConfig', `DirectoryStorage.Path and StorageDirectory lead to one folder, ${hybrid.directory}`, {
    remedy: `A move would remove the only copy. ${TWO_PLACES}`,
  })
}

function digest(algorithm: 'sha256' | 'md5') {
  const hash = createHash(algorithm)
  return { update: (bytes: Uint8Array) => void hash.update(bytes), hex: () => hash.digest('hex') }
}

function sealingOf(encryption: EngineConfig['encryption'], warn: (line: string) => void) {
  const keys = encryption ? loadKeyring(encryption, warn) : keyring(undefined, [])
  const sealed = a1(keys)
  const policy = encryptionStateOf(encryption)
  const previous = keys.ids.filter(id => id !== keys.current?.id)
  return {
    envelopesOn: (tier: TierName) => envelopesOf(policy, tier, sealed),
    mayBeSealed: policy !== 'none',
    budget: new Budget(encryption?.budgetBytes ?? 0),
    tell: (get: () => Promise<Content>, { type, uuid }: Attachment) =>
      unsealIfSealed(get, sealed, keys, type === 'unknown', id =>
        warn(
          `'${uuid}' is delivered as it is, but begins like a file that is encrypted under master key ${id}: ` +
            'if it is one, add the key to StorageEncryption.PreviousMasterKeys',
        ),
      ),
    description: [
      keys.current && `encrypted with master key ${keys.current.id}`,
      previous.length > 0 && `reading also what is encrypted with ${previous.join(', ')}`,
    ]
      .filter(Boolean)
      .join(', '),
  }
}
