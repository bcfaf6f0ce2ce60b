import type { ContentType } from '../area/area.ts'

export const KINDS = ['missing', 'wrong size', 'corrupt', 'unknown key', 'orphan', 'double'] as const
export type Kind = (typeof KINDS)[number]

/** Whether a verification looks for this kind at all. A count of 0 must not stand for what nobody looked at. */
export function isLookedFor(kind: Kind, { deep = false, digests = false }): boolean {
  if (kind === 'unknown key') return deep
  return kind === 'corrupt' ? deep || digests : true
}

export interface Finding {
  readonly kind: Kind
  readonly uuid: string
  /** undefined = neither the index nor the key says it. */
  readonly type: ContentType | undefined
  readonly key: string
  /** Name of the store. */
  readonly store: string
  readonly expected: string
  readonly found: string
  /** Of what is too much: when it was written there, in milliseconds since 1970; absent when that is not known. */
  readonly modified?: number
}
