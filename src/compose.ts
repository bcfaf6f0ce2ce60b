import { type ReadAhead, readAhead } from './ahead/read-ahead.ts'
import type { Again, StorageArea, TierName } from './area/area.ts'
import { prefixOf } from './area/naming.ts'
import { objectTier } from './area/object-tier.ts'
import type { Tier } from './area/tier.ts'
import { VerifiedCache } from './area/verified-cache.ts'
import type { CacheConfig, EngineConfig } from './config/config.ts'
import type { DiskConfig } from './config/hybrid.ts'
import { identityOf } from './config/identity.ts'
import { loadKeyring } from './config/key-file.ts'
import { withDeferredRemovals } from './deletions/deferred.ts'
import { Deletions } from './deletions/deletions.ts'
import { composeHybrid, type Hybrid } from './hybrid-mode.ts'
import type { Logger } from './log.ts'
import { Budget } from './seal/budget.ts'
import { keyring } from './seal/keyring.ts'
import { Sealing } from './seal/sealing.ts'
import { azureStore } from './stores/azure/azure.ts'
import { type CacheFigures, DiskCache } from './stores/cache/cache.ts'
import { directoryStore } from './stores/directory/directory.ts'
import type { Role } from './stores/directory/root.ts'
import { gcsStore } from './stores/gcs/gcs.ts'
import { s3Store } from './stores/s3/s3.ts'
import type { Store } from './stores/store.ts'
import { withChecksum } from './stores/wrappers/checksum.ts'
import { withDeadline } from './stores/wrappers/deadline.ts'
import { FirstBytes, withFirstBytes } from './stores/wrappers/first-bytes.ts'
import { withLog } from './stores/wrappers/log.ts'
import { type Counts, newCounts, withMetrics } from './stores/wrappers/metrics.ts'
import { attempt, withRetry } from './stores/wrappers/retry.ts'
import { type VerifyJobs, verifyJobs } from './verify-job/job.ts'
import { placesOf, promisedIn } from './verify-places.ts'

export type { CacheFigures }

export interface Composition {
  /** The object store. */
  readonly store: Store
  /** Of the object store: config/identity.ts. */
  readonly identity: string
  readonly rootPath: string
  readonly area: StorageArea
  /** Where files may be. */
  readonly tiers: Readonly<Partial<Record<TierName, Tier>>>
  /** Removals that do not wait; undefined = they are off. Until somebody opens it, each removal is direct. */
  readonly deletions: Deletions | undefined
  /** Of the object store. */
  readonly counts: Counts
  /** Undefined: there is none. */
  readonly cache: DiskCache | undefined
  /** In a hybrid mode: both tiers, the disk's store, and the jobs that move files between them. */
  readonly hybrid: Hybrid | undefined
  /** The area without reading ahead: for work that knows by itself what comes next. */
  readonly withoutAhead: StorageArea
  /** Files that a prefetch reads at a time. */
  readonly prefetchedAtOnce: number
  /** The jobs that compare Orthanc's index with the stores. */
  readonly verifications: VerifyJobs
  /** The area, where it reads ahead. */
  readonly ahead: ReadAhead | undefined
  /** Repeats reads that verification above the store finds wrong, as often as MaxRetries says. */
  readonly again: Again
  /** What the log says at start, beside the store's name. */
  readonly description: string
  /** Whether Orthanc may ask for ranges. If not, it stores each header as a file of its own (docs/contract.md). */
  readonly ranges: boolean
  /** Longest time Orthanc waits for one call, in milliseconds: the store's own deadline and some slack. */
  readonly callDeadlineMs: number
}

/** Around each store, over all other wrappers. */
export type Outermost = (store: Store) => Store

const SLACK_MS = 30_000
/** A prefetch needs no more. At least half of the connections are for Orthanc. */
const MOST_PREFETCHED = 8
const MOST_VERIFIED = 8
const PROBE = '.orthanc-cloud-storage-check'
const RAISE_TIMEOUT = 'Raise RequestTimeout if such files need more time on this network.'
/** A directory has no options for these. */
const LOCAL = {
  maxRetries: 3,
  /** Operations at a time, for which there are threads. */
  maxConnections: 8,
  requestTimeoutMs: 1_200_000,
  tooSlow: 'No option changes this limit. Find out why the disk, or the network mount and its server, is so slow.',
}

/**
 * The object graph. This is the only file that names concrete stores. The order of the wrappers is the order of these
 * lines. `role`: what the process is to the folders in use, see stores/directory/root.ts.
 */
