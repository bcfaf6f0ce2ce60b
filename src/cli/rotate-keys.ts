import { compose } from '../compose.ts'
import type { EngineConfig } from '../config/config.ts'
import { loadKeyring } from '../config/key-file.ts'
import { Fault } from '../fault.ts'
import { logTo } from '../log.ts'
import { sealedNames } from '../rotate/names.ts'
import { Rotation } from '../rotate/rotation.ts'
import type { Keyring } from '../seal/keyring.ts'
import { readConfig } from './orthanc-config.ts'
import { withProgress } from './progress.ts'
import { report, reportOf, wordsOf } from './rotation-report.ts'
import { readState, removeState, writeState } from './rotation-state.ts'
import { amount, fail, interruption, note, objects, sayJson, warn } from './terminal.ts'

export interface RotateOptions {
  readonly config: readonly string[]
  readonly from?: readonly number[]
  readonly dryRun?: true
  readonly concurrency: number
  readonly state?: string
  readonly json?: true
}

const REMEMBER_MS = 2_000

export async function rotateKeys(options: RotateOptions): Promise<void> {
  const { dryRun = false, concurrency, state } = options
  const config = readConfig(options.config)
  if (!config) throw new Fault('BadConfig', 'the configuration has no section of a storage provider')
  const keys = keysOf(config)
  const from = options.from && fromOf(options.from, keys)
  const { store } = compose(
    withRoomFor(config, concurrency),
    logTo(() => {}), // what fails is told below, and what is warned of was told already
  )
  const work = wordsOf(store.name, config, keys, from)
  const rotation = new Rotation({
    store,
    keys,
    names: sealedNames(config.naming),
    from,
    dryRun,
    concurrency,
    resume: state === undefined ? undefined : readState(state, work),
    onFailure: fail,
  })
  const position = () => {
    const { moved, movedBytes } = rotation.tally
    const verb = dryRun ? 'to re-encrypt' : 're-encrypted'
    return {
      share: rotation.share,
      text: `${objects(moved)} ${verb} (${amount(movedBytes)}), ${rotation.failed.size} failed`,
    }
  }
  const remember = () => {
    if (state !== undefined && !dryRun) writeState(state, work, rotation.remembered)
  }
  const stop = interruption()
  stop.addEventListener('abort', () => note('interrupted; the objects under way are finished first'))
  const timer = setInterval(remember, REMEMBER_MS)
  try {
    await withProgress(position, () => rotation.run(stop))
  } finally {
    clearInterval(timer)
    remember()
    await store.close()
  }
  const result = reportOf(store.name, rotation, keys, dryRun)
  if (options.json) sayJson(result)
  else report(result)
  if (rotation.complete && rotation.failed.size === 0 && state !== undefined && !dryRun) removeState(state)
  if (!rotation.complete)
    fail(
      new Fault('Canceled', 'the rotation was interrupted before its end', {
        remedy: 'Nothing is lost: give the same command again to go on.',
      }),
    )
  else if (rotation.failed.size > 0)
    fail(
      new Fault('Corrupt', `${objects(rotation.failed.size)} could not be re-encrypted, as said above`, {
        remedy: 'The others are done.',
      }),
    )
}

function keysOf({ encryption }: EngineConfig): Keyring {
  if (!encryption?.enabled)
    throw new Fault('BadConfig', 'the configuration has no StorageEncryption that is enabled', {
      remedy: 'Objects are re-encrypted under its MasterKey; the keys before it belong into PreviousMasterKeys.',
    })
  return loadKeyring(encryption, warn)
}

/** A number that is mistyped would otherwise end in "0 objects" and a false belief. */
function fromOf(ids: readonly number[], keys: Keyring): ReadonlySet<number> {
  for (const id of ids) {
    if (id === keys.current?.id) throw new Fault('BadRequest', `--from ${id}: it is the current key`)
    if (!keys.find(id)) throw new Fault('BadRequest', `--from ${id}: the configuration has no such key`)
  }
  return new Set(ids)
}

/**
 * While one connection sends a large object, another reads it. With fewer than two connections for each object, all could be
 * sending and none reading.
 */
function withRoomFor(config: EngineConfig, concurrency: number): EngineConfig {
  const { provider } = config
  if (!('maxConnections' in provider)) return config
  return {
    ...config,
    provider: { ...provider, maxConnections: Math.max(provider.maxConnections, 2 * concurrency + 2) },
  }
}
