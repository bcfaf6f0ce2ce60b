/** One window: what is listed of both sides, what is copied, and what the next listing shows of it. */
import type { Crew } from '../bulk/crew.ts'
import type { Shard } from '../bulk/work.ts'
import { Fault, throwIfAborted } from '../fault.ts'
import type { Comparison, Likeness } from './compare.ts'
import { DIGITS, type Listings, type Lists, listingsOf, MOST_LISTED, strangersIn } from './listing.ts'
import { type Pair, type Pairs, pairsOf, type Unplaced } from './pairs.ts'
import type { Plan } from './plan.ts'
import type { Item, Side } from './side.ts'
import type { CopyTally, Writable } from './tally.ts'
import type { Sent, Transfer } from './transfer.ts'
import type { TypeOf } from './types.ts'

export interface WindowOptions {
  readonly from: Side
  readonly to: Side
  readonly plan: Plan
  readonly transfer: Pick<Transfer, 'copy'>
  readonly dryRun: boolean
  /** Of each side, at once in memory. For tests. */
  readonly mostListed?: number
}

/** What all windows of a shard have in common. */
export interface Within {
  readonly crew: Crew
  readonly comparison: Comparison
  readonly shard: Pick<Shard, 'line' | 'failed'>
  readonly tally: Writable<CopyTally>
  readonly typeOf: TypeOf
  /** Both sides as shards list them first. */
  readonly first: readonly [Lists, Lists]
}

/** How often what is missing is copied: the source may have new objects in each listing. */
const MOST_ROUNDS = 3
const DAY_MS = 86_400_000

export class Window {
  readonly #options: WindowOptions
  readonly #within: Within
  /** What is known of the objects, by their keys at the source. */
  readonly #known = new Map<string, Sent | Likeness | 'failed' | 'vanished'>()

  constructor(options: WindowOptions, within: Within) {
    this.#options = options
    this.#within = within
  }

  /** `digits`: the first ones of the UUIDs, at least two. */
  async run(digits: string, signal: AbortSignal): Promise<void> {
    const { dryRun, from, to, plan, mostListed = MOST_LISTED } = this.#options
    const { typeOf, first } = this.#within
    for (let round = 1; ; round++) {
      const sides = round === 1 && digits.length === 2 ? first : ([from, to] as const)
      const listings = await listingsOf(sides, digits, mostListed, signal)
      if (!listings) {
        for (const digit of DIGITS) await new Window(this.#options, this.#within).run(digits + digit, signal)
        return
      }
      const pairs = pairsOf(...listings, { from, plan, typeOf })
      const copies = !dryRun && round <= MOST_ROUNDS
      if (!(await this.#settle(pairs, copies, signal))) return this.#count(digits, pairs, listings)
    }
  }

  /** Whether something was copied. */
  async #settle({ pairs, unplaced }: Pairs, copies: boolean, signal: AbortSignal): Promise<boolean> {
    const { crew } = this.#within
    let copied = false
    for (const { item, why } of unplaced) this.#fail(item, this.#unplaced(item, why))
    const group = crew.group(fault => this.#tell(fault))
    try {
      for (const pair of pairs) {
        throwIfAborted(signal)
        const known = this.#known.get(pair.item.key)
        if (typeof known === 'string') continue
        const work = this.#workOn(pair, known, copies, signal)
        if (!work) continue
        await group.add(async () => {
          try {
            copied = (await work()) || copied
          } catch (error) {
            this.#known.set(pair.item.key, 'failed')
            throw noRoom(Fault.from(error))
          }
        })
      }
      await group.end()
      return copied
    } catch (error) {
      await group.end().catch(() => {}) // the first failure is the one to report
      throw error
    }
  }

  /** Undefined: nothing is to be asked. The work resolves to whether something was copied. */
  #workOn(
    pair: Pair,
    sent: Sent | undefined,
    copies: boolean,
    signal: AbortSignal,
  ): (() => Promise<boolean>) | undefined {
    const { comparison } = this.#within
    const { item, there } = pair
    if (there) {
      const found = { ...pair, there }
      const likeness = comparison.quick(found, sent)
      if (likeness) {
        this.#note(found, likeness)
        return undefined
      }
      return async () => {
        this.#note(found, await comparison.look(found, sent, signal))
        return false
      }
    }
    if (sent) this.#fail(item, this.#lost(pair))
    return copies && !sent ? () => this.#copy(pair, signal) : undefined
  }

  async #copy({ item, key }: Pair, signal: AbortSignal): Promise<boolean> {
    const { tally } = this.#within
    const sent = await this.#options.transfer.copy(item, key, signal)
    this.#known.set(item.key, sent ?? 'vanished')
    if (!sent) tally.vanished++
    else {
      tally.copied.objects++
      tally.copied.bytes += sent.size
    }
    return sent !== undefined
  }

  #note(pair: Pair & { readonly there: Item }, likeness: Likeness | 'other'): void {
    if (likeness === 'other') this.#fail(pair.item, this.#differs(pair))
    else this.#known.set(pair.item.key, likeness)
  }

