import { readFileSync } from 'node:fs'
import { diskNaming } from '../area/naming.ts'
import type { Composition } from '../compose.ts'
import type { EngineConfig } from '../config/config.ts'
import { identityOf } from '../config/identity.ts'
import { type Prices, parsePrices } from '../config/prices.ts'
import { Fault } from '../fault.ts'
import { Usage, type UsagePlace } from '../usage/usage.ts'
import { type BulkArguments, runBulk } from './bulk.ts'
import { composeGuest, type GuestOptions, lookAtAll } from './compose-guest.ts'
import { fileFault } from './file-fault.ts'
import { readConfig } from './orthanc-config.ts'
import { failWith, interruption, note } from './terminal.ts'
import { usageWording } from './usage-report.ts'

export interface UsageArguments extends BulkArguments, GuestOptions {
  readonly config: readonly string[]
  readonly prices?: string
  readonly keyIds?: true
  readonly all?: true
}

export async function usage(options: UsageArguments): Promise<void> {
  failWith(3)
  const { concurrency, keyIds = false, all = false } = options
  const prices = options.prices === undefined ? undefined : readPrices(options.prices)
  const config = readConfig(options.config)
  if (!config) throw new Fault('BadConfig', 'the configuration has no section of a storage provider')
  const composition = composeGuest(config, options)
  const places = placesOf(config, composition)
  const stop = interruption()
  stop.addEventListener('abort', () => note('interrupted; what was counted so far follows'))
  try {
    await lookAtAll(
      places.map(({ store }) => store),
      false,
      stop,
    )
    const identity = {
      store: identityOf(config),
      rootPath: config.naming.rootPath,
      structure: config.naming.structure,
      disk: config.hybrid?.directory ?? null,
    }
    const work = new Usage({ places, keyIds, all, concurrency, identity })
    await runBulk(work, options, usageWording({ places, prices, all }), stop)
  } finally {
    await composition.store.close()
  }
}

function placesOf({ naming }: EngineConfig, { store, hybrid }: Composition): readonly UsagePlace[] {
  const onDisk = hybrid && ({ tier: 'file-system', store: hybrid.fileSystem, naming: diskNaming } as const)
  return [{ tier: 'object-storage', store, naming }, ...(onDisk ? [onDisk] : [])]
}

function readPrices(file: string): Prices {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw fileFault('read', file, error)
  }
  return parsePrices(text, file)
}
