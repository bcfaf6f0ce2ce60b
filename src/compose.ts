import { createHash } from 'node:crypto'
import type { Attachment, Found, StorageArea, Tier } from './area/area.ts'
import { findIn } from './area/find.ts'
import { type HybridArea, hybridArea, type Side } from './area/hybrid.ts'
import { type MoveJobs, moveJobs } from './area/move-job.ts'
import { diskNaming, keysOf } from './area/naming.ts'
import { objectArea } from './area/object-area.ts'
import { VerifiedCache } from './area/verified-cache.ts'
import { type Content, collect } from './bytes.ts'
import type { EngineConfig, NamingConfig } from './config/config.ts'
import { loadKeyring } from './config/key-file.ts'
import type { Logger } from './log.ts'
import { a1, ID_BYTES, keyIdOf } from './seal/a1.ts'
import { Budget } from './seal/budget.ts'
import { type Envelope, plain } from './seal/envelope.ts'
import { keyring } from './seal/keyring.ts'
import { unsealIfSealed } from './seal/tell.ts'
import { azureStore } from './stores/azure.ts'
import { type Counts, counting } from './stores/counting.ts'
import { within } from './stores/deadline.ts'
import { directoryStore } from './stores/file.ts'
import { gcsStore } from './stores/gcs.ts'
import { measured } from './stores/measured.ts'
import { attempt, retrying } from './stores/retry.ts'
import { s3Store } from './stores/s3.ts'
import type { Store } from './stores/store.ts'
import { verifying } from './stores/verify.ts'

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
  readonly sides: Readonly<Partial<Record<Tier, Side>>>
  readonly counts: Counts
  /** In a hybrid mode: both tiers, the disk, and the jobs that move files between them. */
  readonly hybrid: Hybrid | undefined
  /** What the log says at start, beside the store's name. */
  readonly description: string
  /** Whether Orthanc may ask for ranges. If not, it stores the header of each image as a file of its own (SPEC section 1). */
  readonly ranges: boolean
  /** Longest time Orthanc waits for one call, in milliseconds: the store's own deadline and some slack. */
  readonly callDeadlineMs: number
}

/** Verified plain bytes of sealed objects, for the ranges that Orthanc asks of one file one after the other. */
const CACHE_BYTES = 64 * 1024 * 1024
const LARGEST_CACHED_BYTES = 16 * 1024 * 1024
const SLACK_MS = 30_000
const PROBE = '.orthanc-cloud-storage-check'
/** A directory has no options for these. */
const LOCAL = { maxRetries: 3, requestTimeoutMs: 1_200_000, limit: 'the deadline of 20 minutes' }

/** The object graph. The only file that names concrete classes; the order of the wrappers is the order of these lines. */
export function compose(config: EngineConfig, log: Logger): Composition {
  const info = (line: string) => log.info(line)
  const { provider, naming } = config
  const patience = provider.kind === 'directory' ? LOCAL : { ...provider, limit: 'RequestTimeout' }
  const { maxRetries, requestTimeoutMs, limit } = patience

  const raw = providerStore(config, log)
  const patient = retrying({ maxRetries }, info)(raw)
  const verified = verifying(patient)
  const punctual = within(requestTimeoutMs, limit)(verified)
  const { counted, counts } = counting()
  const store = measured(info)(counted(punctual))

  const sealing = sealingOf(config.encryption, line => log.warn(line))
  // What a store could mend by itself it has tried to; what is left is bytes that turned out wrong.
  const again: Again = (work, signal) =>
    attempt(work, { maxRetries }, signal, info, ({ code, retryable }) => code === 'Corrupt' && retryable)
  const cloud = sideOf(store, naming, sealing, again, false)
  const hybrid = hybridOf(config, cloud, sealing, again, log)
  const place = hybrid ? `${hybrid.area.name}` : store.name

  return {
    store,
    area: hybrid?.area ?? cloud.area,
    sides: hybrid?.area.sides ?? { 'object-storage': cloud },
    counts,
    hybrid,
    description: [`stores Orthanc's files in ${place}`, sealing.description].filter(Boolean).join(', '),
    // Sealed, an object is read whole; so Orthanc had better keep headers apart, as with the official plugins.
    ranges: !config.encryption?.enabled || config.encryption.rangeReads,
    callDeadlineMs: requestTimeoutMs + SLACK_MS,
  }
}

