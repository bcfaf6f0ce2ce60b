/** What became of each object. */
import type { Line, ShardTally } from '../bulk/work.ts'

export const FINDINGS = ['different', 'changed', 'filtered', 'refused', 'damaged', 'unclear'] as const

/**
 * `imported`: Orthanc has it now. `present`: it had it already, with the same bytes. `dicom`: in a dry run, it would be
 * sent. Findings, each with a line: `different`, Orthanc has the instance with other bytes; `changed`, Orthanc has
 * stored other bytes than it got; `filtered`, `refused`, Orthanc did not take it; `damaged`, its bytes are not whole;
 * `unclear`, a DICOM file that may be the beginning of another one. No DICOM: `derived`, what Orthanc makes of an
 * image, and its other attachments; `other`, anything else.
 */
export type Result = (typeof FINDINGS)[number] | 'imported' | 'present' | 'dicom' | 'derived' | 'other'

export interface Outcome {
  readonly result: Result
  /** Of the DICOM file; 0 for anything else. */
  readonly bytes: number
  /** Orthanc keeps no MD5, so only the size was compared. */
  readonly bySize?: true
  readonly line?: Line
}

export interface ImportTally extends ShardTally {
  readonly objects: number
  /** Of those that were imported; in a dry run, of those that would be sent. */
  readonly bytes: number
  readonly bySize: number
  readonly results: Readonly<Record<string, number>>
}

export const emptyTally: ImportTally = { failures: 0, objects: 0, bytes: 0, bySize: 0, results: {} }

/** `undefined`: it could not be done. */
export function counted(tally: ImportTally, outcome: Outcome | undefined): ImportTally {
  if (!outcome) return { ...tally, failures: tally.failures + 1 }
  const { result, bytes, bySize } = outcome
  return {
    ...tally,
    objects: tally.objects + 1,
    bytes: tally.bytes + (result === 'imported' || result === 'dicom' ? bytes : 0),
    bySize: tally.bySize + (bySize ? 1 : 0),
    results: { ...tally.results, [result]: (tally.results[result] ?? 0) + 1 },
  }
}
