/**
 * Sends what the journal holds, in batches, until each object is gone. While the store is away, one batch at a time
 * asks for it, with growing pauses. What the store refuses is repeated for a day. Then it becomes a finding, which
 * needs a person.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '../fault.ts'
import type { Removal, Removals, Store } from '../stores/store.ts'
import type { Entry, StoreEntries } from './entries.ts'
import type { Journal } from './journal.ts'

export interface SenderOptions {
  info(line: string): void
  warn(line: string): void
  /** By the wall clock, in milliseconds. */
  readonly clock?: () => number
  readonly gatherMs?: number
  readonly pausesMs?: Pauses
  readonly refusedPausesMs?: Pauses
}

interface Pauses {
  readonly first: number
  readonly longest: number
}

interface Refused {
  times: number
  /** When it is sent again, by the monotonic clock; undefined = it is in the row, or under way. */
  due: number | undefined
}

const DAY_MS = 24 * 3_600_000
/** The most that any provider takes in one request. */
const BATCH = 1000
const MOST_BATCHES = 4
/** A removal waits so long for others, so that they travel together. */
const GATHER_MS = 100
const PAUSES: Pauses = { first: 1_000, longest: 30_000 }
const REFUSED_PAUSES: Pauses = { first: 60_000, longest: 1_800_000 }
/** However old an entry looks by the clock, which may be wrong, so many refusals come first. */
const LEAST_REFUSALS = 3
/** The log says so often that the store refuses removals. */
const SAY_EACH_MS = 3_600_000
const LONGEST_TIMER_MS = 3_600_000
/** Requests that are given up end at once; operations of a disk that hangs do not. */
const LAST_MS = 1_000

export class Sender {
  readonly #store: Pick<Store, 'name' | 'removeMany'>
  readonly #journal: Journal
  readonly #identity: string
  readonly #options: SenderOptions
  #ready: string[]
  readonly #refused = new Map<string, Refused>()
  #nextDue = Number.POSITIVE_INFINITY
  /** By key: resolves when the request that has it has ended. */
  readonly #sending = new Map<string, Promise<void>>()
  readonly #batches = new Set<Promise<void>>()
  /** Keys of the next batch. Where so many take too long, the same first ones would be removed again and again. */
  #most = BATCH
  readonly #abort = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #timerAt = 0
  /** Above 0: the store is away. */
  #pauseMs = 0
  #pausedUntil = 0
  #saidRefusedAt = Number.NEGATIVE_INFINITY
  #stopped = false
  /** What failed in a drain, in which nothing is tried twice. */
  #failed: Map<string, Removal> | undefined
  /** A jump of the clock while this process runs changes no age. */
  readonly #epoch: number

  constructor(store: Pick<Store, 'name' | 'removeMany'>, journal: Journal, identity: string, options: SenderOptions) {
    this.#store = store
    this.#journal = journal
    this.#identity = identity
    this.#options = options
    this.#epoch = (options.clock ?? Date.now)() - performance.now()
    this.#ready = [...this.#entries.pending.keys()]
  }

