/** The stores of a configuration for a command, which is a guest beside Orthanc. */
import type { TierName } from '../area/area.ts'
import { diskNaming, type Naming } from '../area/naming.ts'
import { type Composition, compose, type Outermost } from '../compose.ts'
import type { EngineConfig } from '../config/config.ts'
import { identityOf } from '../config/identity.ts'
import { logTo } from '../log.ts'
import type { Store } from '../stores/store.ts'
import { type RateLimit, withRateLimit } from '../stores/wrappers/rate-limit.ts'
import { withRoomFor } from './connections.ts'
import { warn } from './terminal.ts'

export interface GuestOptions {
  /** Objects in work at once. */
  readonly concurrency: number
  /** For each store. */
  readonly rateLimit?: RateLimit
}

const CHECK_DEADLINE_MS = 60_000

/** The command itself reports failures, and warnings were printed when the configuration was read. */
export const silent = logTo(() => {})

/** The limit holds for all that the composition reads and writes, also through its tiers. */
export function composeGuest(
  config: EngineConfig,
  options: GuestOptions,
  role: 'owner' | 'guest' = 'guest',
): Composition {
  return compose(withRoomFor(config, options.concurrency), silent, role, limiting(options))
}

export const limiting = ({ rateLimit }: Pick<GuestOptions, 'rateLimit'>): Outermost =>
  rateLimit ? withRateLimit(rateLimit) : store => store

export interface FilePlace {
  readonly tier: TierName
  readonly store: Store
  readonly naming: Naming
}

/** Where files may be: in the store and, in a hybrid mode, on Orthanc's disk. */
export function filePlaces({ naming }: EngineConfig, { store, hybrid }: Composition): readonly FilePlace[] {
  const onDisk = hybrid && ({ tier: 'file-system', store: hybrid.fileSystem, naming: diskNaming } as const)
  return [{ tier: 'object-storage', store, naming }, ...(onDisk ? [onDisk] : [])]
}

/** What tells these places from all others, without secrets. */
export function placesIdentity(config: EngineConfig) {
  const { rootPath, structure } = config.naming
  return { store: identityOf(config), rootPath, structure, disk: config.hybrid?.directory ?? null }
}

/** Before the work: an empty folder that should be a mount would look like a store without files. */
export async function lookAtAll(stores: Iterable<Store>, writes: boolean, stop?: AbortSignal): Promise<void> {
  for (const store of stores) await store.check(soon(stop), { purpose: 'look', writes, warn })
}

/** For one request before the work. */
export function soon(stop?: AbortSignal): AbortSignal {
  const deadline = AbortSignal.timeout(CHECK_DEADLINE_MS)
  return stop ? AbortSignal.any([stop, deadline]) : deadline
}
