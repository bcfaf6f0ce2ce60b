import { readFileSync } from 'node:fs'
import { type Prices, parsePrices } from '../config/prices.ts'
import { Fault } from '../fault.ts'
import { Usage } from '../usage/usage.ts'
import { type BulkArguments, runBulk } from './bulk.ts'
import { composeGuest, filePlaces, type GuestOptions, lookAtAll, placesIdentity } from './compose-guest.ts'
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
  const places = filePlaces(config, composition)
  const stop = interruption()
  stop.addEventListener('abort', () => note('interrupted; what was counted so far follows'))
  try {
    await lookAtAll(
      places.map(({ store }) => store),
      false,
      stop,
    )
    const work = new Usage({ places, keyIds, all, concurrency, identity: placesIdentity(config) })
    await runBulk(work, options, usageWording({ places, prices, all }), stop)
  } finally {
    await composition.store.close()
  }
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
