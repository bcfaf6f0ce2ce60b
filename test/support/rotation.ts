/** Rotations over a store in memory, as the command does them. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { keysOf } from '../../src/area/naming.ts'
import { Alone } from '../../src/bulk/alone.ts'
import { State } from '../../src/bulk/state.ts'
import { collect, sourceOf } from '../../src/bytes.ts'
import type { Fault } from '../../src/fault.ts'
import { sealedNames } from '../../src/rotate/names.ts'
import { Rotation, type RotationOptions } from '../../src/rotate/rotation.ts'
import type { RotationTally } from '../../src/rotate/tally.ts'
import { a1, keyIdOf } from '../../src/seal/a1.ts'
import { keyring, masterKey } from '../../src/seal/keyring.ts'
import type { Store } from '../../src/stores/store.ts'
import { memoryStore } from './memory-store.ts'
import { noise } from './store.suite.ts'

export const never = new AbortController().signal
const folder = mkdtempSync(join(tmpdir(), 'ocs-rotation-'))
after(() => rmSync(folder, { recursive: true }))
export const newState = () => join(folder, randomUUID())
export const old = masterKey(1, Buffer.alloc(32, 1).toString('base64'))
export const current = masterKey(2, Buffer.alloc(32, 2).toString('base64'))
export const stranger = masterKey(3, Buffer.alloc(32, 3).toString('base64'))
export const naming = { rootPath: 'pacs', structure: 'flat', legacyUnknownFiles: false } as const
export const MB = 1024 * 1024

export const keyOf = (uuid = randomUUID() as string) => keysOf(naming, '.enc', { uuid, type: 'dicom' })[0]
export const sealedBy = (key: typeof old, bytes: Buffer) => a1(keyring(key, [])).seal(sourceOf(bytes))
export const read = async (store: Store, key: string) =>
  collect(a1(keyring(current, [])).unseal(await store.get(key, undefined, never)))
export const idOf = async (store: Store, key: string) =>
  keyIdOf(await collect(await store.get(key, { start: 0, end: 6 }, never)))

/** `count` small objects under the old key, and what is in them. */
export async function filled(count: number, store = memoryStore()) {
  const files = new Map<string, Buffer>()
  for (let i = 0; i < count; i++) {
    const key = keyOf()
    files.set(key, noise(100 + i, i + 1))
    await store.put(key, sealedBy(old, files.get(key) as Buffer), never)
  }
  return { store, files, sorted: [...files.keys()].sort() }
}

interface Run extends Partial<RotationOptions> {
  /** Of the state file. */
  readonly state?: string
  readonly stop?: AbortSignal
}

/** All shards on one machine, as the command does them. */
export async function rotate(store: Store, { state = newState(), stop = never, ...more }: Run = {}) {
  const places = [{ store, names: sealedNames(naming) }]
  const keys = keyring(current, [old])
  const work = new Rotation({
    ...{ places, keys, from: undefined, dryRun: false, concurrency: 3, identity: {} },
    ...more,
  })
  await work.look(never)
  const file = new State(state, { command: work.name, ...work.identity })
  const faults: Fault[] = []
  const alone = new Alone({ work, state: file, onFailure: fault => faults.push(fault) })
  const error = await alone.run(stop).catch(fault => fault as Fault)
  file.close()
  return { tally: alone.outcome.tally as RotationTally, faults, error: error ?? undefined }
}
