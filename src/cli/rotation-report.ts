import type { Naming } from '../area/naming.ts'
import { amount } from '../bytes.ts'
import type { EngineConfig } from '../config/config.ts'
import type { Rotation } from '../rotate/rotation.ts'
import type { Keyring } from '../seal/keyring.ts'
import { objects, say } from './terminal.ts'

/** What `rotate-keys --json` prints. */
export interface RotationReport {
  readonly store: string
  readonly currentKey: number
  readonly dryRun: boolean
  /** Whether every object of the store was looked at. */
  readonly complete: boolean
  readonly reencrypted: { readonly objects: number; readonly bytes: number }
  /** Objects by the id of the key they are under. In a dry run: now. */
  readonly keys: Readonly<Record<string, number>>
  /** Configured keys that no object is under; only a complete run can tell, which found something in every place. */
  readonly unusedKeys: readonly number[]
  /** Places without a single object of ours, if there are any: perhaps they are the wrong ones. */
  readonly emptyPlaces?: readonly string[]
  readonly plain: number
  readonly vanished: number
  readonly failed: number
}

/** One report for all places of the files: for a change of the key they are one store. */
export function rotationReport(
  store: string,
  rotations: readonly Rotation[],
  keyring: Keyring,
  dryRun: boolean,
  emptyPlaces: readonly string[],
): RotationReport {
  const keys: Record<string, number> = {}
  const add = (id: string | number, objects: number) => {
    keys[id] = (keys[id] ?? 0) + objects
  }
  const failed = rotations.flatMap(rotation => [...rotation.failed.values()])
  for (const { tally } of rotations) for (const [id, objects] of Object.entries(tally.keys)) add(id, objects)
  for (const id of failed) if (id !== undefined) add(id, 1)
  const sum = (what: 'moved' | 'movedBytes' | 'plain' | 'vanished') =>
    rotations.reduce((total, { tally }) => total + tally[what], 0)
  const complete = rotations.every(rotation => rotation.complete)
  const allKnown = complete && emptyPlaces.length === 0 && failed.every(id => id !== undefined)
  const unused = keyring.ids.filter(id => id !== keyring.current?.id && !keys[id])
  return {
    store,
    currentKey: keyring.current?.id ?? 0,
    dryRun,
    complete,
    reencrypted: { objects: sum('moved'), bytes: sum('movedBytes') },
    keys,
    unusedKeys: allKnown ? unused.sort((a, b) => a - b) : [],
    ...(complete && emptyPlaces.length > 0 && { emptyPlaces }),
    plain: sum('plain'),
    vanished: sum('vanished'),
    failed: failed.length,
  }
}

export function report(result: RotationReport): void {
  const { currentKey, dryRun, reencrypted, keys, unusedKeys, emptyPlaces = [], plain, vanished, failed } = result
  const verb = dryRun ? 'would be re-encrypted' : 're-encrypted'
  say(`${objects(reencrypted.objects)} ${verb} under key ${currentKey} (${amount(reencrypted.bytes)})`)
  for (const [id, count] of Object.entries(keys))
    say(`key ${id}: ${objects(count)}${Number(id) === currentKey ? ', the current key' : ''}`)
  if (plain > 0) say(`not encrypted: ${objects(plain)}`)
  if (vanished > 0) say(`removed meanwhile: ${objects(vanished)}`)
  if (failed > 0) say(`failed: ${objects(failed)}`)
  for (const place of emptyPlaces)
    say(
      `no file of Orthanc's was found in ${place}: if that is right, no key is used there; ` +
        'this run does not say which keys are no longer used',
    )
  for (const id of unusedKeys) say(`key ${id} is no longer used`)
}

/** What a rotation is about, for people and for comparing a state with a run. Nothing secret. */
export function describeRotation(
  store: string,
  { provider }: EngineConfig,
  { rootPath, structure }: Naming,
  keys: Keyring,
  from: ReadonlySet<number> | undefined,
): string {
  const server = 'endpoint' in provider && provider.endpoint ? ` at ${provider.endpoint}` : ''
  const root = rootPath === '' ? '' : ` below ${rootPath}`
  const some = from ? `, only from ${[...from].sort((a, b) => a - b).join(' and ')}` : ''
  return `${store}${server}${root}, ${structure}, to key ${keys.current?.id}${some}`
}
