/** Whether the target has an object like the source, and on what that rests. */
import type { Pair } from './pairs.ts'
import type { Plan } from './plan.ts'
import { type Item, isSealing, type Side, sealedIn } from './side.ts'
import type { CopyTally } from './tally.ts'
import type { Sent, Transfer } from './transfer.ts'

/** See CopyTally. */
export type Likeness = keyof CopyTally['equal']

export interface ComparisonOptions {
  readonly from: Side
  readonly to: Side
  readonly plan: Plan
  readonly transfer: Pick<Transfer, 'compare'>
  /** Whether all are read. */
  readonly deep: boolean
}

type There = Pair & { readonly there: Item }

export class Comparison {
  readonly #options: ComparisonOptions
  /** What some servers tell as an MD5 is none. One proof of that is enough. */
  #areMd5 = true

  constructor(options: ComparisonOptions) {
    this.#options = options
  }

  /** Without a request. `sent`: what was written in this run. Undefined: it must be looked at. */
  quick(pair: There, sent: Sent | undefined): Likeness | 'other' | undefined {
    const { plan, deep } = this.#options
    const { sealed } = pair.item
    if (sealed === undefined && !plan.asStored) return undefined
    if (!this.#hasRightSize(pair, sealed ?? false)) return 'other'
    return deep ? undefined : this.#byDigest(pair, sent, sealed ?? false)
  }

  async look(pair: There, sent: Sent | undefined, signal: AbortSignal): Promise<Likeness | 'other'> {
    const { from, plan, deep, transfer } = this.#options
    const { item, there } = pair
    const sealed = plan.asStored ? false : await sealedIn(from, item, signal)
    if (!this.#hasRightSize(pair, sealed)) return 'other'
    const told = deep ? undefined : this.#byDigest(pair, sent, sealed)
    if (told) return told
    const likeness = await transfer.compare(item, there, signal)
    if (likeness === 'bytes' && this.#byDigest(pair, sent, sealed) === undefined) this.#areMd5 = false
    return likeness === 'other' ? 'other' : 'bytes'
  }

  #hasRightSize({ item, there }: There, sealed: boolean): boolean {
    return there.size === this.#options.plan.sizeOf(item, sealed)
  }

  /** Undefined: the digests differ. */
  #byDigest({ item, there }: There, sent: Sent | undefined, sealed: boolean): Likeness | undefined {
    const { plan, to } = this.#options
    const keepsBytes = plan.asStored || (!sealed && !isSealing(to.envelopes[0]))
    const wanted = sent?.md5 ?? (keepsBytes ? item.md5 : undefined)
    if (this.#areMd5 && wanted !== undefined && there.md5 !== undefined) return wanted === there.md5 ? 'md5' : undefined
    return sent ? 'written' : 'size'
  }
}