export function compose(
  config: EngineConfig,
  log: Logger,
  role: Role = 'owner',
  outermost: Outermost = store => store,
): Composition {
  const info = (line: string) => log.info(line)
  const { provider, naming } = config
  const limits = provider.kind === 'directory' ? LOCAL : { ...provider, tooSlow: RAISE_TIMEOUT }
  const { maxRetries, requestTimeoutMs, maxConnections: connections, tooSlow } = limits

  const raw = providerStore(config, log, role)
  const retried = withRetry({ maxRetries }, info)(raw)
  const checked = withChecksum(retried)
  const bounded = withDeadline(requestTimeoutMs, tooSlow)(checked)
  const counts = newCounts()
  const counted = withMetrics(counts)(bounded)
  const store = outermost(withLog(info)(counted))
  const { encryption } = config
  const warn = (line: string) => log.warn(line)
  const keys = encryption ? loadKeyring(encryption, warn) : keyring(undefined, [])
  const sealing = new Sealing(encryption, keys, warn)
  const budget = new Budget(encryption?.budgetBytes ?? 0)
  const deletions = deletionsOf(config, log)
  const copies = config.cache && cacheOf(config, config.cache, sealing, warn)
  const firstBytes = new FirstBytes()
  const timed = config.ahead ? withFirstBytes(firstBytes)(store) : store
  const deferring = deletions ? withDeferredRemovals(deletions)(timed) : timed
  /** The store as Orthanc's own calls use it. Moves and checks use `store`: they must see what is really there. */
  const storeForOrthanc = copies ? copies.around(deferring) : deferring
  // The store itself has repeated what failed there. What is left are bytes that turned out wrong above it. If they
  // came from a copy, the next try asks the store.
  const tries = copies ? Math.max(1, maxRetries) : maxRetries
  const again: Again = (work, signal) =>
    attempt(work, { maxRetries: tries }, signal, info, ({ code, retryable }) => code === 'Corrupt' && retryable)
  const cache = new VerifiedCache()
  const tierOf = (place: Store) =>
    objectTier({ name: 'object-storage', store: place, naming, sealing, budget, cache, again })
  const objectStorage = tierOf(store)
  const forOrthanc = tierOf(storeForOrthanc)
  const hybrid =
    config.hybrid &&
    composeHybrid(config, config.hybrid, {
      objectStorage: { raw, tier: objectStorage, forOrthanc },
      disk: diskOf(config.hybrid, log, role, outermost),
      sealing,
      again,
      retried: (work, signal) => attempt(work, { maxRetries }, signal, info),
      log,
    })
  const area = hybrid?.area ?? forOrthanc.area
  const tiers = hybrid?.area.tiers ?? { 'object-storage': objectStorage }
  const verifications = verifyJobs({
    places: placesOf(config, { store, hybrid, tiers }, keys),
    keyIds: new Set(keys.ids),
    // Files are read while others are looked at again. Together they leave half of the connections to Orthanc.
    concurrency: Math.max(1, Math.min(MOST_VERIFIED, Math.floor(connections / 4))),
    promised: async () =>
      deletions?.isOpen
        ? orphan => orphan.store === store.name && deletions.has(orphan.key)
        : await promisedIn(config, store.name, warn),
    log,
  })
  const ahead =
    config.ahead &&
    readAhead(area, {
      ...config.ahead,
      // Larger ones come in parts that are fetched in parallel, and their parts would wait for each other.
      largestBytes: provider.kind === 's3' ? provider.transfer?.partBytes : undefined,
      connections,
      nearest: () => firstBytes.nearest,
      log: info,
    })

  return {
    store,
    identity: identityOf(config),
    rootPath: naming.rootPath,
    area: ahead ?? area,
    withoutAhead: area,
    prefetchedAtOnce: Math.max(1, Math.min(MOST_PREFETCHED, Math.floor(connections / 2))),
    tiers,
    verifications,
    deletions,
    counts,
    cache: copies,
    hybrid,
    ahead,
    again,
    description: [`stores Orthanc's files in ${area.name}`, sealing.description].filter(Boolean).join(', '),
    // A sealed object is read whole. So Orthanc should store headers as files of their own, as with the official
    // plugins.
    ranges: !encryption?.enabled || encryption.rangeReads,
    callDeadlineMs: requestTimeoutMs + SLACK_MS,
  }
}

function deletionsOf(config: EngineConfig, log: Logger): Deletions | undefined {
  const { deletions, readOnly } = config
  if (!deletions?.enabled || readOnly) return undefined
  const { folder, makeAbove } = deletions
  const lines = { info: (line: string) => log.info(line), warn: (line: string) => log.warn(line) }
  return new Deletions({ folder, makeAbove, identity: identityOf(config), log: lines })
}

function cacheOf(config: EngineConfig, cache: CacheConfig, sealing: Sealing, warn: (line: string) => void): DiskCache {
  return new DiskCache({
    ...cache,
    option: 'CloudStorage.Cache.Path',
    storeId: identityOf(config),
    opens: start => sealing.mayOpen(start),
    warn,
  })
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

/** Orthanc's own disk where it has all files, and no object store. `role`, `outermost`: as of compose(). */
export function composeDisk(
  disk: DiskConfig,
  log: Logger,
  role: Role,
  outermost: Outermost,
): Pick<Composition, 'store' | 'again'> {
  const again: Again = (work, signal) => attempt(work, { maxRetries: LOCAL.maxRetries }, signal, line => log.info(line))
  return { store: diskOf(disk, log, role, outermost).store, again }
}

/** Orthanc's own disk: without wrappers, and as files are read and written there. */
function diskOf({ directory, sync }: DiskConfig, log: Logger, role: Role, outermost: Outermost) {
  const info = (line: string) => log.info(line)
  const raw = directoryStore(directory, { sync, marked: false, role })
  const retried = withRetry({ maxRetries: LOCAL.maxRetries }, info)(raw)
  const bounded = withDeadline(LOCAL.requestTimeoutMs, LOCAL.tooSlow)(retried)
  const turns = raw.lease({ place: 'file-system', warn: line => log.warn(line) })
  return { raw, store: outermost(withLog(info)(bounded)), turns }
}