function providerStore({ provider, naming, http }: EngineConfig, log: Logger): Store {
  const info = (line: string) => log.info(line)
  const warn = (line: string) => log.warn(line)
  const environment = { ...http, warn, probeKey: naming.rootPath === '' ? PROBE : `${naming.rootPath}/${PROBE}` }
  switch (provider.kind) {
    case 's3':
      return s3Store(provider, environment, info)
    case 'azure':
      return azureStore(provider, environment, { info, warn })
    case 'gcs':
      return gcsStore(provider, environment, info)
    case 'directory':
      return directoryStore(provider.path)
  }
}

type Sealing = ReturnType<typeof sealingOf>
type Again = <T>(work: () => Promise<T>, signal: AbortSignal) => Promise<T>

function sideOf(store: Store, naming: NamingConfig, sealing: Sealing, again: Again, local: boolean): Side {
  const { envelopes } = sealing
  const keys = (attachment: Attachment) => [
    ...new Set(envelopes.flatMap(({ suffix }) => keysOf(naming, suffix, attachment))),
  ]
  const area = objectArea({
    ...sealing,
    store,
    keysOf: (attachment, suffix) => keysOf(naming, suffix, attachment),
    cache: new VerifiedCache(CACHE_BYTES, LARGEST_CACHED_BYTES),
    again,
  })
  const keyId = async ({ key, size }: Found, signal: AbortSignal) => {
    if (!sealing.sealedOnes || size < ID_BYTES) return undefined
    return keyIdOf(await collect(await store.get(key, { start: 0, end: ID_BYTES }, signal)))
  }
  return { area, find: findIn(store, keys), keyIdOf: keyId, local }
}

function hybridOf(
  { hybrid, moveConcurrency }: EngineConfig,
  cloud: Side,
  sealing: Sealing,
  again: Again,
  log: Logger,
): Hybrid | undefined {
  if (!hybrid) return undefined
  const disk = measured(line => log.info(line))(directoryStore(hybrid.directory, { sync: hybrid.sync }))
  const { envelopes, otherEnvelopes } = sealing
  const area = hybridArea({
    sides: {
      'object-storage': cloud,
      // Plain files of the time before encryption are among them; and a move may not wait for memory on both sides.
      'file-system': sideOf(
        disk,
        diskNaming,
        {
          ...sealing,
          envelopes: [envelopes[0], ...otherEnvelopes],
          budget: new Budget(Number.MAX_SAFE_INTEGER),
        },
        again,
        true,
      ),
    },
    first: hybrid.writesTo,
    digests: digest,
    warn: line => log.warn(line),
  })
  const jobs = moveJobs({ area, concurrency: moveConcurrency, error: line => log.error(line) })
  return { mode: hybrid.writesTo === 'file-system' ? 'WriteToFileSystem' : 'WriteToObjectStorage', area, disk, jobs }
}

function digest(algorithm: 'sha256' | 'md5') {
  const hash = createHash(algorithm)
  return { update: (bytes: Uint8Array) => void hash.update(bytes), hex: () => hash.digest('hex') }
}

function sealingOf(encryption: EngineConfig['encryption'], warn: (line: string) => void) {
  const keys = encryption ? loadKeyring(encryption, warn) : keyring(undefined, [])
  const sealed = a1(keys)
  const envelopes: readonly [Envelope, ...Envelope[]] = encryption?.enabled
    ? encryption.allowUnencryptedRead
      ? [sealed, plain]
      : [sealed]
    : encryption
      ? [plain, sealed]
      : [plain]
  // On Orthanc's own disk, which is trusted, the bytes tell (SPEC section 4, end).
  const otherEnvelopes: readonly Envelope[] = encryption ? (encryption.enabled ? [plain] : [sealed]) : []
  const previous = keys.ids.filter(id => id !== keys.current?.id)
  return {
    envelopes,
    otherEnvelopes,
    sealedOnes: encryption !== undefined,
    budget: new Budget(encryption?.budgetBytes ?? 0),
    tell: (get: () => Promise<Content>, { type }: Attachment) => unsealIfSealed(get, sealed, keys, type === 'unknown'),
    description: [
      keys.current && `encrypted with master key ${keys.current.id}`,
      previous.length > 0 && `reading also what is encrypted with ${previous.join(', ')}`,
    ]
      .filter(Boolean)
      .join(', '),
  }
}
