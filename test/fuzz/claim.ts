/** A target of the fuzzer is a file beside this one that exports `claims`: what must hold for all inputs. */
import type { fc } from '../support/property.ts'

export interface Claim {
  readonly property: fc.IRawProperty<unknown>
  /** So many inputs in `npm test`; `npm run fuzz` takes as many as there is time for. */
  readonly runs: number
}

/** Each named by the sentence that it tests. */
export type Claims = Readonly<Record<string, Claim>>
