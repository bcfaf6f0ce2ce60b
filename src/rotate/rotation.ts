/**
 * All objects of a store under the current master key.
 *
 * The objects themselves are the state: an object whose first bytes name the current key is done. So a rotation may be
 * killed at any moment and started again. What is remembered only saves time. The listing is in the order of keys, and
 * several objects are in work at once. All objects up to the key `after` are settled, and a later run does not look at
 * them again. Objects that failed are remembered by key and tried again.
 */
import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Again } from '../area/area.ts'
import { collect } from '../bytes.ts'
import { Fault } from '../fault.ts'
import { ID_BYTES, keyIdOf, OVERHEAD_BYTES } from '../seal/a1.ts'
import { isDicom, PEEK_BYTES } from '../seal/detect.ts'
import { type Keyring, requireKey } from '../seal/keyring.ts'
import type { Store } from '../stores/store.ts'
import type { SealedNames } from './names.ts'
import { type Resealer, resealer } from './reseal.ts'
import { count, emptyTally, type ObjectOutcome, type RotationTally } from './tally.ts'

export interface RotationOptions {
  readonly store: Store
  readonly keys: Keyring
  readonly names: SealedNames
  /** Only objects under these keys are moved. undefined = under every key but the current one. */
  readonly from: ReadonlySet<number> | undefined
  readonly dryRun: boolean
  readonly concurrency: number
  readonly resume: Remembered | undefined
  /** Repeats work after a fault that another try may mend. Bounded. Default: not at all. */
  readonly again?: Again
  /** Called once for each object that fails, while the others go on. */
  onFailure(fault: Fault): void
}

/** What a later run needs to know of this one. */
export interface Remembered {
  readonly after: string | undefined
  readonly tally: RotationTally
  /** Not in the tally. */
  readonly failed: readonly string[]
}

interface Item {
  readonly key: string
  /** undefined: the object failed in an earlier run, perhaps after it was written. So it is read to its end. */
  readonly size: number | undefined
  outcome?: ObjectOutcome
}

/** With more failed objects, nothing further is remembered: the next run looks again at everything after them. */
const MOST_REMEMBERED = 1000
/** The run ends when so many objects in a row fail for reasons of the store, not of the objects. */
const MOST_IN_A_ROW = 20
/** How many other objects may be done before one that takes long. It bounds memory. */
const MOST_AHEAD = 100_000

export class Rotation {
  readonly tally: RotationTally
  /** Objects of this run that failed, with the id of their master key where it is known. */
  readonly failed = new Map<string, number | undefined>()
  /** Whether every object of the store has been looked at, in this or the remembered runs. */
  complete = false
  /** Keys of ours in the listing, looked at or not. None: perhaps this is not the store of the remembered runs. */
  listed = 0

  readonly #options: RotationOptions
  readonly #currentId: number
  readonly #resealer: Resealer
  readonly #signal = new AbortController().signal
  /** In the order of the listing, and settled in that order. */
  readonly #open = new Set<Item>()
  readonly #toTryAgain: Set<string>
  #after: string | undefined
  #frozen: Remembered | undefined
  #inARow = 0
  /** The listing does not come in the order of keys, so `after` says nothing. */
  #unordered = false
  /** Whether the listing had keys that this run skipped, because an earlier run had looked at them. */
  #skipped = false
  #gaveUp: Fault | undefined

