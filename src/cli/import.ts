import { loadKeyring } from '../config/key-file.ts'
import { Fault } from '../fault.ts'
import { Import } from '../import/import.ts'
import { Receiver } from '../import/receiver.ts'
import { FINDINGS } from '../import/tally.ts'
import { keyring } from '../seal/keyring.ts'
import { type BulkArguments, runBulk } from './bulk.ts'
import { composeGuest, filePlaces, type GuestOptions, lookAtAll, placesIdentity, soon } from './compose-guest.ts'
import { importWording } from './import-report.ts'
import { readConfig } from './orthanc-config.ts'
import { openOrthanc } from './orthanc-index.ts'
import { failWith, interruption, note, warn } from './terminal.ts'

export interface ImportArguments extends BulkArguments, GuestOptions {
  readonly from: readonly string[]
  readonly orthanc?: string
  readonly orthancUserFile?: string
  readonly dryRun?: true
}

export async function importFiles(options: ImportArguments): Promise<void> {
  failWith(3)
  const { concurrency, dryRun = false } = options
  const config = readConfig(options.from)
  if (!config) throw new Fault('BadConfig', 'the configuration has no section of a storage provider')
  const keys = config.encryption ? loadKeyring(config.encryption, warn) : keyring(undefined, [])
  const orthanc = dryRun ? undefined : openOrthanc(options, config.http, concurrency)
  const receiver = orthanc && new Receiver(orthanc)
  const composition = composeGuest(config, options)
  const places = filePlaces(config, composition)
  const stop = interruption()
  stop.addEventListener('abort', () => note('interrupted; what was done so far follows'))
  try {
    await lookAtAll(
      places.map(({ store }) => store),
      false,
      stop,
    )
    await receiver?.look(soon(stop))
    if ((await receiver?.storesIn(soon(stop)))?.includes(composition.store.name))
      warn(`Orthanc stores into ${composition.store.name}, too: with the same RootPath, each file will be there twice`)
    const identity = { ...placesIdentity(config), into: receiver?.name ?? null }
    const { again } = composition
    const work = new Import({ places, keys, receiver, again, concurrency, identity })
    const { tally } = await runBulk(work, { ...options, config: options.from }, importWording(dryRun), stop)
    const found = tally['results']
    if (typeof found === 'object' && FINDINGS.some(finding => found[finding])) process.exitCode ??= 1
  } finally {
    await composition.store.close()
    await orthanc?.close()
  }
}
