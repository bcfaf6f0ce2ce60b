/** What `rotate-keys` did, for people and as one JSON document. */
import { SHARDS, type Tally } from '../bulk/work.ts'
import { amount } from '../bytes.ts'
import type { RotationTally } from '../rotate/tally.ts'
import type { Keyring } from '../seal/keyring.ts'
import type { Wording } from './bulk.ts'
import { objects } from './terminal.ts'

/** What `rotate-keys --json` prints. All places of the files are one store for a change of the key. */
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

export interface RotationWording {
  /** Names of the places. */
  readonly store: string
  readonly keys: Keyring
  readonly dryRun: boolean
  /** Of this process. */
  readonly empty: ReadonlySet<string>
  /** Given the one document of `--json`, in place of the report for people. */
  readonly onDocument: ((report: RotationReport) => void) | undefined
}

export function rotationWording({ store, keys: keyring, dryRun, empty, onDocument }: RotationWording): Wording {
  const currentKey = keyring.current?.id ?? 0

  function reportOf(counts: Tally): RotationReport {
    const tally = counts as RotationTally
    const { keys, moved, movedBytes, plain, vanished, failures, unknown, shards } = tally
    const complete = shards === SHARDS
    const emptyPlaces = [...new Set([...Object.keys(tally.empty), ...empty])]
    const allKnown = complete && emptyPlaces.length === 0 && unknown === 0
    const unused = keyring.ids.filter(id => id !== currentKey && !keys[id])
    return {
      ...{ store, currentKey, dryRun, complete, reencrypted: { objects: moved, bytes: movedBytes }, keys },
      unusedKeys: allKnown ? unused.sort((a, b) => a - b) : [],
      ...(complete && emptyPlaces.length > 0 && { emptyPlaces }),
      ...{ plain, vanished, failed: failures },
    }
  }

  function summary(tally: Tally): readonly string[] {
    const { reencrypted, keys, unusedKeys, emptyPlaces = [], plain, vanished, failed } = reportOf(tally)
    const verb = dryRun ? 'would be re-encrypted' : 're-encrypted'
    const current = (id: string) => (Number(id) === currentKey ? ', the current key' : '')
    return [
      `${objects(reencrypted.objects)} ${verb} under key ${currentKey} (${amount(reencrypted.bytes)})`,
      ...Object.entries(keys).map(([id, count]) => `key ${id}: ${objects(count)}${current(id)}`),
      ...(plain > 0 ? [`not encrypted: ${objects(plain)}`] : []),
      ...(vanished > 0 ? [`removed meanwhile: ${objects(vanished)}`] : []),
      ...(failed > 0 ? [`failed: ${objects(failed)}`] : []),
      ...emptyPlaces.map(
        place =>
          `no file of Orthanc's was found in ${place}: if that is right, no key is used there; ` +
          'this run does not say which keys are no longer used',
      ),
      ...unusedKeys.map(id => `key ${id} is no longer used`),
    ]
  }

  return {
    position({ moved, movedBytes, failures }) {
      const verb = dryRun ? 'to re-encrypt' : 're-encrypted'
      return `${objects(Number(moved))} ${verb} (${amount(Number(movedBytes))}), ${failures} failed`
    },
    done(counts) {
      const { keys, plain, vanished, unknown } = counts as RotationTally
      return Object.values(keys).reduce((sum, count) => sum + count, plain + vanished + unknown)
    },
    tellsAllFailures: true,
    sentence: () => undefined,
    summary,
    ...(onDocument && { document: tally => onDocument(reportOf(tally)) }),
  }
}
