/** What a rotation has counted. Plain data: it goes into the state file as it is. */
export interface RotationTally {
  /** Objects by the id of the master key they are under now. */
  keys: Record<string, number>
  /** Not sealed. In the `legacy` structure, sealed and plain objects have the same keys. */
  plain: number
  /** Re-encrypted. In a dry run: to be re-encrypted. */
  moved: number
  /** Sealed bytes of those. */
  movedBytes: number
  /** Removed by Orthanc while we worked. */
  vanished: number
}

export type ObjectOutcome =
  | { readonly kind: 'sealed'; readonly id: number }
  | { readonly kind: 'moved'; readonly id: number; readonly bytes: number }
  | { readonly kind: 'plain' | 'vanished' }
  /** `id` undefined: the master key of the object is not known. */
  | { readonly kind: 'failed'; readonly id: number | undefined }

export const emptyTally = (): RotationTally => ({ keys: {}, plain: 0, moved: 0, movedBytes: 0, vanished: 0 })

export function count(tally: RotationTally, outcome: Exclude<ObjectOutcome, { kind: 'failed' }>): void {
  switch (outcome.kind) {
    case 'plain':
    case 'vanished':
      tally[outcome.kind]++
      return
    case 'moved':
      tally.moved++
      tally.movedBytes += outcome.bytes
  }
  tally.keys[outcome.id] = (tally.keys[outcome.id] ?? 0) + 1
}
