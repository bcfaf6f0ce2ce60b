import { closeSync, openSync, readSync } from 'node:fs'
import type { EngineConfig } from '../config/config.ts'
import { loadKeyring } from '../config/key-file.ts'
import { Fault } from '../fault.ts'
import { sealedNames } from '../rotate/names.ts'
import { Rotation } from '../rotate/rotation.ts'
import type { Keyring } from '../seal/keyring.ts'
import { type BulkArguments, runBulk } from './bulk.ts'
import { composeGuest, filePlaces, type GuestOptions, lookAtAll, placesIdentity } from './compose-guest.ts'
import { readConfig } from './orthanc-config.ts'
import { rotationWording } from './rotation-report.ts'
import { fail, failWith, interruption, note, sayJson, warn } from './terminal.ts'

export interface RotateOptions extends Omit<BulkArguments, 'json'>, GuestOptions {
  readonly config: readonly string[]
  readonly from?: readonly number[]
  readonly dryRun?: true
  /** One document, not a line for each object. */
  readonly json?: true
}

export async function rotateKeys({ json, ...options }: RotateOptions): Promise<void> {
  failWith(3)
  const { dryRun = false, concurrency, state } = options
  const config = readConfig(options.config)
  if (!config) throw new Fault('BadConfig', 'the configuration has no section of a storage provider')
  const keys = keyringOf(config)
  const from = options.from && checkedIds(options.from, keys)
  if (state !== undefined) refuseOldState(state)
  const composition = composeGuest(config, options)
  const stop = interruption()
  stop.addEventListener('abort', () => note('interrupted; the objects under way are finished first'))
  // Files on Orthanc's disk are sealed like those in the store: without them, "no longer used" would not be true.
  const places = filePlaces(config, composition).map(place => ({ ...place, names: sealedNames(place.naming) }))
  const identity = placesIdentity(config)
  const work = new Rotation({ places, keys, from, dryRun, concurrency, identity, again: composition.again })
  let reported = false
  const wording = rotationWording({
    ...{ keys, dryRun, empty: work.empty },
    store: places.map(place => place.store.name).join(' and '),
    onDocument:
      json &&
      (report => {
        reported = true
        sayJson(report)
      }),
  })
  try {
    // All places first: "no longer used" for an empty folder that should be a mount would make people destroy keys.
    const stores = places.map(place => place.store)
    await lookAtAll(stores, !dryRun, stop)
    await work.look(stop)
    await runBulk(work, options, wording, stop)
  } catch (error) {
    const fault = endOf(Fault.from(error))
    if (!reported) throw fault
    fail(fault) // standard output has its document already
  } finally {
    await composition.store.close()
  }
}

function endOf(fault: Fault): Fault {
  if (fault.code !== 'Canceled') return fault
  return new Fault('Canceled', 'the rotation was interrupted before its end', {
    cause: fault,
    remedy: 'Nothing is lost: run the same command again to go on.',
  })
}

/** Earlier versions wrote JSON. The objects themselves say what is done, so it is of no use any more. */
function refuseOldState(file: string): void {
  const start = Buffer.alloc(1)
  try {
    const handle = openSync(file, 'r')
    readSync(handle, start)
    closeSync(handle)
  } catch {
    return // it is not there yet, or the one who opens it says what is wrong
  }
  if (start.toString() !== '{') return
  throw new Fault('BadRequest', `${file} was written by an earlier version of rotate-keys`, {
    remedy:
      'Remove it, and in a hybrid mode the one that ends in .disk. Nothing is lost: what is done is not done again.',
  })
}

function keyringOf({ encryption }: EngineConfig): Keyring {
  if (!encryption?.enabled)
    throw new Fault('BadConfig', 'the configuration has no StorageEncryption that is enabled', {
      remedy: 'Objects are re-encrypted under its MasterKey; older keys belong in PreviousMasterKeys.',
    })
  return loadKeyring(encryption, warn)
}

/** Otherwise a mistyped number would end in "0 objects", as if the key were not used. */
function checkedIds(ids: readonly number[], keys: Keyring): ReadonlySet<number> {
  for (const id of ids) {
    if (id === keys.current?.id) throw new Fault('BadRequest', `--from ${id}: it is the current key`)
    if (!keys.find(id)) throw new Fault('BadRequest', `--from ${id}: the configuration has no such key`)
  }
  return new Set(ids)
}
