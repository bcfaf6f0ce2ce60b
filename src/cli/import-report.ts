/** What `import` did, for people. */
import type { Line, Tally } from '../bulk/work.ts'
import { amount } from '../bytes.ts'
import type { Result } from '../import/tally.ts'
import type { Wording } from './bulk.ts'
import { objects } from './terminal.ts'

const MEANING: Readonly<Record<Result, string>> = {
  dicom: 'DICOM files that would be sent',
  imported: 'imported: Orthanc has them now',
  present: 'Orthanc had them already, with the same bytes',
  different: 'different: Orthanc has the instance with other bytes. It was left as it is',
  changed: 'changed: Orthanc has stored other bytes than it got',
  filtered: 'filtered: a filter of Orthanc did not take them',
  refused: 'refused by Orthanc',
  damaged: 'damaged: not sent',
  unclear: 'unclear: not sent, because they may be only the beginning of an image',
  derived: 'other files of Orthanc, which it makes again',
  other: 'no DICOM',
}
const IN_REHEARSAL: readonly Result[] = ['dicom', 'damaged', 'unclear', 'derived', 'other']

export function importWording(dryRun: boolean): Wording {
  const results = Object.keys(MEANING).filter(
    result => (result !== 'dicom' || dryRun) && (!dryRun || IN_REHEARSAL.includes(result as Result)),
  ) as Result[]
  return {
    position: ({ objects: count, bytes }) =>
      `${objects(Number(count))} looked at, ${amount(Number(bytes))} ${dryRun ? 'of DICOM' : 'imported'}`,
    done: ({ objects: count }) => Number(count),
    sentence,
    summary(tally) {
      const found = tally['results'] as Tally
      const size = ` (${amount(Number(tally['bytes']))})`
      return [
        objects(Number(tally['objects'])),
        ...results.map(result => {
          const all = Number(found[result] ?? 0)
          return `  ${all} ${MEANING[result]}${result === 'imported' || result === 'dicom' ? size : ''}`
        }),
        ...(tally['bySize'] === 0
          ? []
          : [`${tally['bySize']} of them were compared by size only: Orthanc keeps no MD5 (StoreMD5ForAttachments)`]),
      ]
    },
  }
}

function sentence({ kind, store, key, why, md5, size, inOrthanc }: Line): string {
  const place = `${kind}: ${key} in ${store}`
  if (why !== undefined) return `${place}: ${why}`
  const held = inOrthanc as Tally
  const has = (one: { size: unknown; md5: unknown }) => `${one.size} bytes, MD5 ${one.md5 ?? 'not kept'}`
  return `${place}: ${has({ size, md5 })}; in Orthanc ${has({ size: held['size'], md5: held['md5'] })}`
}
