import type { StorageArea } from './area/area.ts'
import { keysOf } from './area/naming.ts'
import { objectArea } from './area/object-area.ts'
import type { EngineConfig } from './config/config.ts'
import type { Logger } from './log.ts'
import { within } from './stores/deadline.ts'
import { directoryStore } from './stores/file.ts'
import { measured } from './stores/measured.ts'
import { retrying } from './stores/retry.ts'
import { s3Store } from './stores/s3.ts'
import type { Store } from './stores/store.ts'

export interface Composition {
  readonly store: Store
  readonly area: StorageArea
  /** Longest time Orthanc waits for one call, in milliseconds: the store's own deadline and some slack. */
  readonly callDeadlineMs: number
}

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

  return {
    store,
    area: objectArea(store, attachment => keysOf(config.naming, '', attachment)),
    callDeadlineMs: deadlineMs + SLACK_MS,
  }
}
