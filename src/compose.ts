import type { StorageArea } from './area/area.ts'
import { keysOf } from './area/naming.ts'
import { objectArea } from './area/object-area.ts'
import type { EngineConfig } from './config/config.ts'
import type { Logger } from './log.ts'
import { azureStore } from './stores/azure.ts'
import { within } from './stores/deadline.ts'
import { directoryStore } from './stores/file.ts'
import { gcsStore } from './stores/gcs.ts'
import { measured } from './stores/measured.ts'
import { retrying } from './stores/retry.ts'
import { s3Store } from './stores/s3.ts'
import type { Store } from './stores/store.ts'
import { verifying } from './stores/verify.ts'

export interface Composition {
  readonly store: Store
  readonly area: StorageArea
  /** Longest time Orthanc waits for one call, in milliseconds: the store's own deadline and some slack. */
  readonly callDeadlineMs: number
}

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
  const store = measured(info)(punctual)

  return {
    store,
    area: objectArea(store, attachment => keysOf(naming, '', attachment)),
    callDeadlineMs: requestTimeoutMs + SLACK_MS,
  }
}

function providerStore({ provider, naming, http }: EngineConfig, log: Logger): Store {
  const info = (line: string) => log.info(line)
  const warn = (line: string) => log.warn(line)
  const environment = { ...http, probeKey: naming.rootPath === '' ? PROBE : `${naming.rootPath}/${PROBE}` }
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
