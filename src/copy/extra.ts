/**
 * Removes from the target what the source does not have. Each object is looked up at the source again, under every name
 * that its file could have there, right before it goes: a listing proves no absence. Only keys of Orthanc's files below
 * the root path of the target are ever listed, so neither the trash nor anything of others is touched.
 */
import type { ContentType } from '../area/area.ts'
import { keysOf } from '../area/naming.ts'
import { Crew } from '../bulk/crew.ts'
import { Fault, throwIfAborted } from '../fault.ts'
import { DIGITS, type Listing, listingOf, MOST_LISTED } from './listing.ts'
import type { Item, Side } from './side.ts'
import type { CopyTally } from './tally.ts'

/** Where more of the target would go, the exact number must be given. */
const MOST_SHARE = 0.05
const TYPES: readonly ContentType[] = ['dicom', 'dicom-as-json', 'dicom-until-pixel-data', 'unknown']

/** Throws unless so many objects may go: nothing is removed because a wrong place was named, or could not be read. */
export function refuseRemoval(tally: CopyTally, complete: boolean, expect: number | undefined): void {
  const { source, target, extra, youngExtra, missing } = tally
  const refuse = (why: string, remedy: string) => new Fault('BadRequest', `nothing is removed: ${why}`, { remedy })
  if (source.objects === 0)
    throw refuse('the source has no file of Orthanc', 'Look whether --from names the right place.')
  if (!complete || missing > 0)
    throw refuse(
      'not everything of the source is at the target',
      'Run the same command again when the copy has ended well.',
    )
  if (expect !== undefined && expect !== extra)
    throw refuse(
      `${extra} objects would go, not ${expect}`,
      'Look at the lines "extra" of --json, then give their number.',
    )
  if (expect === undefined && youngExtra > 0)
    throw refuse(
      `${youngExtra} of the ${extra} extra objects were written within the last day: does an Orthanc write there?`,
      `Look at the lines "extra" of --json. If all of them may go, add --expect ${extra}.`,
    )
  if (expect === undefined && extra > MOST_SHARE * target.objects)
    throw refuse(
      `${extra} of the ${target.objects} objects of the target would go, which is more than one in twenty`,
      `Look at the lines "extra" of --json. If all of them may go, add --expect ${extra}.`,
    )
}

export interface RemovalOptions {
  readonly from: Side
  readonly to: Side
  readonly concurrency: number
  /** Of performance.now(), when they were counted. What is younger was not. */
  readonly countedAt: number
  /** More are never removed: so many were counted, and allowed. */
  readonly most: number
  /** What is counted, also where it ends before its end. */
  readonly done?: Removed
  onFailure(fault: Fault): void
  /** Of each side, at once in memory. For tests. */
  readonly mostListed?: number
}

export interface Removed {
  removed: number
  /** The source has them after all, or they were written after the count. */
  kept: number
  failures: number
}

export async function removeExtra(options: RemovalOptions, signal: AbortSignal): Promise<Removed> {
  const removal = new Removal(options, signal)
  for (const digit of DIGITS) await removal.window(digit)
  return removal.done
}

class Removal {
  readonly done: Removed
  readonly #options: RemovalOptions
  readonly #signal: AbortSignal
  readonly #crew: Crew
  #begun = 0

  constructor(options: RemovalOptions, signal: AbortSignal) {
    this.#options = options
    this.done = options.done ?? { removed: 0, kept: 0, failures: 0 }
    this.#signal = signal
    this.#crew = new Crew(options.concurrency, fault => {
      this.done.failures++
      options.onFailure(fault)
    })
  }

  async window(digits: string): Promise<void> {
    const { from, to, mostListed = MOST_LISTED } = this.#options
    const target = await listingOf(to, digits, mostListed, this.#signal)
    if (target?.items.size === 0) return
    const source = target && (await listingOf(from, digits, mostListed, this.#signal))
    if (source && target) return await this.#remove(source, target)
    for (const digit of DIGITS) await this.window(digits + digit)
  }

  async #remove(source: Listing, target: Listing): Promise<void> {
    const files = new Set([...source.items.values()].map(({ uuid }) => uuid))
    try {
      for (const item of target.items.values()) {
        if (files.has(item.uuid)) continue
        if (this.#isNew(item)) {
          this.done.kept++
          continue
        }
        throwIfAborted(this.#signal)
        if (++this.#begun > this.#options.most)
          throw new Fault(
            'BadRequest',
            `there are more extra objects now than the ${this.#options.most} that were counted`,
            {
              remedy:
                'Find out what writes to the target, or removes from the source, then run the same command again.',
            },
          )
        await this.#crew.add(() => this.#one(item))
      }
    } finally {
      await this.#crew.end()
    }
  }

  /** Dates of HTTP are of whole seconds, so this may be wrong by one. */
  #isNew({ ageMs }: Item): boolean {
    return !(ageMs > performance.now() - this.#options.countedAt)
  }

  async #one(item: Item): Promise<void> {
    const { from, to } = this.#options
    for (const key of namesOf(from, item))
      if (await from.store.stat(key, this.#signal)) {
        this.done.kept++
        return
      }
    await to.store.remove(item.key, this.#signal)
    this.done.removed++
  }
}

/** All that this file could be called there. */
function namesOf({ naming }: Side, { uuid, type }: Item): ReadonlySet<string> {
  const types = type === undefined ? TYPES : [type]
  return new Set(
    types.flatMap(one => (['', '.enc'] as const).flatMap(suffix => keysOf(naming, suffix, { uuid, type: one }))),
  )
}