  constructor(options: RotationOptions) {
    const { store, keys, resume } = options
    if (!keys.current) throw new Fault('Internal', 'there is no master key to re-encrypt with')
    refuseStrangers(options)
    this.#options = options
    this.#currentId = keys.current.id
    this.#resealer = resealer(store, keys)
    this.#after = resume?.after
    this.#toTryAgain = new Set(resume?.failed)
    this.tally = structuredClone(resume?.tally ?? emptyTally())
    // What a dry run would move is what is still to be moved.
    if (options.dryRun) Object.assign(this.tally, { moved: 0, movedBytes: 0 })
    setMaxListeners(0, this.#signal)
  }

  /** It may be read at every moment, also in the middle of the work. */
  get remembered(): Remembered {
    if (this.#unordered) return { after: undefined, tally: emptyTally(), failed: [] }
    return (
      this.#frozen ?? {
        after: this.#after,
        tally: structuredClone(this.tally),
        failed: [...this.failed.keys(), ...this.#toTryAgain],
      }
    )
  }

  /** How much of the store has been looked at, from 0 to 1. */
  get share(): number {
    return this.#after === undefined ? 0 : this.#options.names.shareBefore(this.#after)
  }

  /** Resolves when everything is done or, once `stop` is aborted, when the objects under way are. */
  async run(stop: AbortSignal): Promise<void> {
    await this.#pass(stop)
    if (this.#unordered && this.#skipped && !stop.aborted) {
      this.#after = this.#frozen = undefined
      this.#skipped = false
      this.#toTryAgain.clear()
      this.failed.clear()
      Object.assign(this.tally, emptyTally())
      await this.#pass(stop)
    }
    this.complete = !stop.aborted
  }

  async #pass(stop: AbortSignal): Promise<void> {
    const items = this.#items()
    const over = () => stop.aborted || this.#gaveUp !== undefined
    const work = async () => {
      while (!over()) {
        if (this.#open.size > MOST_AHEAD) {
          await sleep(100)
          continue
        }
        const { value: item } = await items.next().catch(error => {
          this.#gaveUp ??= Fault.from(error)
          return { value: undefined }
        })
        if (!item) return
        this.#open.add(item)
        item.outcome = await this.#outcomeOf(item)
        this.#settle()
      }
    }
    await Promise.all(Array.from({ length: this.#options.concurrency }, work))
    if (this.#gaveUp) throw this.#gaveUp
  }

  async *#items(): AsyncGenerator<Item, undefined> {
    const { store, names } = this.#options
    for (const key of [...this.#toTryAgain]) yield { key, size: undefined }
    const after = this.#after === undefined ? undefined : Buffer.from(this.#after)
    let previous: Buffer | undefined
    for await (const { key, size } of store.list(names.prefix, this.#signal)) {
      const name = Buffer.from(key)
      const order = previous ? Buffer.compare(previous, name) : -1
      previous = name
      if (order > 0) this.#unordered = true
      if (order === 0 || !names.mayBeSealed(key)) continue
      this.listed++
      if (after && Buffer.compare(name, after) <= 0) this.#skipped = true
      else yield { key, size }
    }
    return undefined
  }

  async #outcomeOf(item: Item): Promise<ObjectOutcome> {
    const { store, keys, from, dryRun, onFailure, again = work => work() } = this.#options
    const { key } = item
    let id: number | undefined
    try {
      const size = item.size ?? (await store.stat(key, this.#signal))?.size
      if (size === undefined) return { kind: 'vanished' }
      id = await this.#keyIdOf(key, size)
      let outcome: ObjectOutcome = id === undefined ? { kind: 'plain' } : { kind: 'sealed', id }
      if (id === this.#currentId) {
        const verified = () => this.#resealer.verify(key, this.#signal)
        if (item.size === undefined && !(await again(verified, this.#signal))) outcome = { kind: 'vanished' }
      } else if (id !== undefined && (!from || from.has(id))) {
        requireKey(keys, id)
        if (dryRun) outcome = { kind: 'moved', id, bytes: size }
        else if (await again(() => this.#resealer.reseal(key, this.#signal), this.#signal))
          outcome = { kind: 'moved', id: this.#currentId, bytes: size }
        else outcome = { kind: 'vanished' }
      }
      this.#inARow = 0
      return outcome
    } catch (error) {
      const fault = Fault.from(error, { verb: 're-encrypt', store: store.name, key })
      if (fault.code === 'NotFound') return { kind: 'vanished' }
      onFailure(fault)
      this.#giveUpIfItIsTheStore(fault)
      return { kind: 'failed', id }
    }
  }

  /** The id of the master key that an object is sealed under; undefined = it is a plain file, and may be one. */
  async #keyIdOf(key: string, size: number): Promise<number | undefined> {
    const { keys, names } = this.#options
    if (size < OVERHEAD_BYTES) {
      if (names.mayBePlain) return undefined
      throw new Fault('Corrupt', `the object has only ${size} bytes, an empty encrypted one has ${OVERHEAD_BYTES}`)
    }
    const id = keyIdOf(await this.#bytes(key, 0, ID_BYTES))
    if (id === undefined && !names.mayBePlain)
      throw new Fault('Corrupt', 'the object is not encrypted in format A1, although its name says so')
    // The preamble of a plain DICOM file may be any 128 bytes, so it may look like a sealed object under any key.
    const mayBeDicom = id !== undefined && names.mayBePlain && !keys.find(id) && size >= PEEK_BYTES
    if (mayBeDicom && isDicom(await this.#bytes(key, 0, PEEK_BYTES))) return undefined
    return id
  }

  async #bytes(key: string, start: number, end: number): Promise<Buffer> {
    return collect(await this.#options.store.get(key, { start, end }, this.#signal))
  }

  #giveUpIfItIsTheStore(fault: Fault): void {
    this.#inARow = fault.code === 'Corrupt' || fault.code === 'BadConfig' ? 0 : this.#inARow + 1
    if (this.#inARow < MOST_IN_A_ROW) return
    this.#gaveUp ??= new Fault(fault.code, `${MOST_IN_A_ROW} objects failed one after the other`, {
      cause: fault,
      remedy: 'Remove the cause that the lines above name, then run the same command again.',
    })
  }

  #settle(): void {
    for (const item of this.#open) {
      if (!item.outcome) return
      this.#open.delete(item)
      if (item.outcome.kind !== 'failed') count(this.tally, item.outcome)
      else {
        if (this.failed.size + this.#toTryAgain.size >= MOST_REMEMBERED) this.#frozen ??= this.remembered
        this.failed.set(item.key, item.outcome.id)
      }
      if (item.size === undefined) this.#toTryAgain.delete(item.key)
      else this.#after = item.key
    }
  }
}

/**
 * What is remembered came from a file. With a key in it that is not ours, this run could rewrite an object of somebody
 * else, or skip objects of ours.
 */
function refuseStrangers({ resume, names }: RotationOptions): void {
  const remembered = [...(resume?.after === undefined ? [] : [resume.after]), ...(resume?.failed ?? [])]
  if (remembered.every(key => names.mayBeSealed(key))) return
  throw new Fault('BadConfig', 'what is remembered of an earlier run names objects that cannot be ours', {
    remedy: 'Remove the file that --state names. Then the same command looks at all objects.',
  })
}