  /** After the last listing. */
  #count(digits: string, { pairs, extra, otherNames, doubles }: Pairs, [source, target]: Listings): void {
    const { tally, shard } = this.#within
    const { from, to, dryRun } = this.#options
    for (const { item } of pairs) {
      const known = this.#known.get(item.key)
      if (known === undefined || typeof known === 'object') {
        tally.missing++
        tally.missingBytes += item.size
        if (!dryRun) shard.line({ kind: 'missing', key: item.key, store: from.store.name, size: item.size })
      } else if (known !== 'failed' && known !== 'vanished') tally.equal[known]++
    }
    for (const { size } of source.items.values()) tally.source.bytes += size
    tally.source.objects += source.items.size
    tally.source.strangers += strangersIn(source, digits)
    tally.target.objects += target.items.size
    tally.target.strangers += strangersIn(target, digits)
    tally.extra += extra.length
    tally.youngExtra += extra.filter(({ ageMs }) => !(ageMs >= DAY_MS)).length
    tally.otherNames += otherNames.length
    tally.doubles += doubles.length
    for (const { key, size } of extra) shard.line({ kind: 'extra', key, store: to.store.name, size })
    for (const { key, size } of otherNames) shard.line({ kind: 'other name', key, store: to.store.name, size })
    for (const { key, size } of doubles) shard.line({ kind: 'double', key, store: from.store.name, size })
  }

  #fail({ key }: Item, fault: Fault): void {
    if (this.#known.get(key) === 'failed') return
    this.#known.set(key, 'failed')
    this.#tell(fault)
  }

  #tell(fault: Fault): void {
    this.#within.tally.failures++
    this.#within.shard.failed(fault)
  }

  #unplaced({ key, sealed }: Item, why: Unplaced): Fault {
    const where = { verb: 'copy', store: this.#options.from.store.name, key }
    if (why === 'not read')
      return new Fault('BadConfig', `it is ${sealed ? '' : 'not '}encrypted, so Orthanc does not read it`, {
        where,
        remedy: sealed
          ? 'Add its key to StorageEncryption.PreviousMasterKeys of the source.'
          : 'If it was stored before encryption was turned on, set StorageEncryption.AllowUnencryptedRead of the source.',
      })
    if (why === 'no type')
      return new Fault('NotFound', "Orthanc's index does not have this file, so its type is not known", {
        where,
        remedy: 'It was stored after the index was read, then run the same command again; or it is an orphan.',
      })
    return new Fault('BadRequest', 'another object has the same UUID and another type: both would get one name', {
      where,
      remedy: 'Copy to the structure "flat", or find out with verify which of them Orthanc knows.',
    })
  }

  #differs({ item, key, there }: Pair & { readonly there: Item }): Fault {
    const sizes = `${there.size} bytes there, ${item.size} in ${this.#options.from.store.name}`
    return new Fault('Corrupt', `the target has another object under this name (${sizes}), which was left as it is`, {
      where: { verb: 'copy', store: this.#options.to.store.name, key },
      remedy: 'Find out which one is right. If it is that of the source, remove the other one and copy again.',
    })
  }

  #lost({ key }: Pair): Fault {
    return new Fault('Corrupt', 'the target acknowledged the object, but does not list it', {
      where: { verb: 'copy', store: this.#options.to.store.name, key },
      remedy: 'Run the same command again. If it happens again, do not trust this store.',
    })
  }
}

/** A disk that is full is so for all objects. So the work ends when nothing fits any more. */
function noRoom(fault: Fault): Fault {
  if (fault.code !== 'TooLarge') return fault
  const { message, remedy, where } = fault
  return new Fault('Unavailable', message, { cause: fault, remedy, where, retryable: false })
}
