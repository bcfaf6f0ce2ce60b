/** What `copy` says. */

import { add, type Line, type Tally } from '../bulk/work.ts'
import { amount } from '../bytes.ts'
import { type CopyTally, newTally } from '../copy/tally.ts'
import type { Wording } from './bulk.ts'
import { objects } from './terminal.ts'

export interface CopyNames {
  readonly from: string
  readonly to: string
  readonly dryRun: boolean
}

/** Of a run that ended before a shard did, too. */
export const copyTally = (tally: Tally): CopyTally => add(newTally(), tally) as CopyTally

export const isEqual = ({ source, missing, extra, failures }: CopyTally): boolean =>
  source.objects > 0 && missing === 0 && extra === 0 && failures === 0

export function copyWording({ from, to, dryRun }: CopyNames): Wording {
  return {
    position(some) {
      const { copied, equal, missing, failures } = copyTally(some)
      const done = dryRun ? `${missing} to be copied` : `${objects(copied.objects)} copied (${amount(copied.bytes)})`
      return `${done}, ${sum(equal)} equal, ${failures} failed`
    },
    done(some) {
      const { copied, equal, missing } = copyTally(some)
      return dryRun ? missing + sum(equal) : Math.max(copied.objects, sum(equal))
    },
    sentence({ kind, key, store, size }: Line) {
      const what = `${key} in ${store} (${amount(Number(size))})`
      if (kind === 'missing') return `missing at the target: ${what}`
      if (kind === 'extra') return `extra at the target: ${what}, of a file that the source does not have`
      if (kind === 'other name') return `at the target under another name: ${what}, of a file that the source has`
      return `not copied: ${what}, because Orthanc reads another object of the same file first`
    },
    summary(some, complete) {
      const tally = copyTally(some)
      const { source, target, copied, equal, missing, missingBytes, extra, vanished, doubles, otherNames } = tally
      const left = source.strangers + target.strangers
      return [
        `source: ${objects(source.objects)} in ${from} (${amount(source.bytes)})`,
        `target: ${objects(target.objects)} in ${to}`,
        dryRun
          ? `to be copied: ${missing} (${amount(missingBytes)})`
          : `copied: ${copied.objects} (${amount(copied.bytes)})`,
        `equal: ${sum(equal)}${basisOf(equal)}`,
        ...(dryRun ? [] : [`missing at the target: ${missing}`]),
        `extra at the target: ${extra}`,
        ...(vanished > 0 ? [`removed at the source meanwhile: ${vanished}`] : []),
        ...(doubles > 0 ? [`second objects of the same file, not copied: ${doubles}`] : []),
        ...(otherNames > 0 ? [`at the target under other names: ${otherNames}`] : []),
        ...(left > 0 ? [`left alone: ${objects(left)} with a key that no file of Orthanc's has`] : []),
        ...(tally.failures > 0 ? [`failed: ${tally.failures}`] : []),
        conclusionOf(tally, complete, dryRun),
      ]
    },
  }
}

const sum = (counts: CopyTally['equal']) => Object.values(counts).reduce((all, count) => all + count, 0)

/** On what equality rests. */
function basisOf({ bytes, md5, written, size }: CopyTally['equal']): string {
  const parts = [
    bytes > 0 && `${bytes} by reading both`,
    md5 > 0 && `${md5} by size and MD5`,
    written > 0 && `${written} by the checksum of their write and their size`,
    size > 0 && `${size} by size alone`,
  ].filter(Boolean)
  return parts.length > 0 ? ` (${parts.join(', ')})` : ''
}

function conclusionOf(tally: CopyTally, complete: boolean, dryRun: boolean): string {
  if (isEqual(tally) && complete) return 'Both sides have the same files.'
  if (complete && tally.source.objects === 0)
    return 'The source has no file of Orthanc: look at RootPath and StorageStructure of --from.'
  if (!complete || tally.failures > 0) return 'The sides are not proven to be equal.'
  if (dryRun) return 'Nothing was changed.'
  if (tally.missing > 0) return 'The target does not have everything: run the same command again.'
  return `The target has everything, and ${objects(tally.extra)} more: see --delete-extra.`
}
