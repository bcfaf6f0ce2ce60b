import type { Attachment, StorageArea } from './area/area.ts'
import { keysOf } from './area/naming.ts'
import { objectArea } from './area/object-area.ts'
import { VerifiedCache } from './area/verified-cache.ts'
import type { Content } from './bytes.ts'
import type { EngineConfig } from './config/config.ts'
import { loadKeyring } from './config/key-file.ts'
import type { Logger } from './log.ts'
import { a1 } from './seal/a1.ts'
import { Budget } from './seal/budget.ts'
import { type Envelope, plain } from './seal/envelope.ts'
import { keyring } from './seal/keyring.ts'
import { unsealIfSealed } from './seal/tell.ts'
import { within } from './stores/deadline.ts'
import { directoryStore } from './stores/file.ts'
import { measured } from './stores/measured.ts'
import { retrying } from './stores/retry.ts'
import { s3Store } from './stores/s3.ts'
import type { Store } from './stores/store.ts'

export interface Composition {
  readonly store: Store
  readonly area: StorageArea
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
const DIRECTORY_DEADLINE_MS = 1_200_000

/** The object graph. The only file that names concrete classes; the order of the wrappers is the order of these lines. */
export function compose(config: EngineConfig, log: Logger): Composition {
  const info = (line: string) => log.info(line)
  const { provider } = config
  const s3 = provider.kind === 's3'

  const raw = s3 ? s3Store(provider, config.http, info) : directoryStore(provider.path)
  const patient = retrying({ maxRetries: s3 ? provider.maxRetries : 3 }, info)(raw)
  const deadlineMs = s3 ? provider.requestTimeoutMs : DIRECTORY_DEADLINE_MS
  const punctual = within(deadlineMs, s3 ? 'AwsS3Storage.RequestTimeout' : 'the deadline of 20 minutes')(patient)
  const store = measured(info)(punctual)

  const sealing = sealingOf(config.encryption, line => log.warn(line))
  const area = objectArea({
    ...sealing,
    store,
    keysOf: (attachment, suffix) => keysOf(config.naming, suffix, attachment),
    cache: new VerifiedCache(CACHE_BYTES, LARGEST_CACHED_BYTES),
  })

  return {
    store,
    area,
    description: [`stores Orthanc's files in ${store.name}`, sealing.description].filter(Boolean).join(', '),
    // Sealed, an object is read whole; so Orthanc had better keep headers apart, as with the official plugins.
    ranges: !config.encryption?.enabled || config.encryption.rangeReads,
    callDeadlineMs: deadlineMs + SLACK_MS,
  }
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
  const previous = keys.ids.filter(id => id !== keys.current?.id)
  return {
    envelopes,
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