  get #entries(): StoreEntries {
    return this.#journal.entries.of(this.#identity)
  }

  now(): number {
    return Math.round(this.#epoch + performance.now())
  }

  ageOf({ at }: Pick<Entry, 'at'>): number {
    return Math.max(0, this.now() - at)
  }

  add(key: string): void {
    this.#refused.delete(key)
    this.#ready.push(key)
    if (this.#ready.length >= BATCH) this.wake()
    else this.#wakeIn(this.#options.gatherMs ?? GATHER_MS)
  }

  /** Sends what may be sent now. */
  wake(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#stopped) return
    const now = performance.now()
    this.#collectDue(now)
    if (now < this.#pausedUntil) {
      this.#wakeIn(this.#pausedUntil - now)
      return
    }
    const most = this.#pauseMs > 0 ? 1 : MOST_BATCHES
    while (this.#ready.length > 0 && this.#batches.size < most) {
      const first = new Set(this.#ready.splice(0, this.#most))
      const keys = [...first].filter(key => this.#isOpen(key) && !this.#sending.has(key))
      if (keys.length > 0) this.#begin(keys)
    }
    if (this.#nextDue < Number.POSITIVE_INFINITY) this.#wakeIn(this.#nextDue - now)
  }

  /** Resolves when no request has the object. It has no entry any more, so no further request gets it. */
  async ended(key: string): Promise<void> {
    for (let batch = this.#sending.get(key); batch; batch = this.#sending.get(key)) await batch
  }

  /** Tries everything once, findings too. Ends sooner when the store is away, or `signal` is aborted. */
  async drain(signal: AbortSignal): Promise<Removals> {
    const failed = new Map<string, Removal>()
    this.#failed = failed
    this.#ready = [...this.#entries.pending.keys(), ...this.#entries.findings.keys()]
    this.#pausedUntil = this.#pauseMs = 0
    const give = () => this.#abort.abort(Fault.ofAbort(signal))
    if (signal.aborted) give()
    signal.addEventListener('abort', give, { once: true })
    while (!signal.aborted && this.#pauseMs === 0) {
      this.wake()
      if (this.#batches.size === 0) break
      await Promise.race(this.#batches)
    }
    await this.#end(Number.POSITIVE_INFINITY)
    signal.removeEventListener('abort', give)
    return failed
  }

  /** Sends what is left for up to `drainMs`, unless the store is away. What is still left then stays in the journal. */
  async stop(drainMs: number): Promise<void> {
    const end = performance.now() + drainMs
    for (let left = drainMs; left > 0 && this.#pauseMs === 0 && !this.#stopped; left = end - performance.now()) {
      this.wake()
      if (this.#batches.size === 0) break
      await Promise.race([...this.#batches, sleep(left, undefined, { ref: false })])
    }
    await this.#end(0)
  }

  async #end(waitMs: number): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    if (waitMs === 0) this.#abort.abort(new Fault('Canceled', 'Orthanc stops'))
    const last = Promise.all(this.#batches)
    await (waitMs === 0 ? Promise.race([last, sleep(LAST_MS, undefined, { ref: false })]) : last)
  }

  #isOpen(key: string): boolean {
    return this.#entries.pending.has(key) || (this.#failed !== undefined && this.#entries.findings.has(key))
  }

  #wakeIn(ms: number): void {
    const at = performance.now() + Math.min(Math.max(ms, 0), LONGEST_TIMER_MS)
    if (this.#stopped || (this.#timer && this.#timerAt <= at)) return
    clearTimeout(this.#timer)
    this.#timerAt = at
    this.#timer = setTimeout(() => this.wake(), at - performance.now())
  }

  #collectDue(now: number): void {
    if (now < this.#nextDue) return
    this.#nextDue = Number.POSITIVE_INFINITY
    for (const [key, refused] of this.#refused) {
      if (refused.due === undefined) continue
      if (refused.due > now) this.#nextDue = Math.min(this.#nextDue, refused.due)
      else {
        refused.due = undefined
        this.#ready.push(key)
      }
    }
  }

  #begin(keys: readonly string[]): void {
    const batch = this.#send(keys).finally(() => {
      for (const key of keys) this.#sending.delete(key)
      this.#batches.delete(batch)
      this.wake()
    })
    for (const key of keys) this.#sending.set(key, batch)
    this.#batches.add(batch)
  }

  async #send(keys: readonly string[]): Promise<void> {
    let most = Math.min(BATCH, 2 * this.#most)
    const removals: Removals = await this.#store.removeMany(keys, this.#abort.signal).catch(error => {
      most = Math.max(1, Math.floor(keys.length / 2))
      const fault = Fault.from(error)
      return new Map(keys.map(key => [key, fault]))
    })
    this.#most = most
    const away: Fault[] = []
    const refused: [string, Fault][] = []
    let gone = 0
    for (const key of keys) {
      const removal = removals.get(key) ?? new Fault('Unavailable', 'the store did not say whether the object is gone')
      if (removal === 'gone') {
        gone++
        this.#refused.delete(key)
        this.#journal.done(this.#identity, key)
      } else if (removal.code === 'Canceled' && this.#abort.signal.aborted) {
        this.#failed?.set(key, removal)
      } else if (isAway(removal)) {
        away.push(removal)
        if (this.#failed) this.#failed.set(key, removal)
        else this.#ready.push(key)
      } else refused.push([key, removal])
    }
    this.#notePause(gone + refused.length, away)
    if (refused.length > 0) await this.#refuse(refused)
  }

  /** An answer of any kind shows that the store is there. One that is away for a few keys only gets them later, too. */
  #notePause(answered: number, away: readonly Fault[]): void {
    const { first, longest } = this.#options.pausesMs ?? PAUSES
    const [fault] = away
    const wasAway = this.#pauseMs > 0
    if (!fault) {
      this.#pauseMs = 0
      if (wasAway && answered > 0) this.#options.info(`${this.#store.name} takes removals again`)
      return
    }
    this.#pauseMs = answered > 0 ? first : Math.min(longest, Math.max(first, 2 * this.#pauseMs))
    this.#pausedUntil = performance.now() + this.#pauseMs
    if (!wasAway && !this.#failed)
      this.#options.warn(`${this.#entries.pending.size} removals wait until the store takes them: ${fault.describe()}`)
  }

  async #refuse(refused: readonly [string, Fault][]): Promise<void> {
    const { first, longest } = this.#options.refusedPausesMs ?? REFUSED_PAUSES
    const now = performance.now()
    const given: Fault[] = []
    const giveUp = async (key: string, at: number, fault: Fault) => {
      // If it cannot be written, the removal is repeated, and becomes a finding later.
      const noted = await this.#journal.giveUp(this.#identity, key, at, fault.describe()).then(
        () => true,
        () => false,
      )
      if (!noted) return
      this.#refused.delete(key)
      given.push(fault)
    }
    const giving: Promise<void>[] = []
    for (const [key, fault] of refused) {
      const entry = this.#entries.pending.get(key)
      if (this.#failed) this.#failed.set(key, fault)
      if (this.#failed || !entry) continue
      const { times } = this.#refused.get(key) ?? { times: 0 }
      const due = now + Math.min(longest, first * 2 ** times)
      this.#refused.set(key, { times: times + 1, due })
      this.#nextDue = Math.min(this.#nextDue, due)
      if (times + 1 >= LEAST_REFUSALS && this.ageOf(entry) >= DAY_MS) giving.push(giveUp(key, entry.at, fault))
    }
    await Promise.all(giving)
    const [last] = given
    if (last)
      return this.#options.warn(
        `${given.length} removals were refused for a day and are not repeated: ${last.describe()} "orthanc-cloud-storage deletions" lists them, and with --drain tries them again`,
      )
    if (this.#failed || now - this.#saidRefusedAt < SAY_EACH_MS) return
    this.#saidRefusedAt = now
    const [[, fault] = ['', undefined]] = refused
    this.#options.warn(`${refused.length} removals are refused, and repeated for a day: ${fault?.describe()}`)
  }
}

/** No answer, or one that passes. All else is the store's decision, which only a person can change. */
function isAway({ code }: Fault): boolean {
  return code === 'Unavailable' || code === 'Timeout' || code === 'Canceled'
}
