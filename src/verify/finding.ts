import type { ContentType } from '../area/area.ts'

export const KINDS = ['missing', 'wrong size', 'corrupt', 'unknown key', 'orphan', 'double', 'leftover'] as const
export type Kind = (typeof KINDS)[number]

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
