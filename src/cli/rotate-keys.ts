import { diskNaming, type Naming } from '../area/naming.ts'
import { amount } from '../bytes.ts'
import type { EngineConfig } from '../config/config.ts'
import { loadKeyring } from '../config/key-file.ts'
import { Fault } from '../fault.ts'
import { sealedNames } from '../rotate/names.ts'
import { Rotation } from '../rotate/rotation.ts'
import type { Keyring } from '../seal/keyring.ts'
import type { Store } from '../stores/store.ts'
import { composeGuest, type GuestOptions, lookAtAll } from './compose-guest.ts'
import { readConfig } from './orthanc-config.ts'
import { withProgress } from './progress.ts'
import { describeRotation, report, rotationReport } from './rotation-report.ts'
import { readState, removeState, writeState } from './rotation-state.ts'
import { fail, interruption, note, objects, sayJson, warn } from './terminal.ts'

export interface RotateOptions extends GuestOptions {
  readonly config: readonly string[]
  readonly from?: readonly number[]
  readonly dryRun?: true
  readonly state?: string
  readonly json?: true
}

const REMEMBER_MS = 2_000

export async function rotateKeys(options: RotateOptions): Promise<void> {
  const { dryRun = false, concurrency, state } = options
  const config = readConfig(options.config)
  if (!config) throw new Fault('BadConfig', 'the configuration has no section of a storage provider')
  const keys = keyringOf(config)
  const from = options.from && checkedIds(options.from, keys)
  const { store, hybrid, again } = composeGuest(config, options)
  const stop = interruption()
  stop.addEventListener('abort', () => note('interrupted; the objects under way are finished first'))
  const begin = (place: Store, naming: Naming, stateFile: string | undefined): Run => {
    const work = describeRotation(place.name, config, naming, keys, from)
    const resume = stateFile === undefined ? undefined : readState(stateFile, work)
    const names = sealedNames(naming)
    const how = { from, dryRun, concurrency, resume, again, onFailure: fail }
    const rotation = new Rotation({ store: place, keys, names, ...how })
    return { place, rotation, work, state: dryRun ? undefined : stateFile }
  }
  const runs = [begin(store, config.naming, state)]
  // Files on Orthanc's disk are sealed like those in the store: without them, "no longer used" would not be true.
  if (hybrid) runs.push(begin(hybrid.fileSystem, diskNaming, state && `${state}.disk`))
  const names = hybrid ? `${store.name} and ${hybrid.fileSystem.name}` : store.name
  try {
    // All places first: "no longer used" for an empty folder that should be a mount would make people destroy keys.
    await lookAtAll(
      runs.map(({ place }) => place),
      !dryRun,
    )
    for (const run of runs) await carryOut(run, dryRun, stop)
  } finally {
    await store.close()
  }
  const rotations = runs.map(run => run.rotation)
  const empty = runs.filter(({ rotation }) => rotation.listed === 0).map(({ place }) => place.name)
  const result = rotationReport(names, rotations, keys, dryRun, empty)
  if (options.json) sayJson(result)
  else report(result)
  for (const run of runs)
    if (run.rotation.complete && run.rotation.failed.size === 0 && run.state !== undefined) removeState(run.state)
  if (!result.complete)
    fail(
      new Fault('Canceled', 'the rotation was interrupted before its end', {
        remedy: 'Nothing is lost: run the same command again to go on.',
      }),
    )
  else if (result.failed > 0)
    fail(
      new Fault('Corrupt', `${objects(result.failed)} could not be re-encrypted, as reported above`, {
        remedy: 'The others are done.',
      }),
    )
}

interface Run {
  readonly place: Store
  readonly rotation: Rotation
  readonly work: string
  /** undefined = nothing is remembered. */
  readonly state: string | undefined
}

async function carryOut({ rotation, work, state }: Run, dryRun: boolean, stop: AbortSignal): Promise<void> {
  const position = () => {
    const { moved, movedBytes } = rotation.tally
    const verb = dryRun ? 'to re-encrypt' : 're-encrypted'
    return {
      share: rotation.share,
      text: `${objects(moved)} ${verb} (${amount(movedBytes)}), ${rotation.failed.size} failed`,
    }
  }
  const write = () => {
    if (state !== undefined) writeState(state, work, rotation.remembered)
  }
  let warned = false
  /** What goes wrong with the file in the middle of hours of work must not end the work. */
  const remember = () => {
    try {
      write()
    } catch (error) {
      if (!warned) warn(Fault.from(error).describe())
      warned = true
    }
  }
  write() // if it cannot be written at all, the run ends here, before the work
  const timer = setInterval(remember, REMEMBER_MS)
  try {
    await withProgress(position, () => rotation.run(stop))
  } finally {
    clearInterval(timer)
    remember()
  }
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
