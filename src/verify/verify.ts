/**
 * Compares Orthanc's index with the places where its files are. It changes nothing, and Orthanc may work meanwhile.
 *
 * The index and all listings go into a scratch file. What looks wrong there is looked at again at the end
 * (second-look.ts). So the index and the listings need not be of the same moment.
 */
import { setMaxListeners } from 'node:events'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { Crew } from '../bulk/crew.ts'
import { SHARDS } from '../bulk/work.ts'
import { Fault } from '../fault.ts'
import type { OrthancIndex } from '../orthanc-index/orthanc-index.ts'
import { Bytes } from './bytes.ts'
import { fillFromIndex, fillFromStore, type Listed } from './fill.ts'
import type { Finding } from './finding.ts'
import { judge, type Rules } from './judge.ts'
import { findLeftovers } from './leftovers.ts'
import type { Place } from './place.ts'
import { Reader } from './reader.ts'
import type { Scratch, Seen } from './scratch.ts'
import { SecondLook } from './second-look.ts'
import { StoreClock } from './store-clock.ts'
import { emptyTally, isStrange, type VerifyTally } from './tally.ts'

export interface VerifyOptions {
  readonly index: OrthancIndex
  /** The one of new files first. */
  readonly places: readonly Place[]
  readonly scratch: Scratch
  /** Files that are looked at or read at once. */
  readonly concurrency: number
  /** Only what is older is an orphan, in milliseconds. */
  readonly olderThanMs: number
  /** Whether MD5s of the listings are compared with those of the index. */
  readonly digests: boolean
  /** Whether every file is read to its end. */
  readonly deep: boolean
  /** The ids of the configured master keys. */
  readonly keyIds: ReadonlySet<number>
  /**
   * How long a removal or a move may be under way: Orthanc forgets a study at once, and then removes its files one
   * after the other. Orphans and doubles are looked at again so long after the listings. Milliseconds.
   */
  readonly settleMs: number
  /** Which orphans wait for their removal already. */
  promised?(): Promise<(orphan: Finding) => boolean>
  /** Resolves after so many milliseconds. */
  wait?(ms: number, signal: AbortSignal): Promise<unknown>
  onFinding(finding: Finding): void
  /** Called once for each file of which nothing is known, because a look at it failed. The others go on. */
  onFailure(fault: Fault): void
}

/** After so many groups, others have their turn: in Orthanc's engine, its own calls. */
const TURN = 500

/** What may be a removal or a move that is under way. */
export const isPassing = ({ kind }: Finding) => kind === 'orphan' || kind === 'double'

/** In days since 1970. */
export const dayOf = (milliseconds: number) => Math.floor(milliseconds / 86_400_000)

export class Verification {
  readonly tally: VerifyTally
  phase: 'listing' | 'comparing' | 'looking again' = 'listing'
  /** When the listings were at their end, as performance.now() says it. */
  listedAt = 0
  /** How much of the comparing is done, from 0 to 1. */
  share = 0
  /** Whether everything was looked at. */
  complete = false

  /** The places, with what was learnt of each. */
  readonly listed: readonly Listed[]
  /** Of each place: the days on which something was written there that the index has. */
  readonly knownDays: readonly Set<number>[]

  readonly #options: VerifyOptions
  readonly #rules: Rules
  readonly #secondLook: SecondLook
  readonly #reader: Reader
  readonly #bytes: Bytes
  /** Shards in which something looks wrong. */
  readonly #suspicious = new Set<number>()
  /** Whether some of it may be a removal or a move that is under way. */
  #passing = false
  #groups = 0

  constructor(options: VerifyOptions) {
    const { places, index, concurrency, keyIds, olderThanMs } = options
    this.#options = options
    this.knownDays = places.map(() => new Set())
    this.tally = emptyTally(places.map(({ store }) => store.name))
    this.listed = this.tally.places.map((tally, i) => {
      return { place: places[i] as Place, index: i, tally, clock: new StoreClock() }
    })
    const isYoung = ({ place, modified }: Seen) => !this.listed[place]?.clock.isOlder(modified, olderThanMs)
    this.#rules = { places, isYoung }
    const onFailure = (error: unknown) => {
      this.tally.failures++
      options.onFailure(Fault.from(error))
    }
    const onLookedAt = (settled: boolean) => {
      this.tally.suspects--
      if (settled) this.tally.settled++
    }
    const reports = { onFinding: (finding: Finding) => this.#found(finding), onFailure, onLookedAt }
    this.#secondLook = new SecondLook({ index, rules: this.#rules, concurrency, ...reports })
    this.#reader = new Reader({ places, keyIds, tally: this.tally, crew: new Crew(concurrency, onFailure) })
    this.#bytes = new Bytes({
      ...{ ...options, rules: this.#rules, reader: this.#reader, tally: this.tally },
      suspect: (group, findings, signal) => {
        this.tally.suspects++
        return this.#secondLook.add({ group, findings }, signal)
      },
    })
  }

  /** See isStrange(). */
  get strange(): boolean {
    return isStrange(this.tally)
  }

  get olderThanMs(): number {
    return this.#options.olderThanMs
  }

  /** How far the time of a store is from that of this machine, in milliseconds: the largest of all places. */
  get skewMs(): number {
    return Math.max(...this.listed.map(({ clock }) => clock.skewMs))
  }

  /** After a run that did not come to its end: what the reading of bytes has shown, and nobody has looked at again. */
  get unproven(): readonly Finding[] {
    return this.#secondLook.waiting
  }

  /** Rejects with `Canceled` when `signal` is aborted, and when the index or a listing could not be read to its end. */
  async run(signal: AbortSignal): Promise<void> {
    const failed = new AbortController()
    const joined = AbortSignal.any([signal, failed.signal])
    setMaxListeners(0, joined)
    try {
      await this.#fill(joined, failed)
      this.listedAt = performance.now()
      for (const one of this.listed)
        await findLeftovers(one, this.#options.olderThanMs, finding => this.#found(finding), joined)
      this.phase = 'comparing'
      this.tally.indexed = 0 // the index may have named something twice
      for (let shard = 0; shard < SHARDS; shard++) {
        await turn() // for Ctrl-C, and for who shows how far it is
        joined.throwIfAborted()
        await this.#compare(shard, joined)
        this.share = (shard + 1) / SHARDS
      }
      await this.#reader.end()
      await this.#lookAgain(joined)
      for (const { held } of this.#bytes.digests) this.tally.digests.unclear += held.length
    } catch (error) {
      failed.abort(new Fault('Canceled', 'the verification has ended'))
      await this.#reader.end().catch(() => {}) // the first failure is the one to report
      throw signal.aborted ? Fault.ofAbort(signal) : Fault.from(error)
    }
    this.complete = this.tally.failures === 0
  }

  #found(finding: Finding): void {
    this.tally.findings[finding.kind]++
    this.#options.onFinding(finding)
  }

  /** All at once, because each of them waits for something else. When one fails, the others end. */
  async #fill(signal: AbortSignal, failed: AbortController): Promise<void> {
    const { index, scratch } = this.#options
    const work = [
      fillFromIndex(index, scratch, this.tally, signal),
      ...this.listed.map(listed => fillFromStore(listed, scratch, signal)),
    ]
    let first: unknown
    const all = work.map(one =>
      one.catch(error => {
        first ??= error
        failed.abort(new Fault('Canceled', 'another listing failed'))
      }),
    )
    await Promise.all(all)
    if (first !== undefined) throw first
  }

  async #compare(shard: number, signal: AbortSignal): Promise<void> {
    for (const group of this.#options.scratch.groups(shard)) {
      await this.#turn(signal)
      const findings = judge(group, this.#rules)
      if (!group.file) this.tally.young += group.seen.length - findings.length
      if (findings.length > 0) {
        this.tally.suspects++
        this.#suspicious.add(shard)
        this.#passing ||= findings.some(isPassing)
      }
      if (!group.file) continue
      for (const { place, modified } of group.seen) this.knownDays[place]?.add(dayOf(modified))
      await this.#bytes.look(group, signal)
    }
  }

  /**
   * At the end, when what was under way has ended, and all at once: the index may have to read everything to answer.
   * What looks wrong stays in the scratch file until then.
   */
  async #lookAgain(signal: AbortSignal): Promise<void> {
    const { scratch, settleMs, wait = (ms, until) => sleep(ms, undefined, { signal: until }), promised } = this.#options
    this.phase = 'looking again'
    const left = settleMs - (performance.now() - this.listedAt)
    if (this.#passing && left > 0) await wait(left, signal)
    const isPromised = this.#passing && promised ? await promised() : () => false
    for (const shard of this.#suspicious) {
      await turn()
      for (const group of scratch.groups(shard)) {
        await this.#turn(signal)
        const all = judge(group, this.#rules)
        const findings = all.filter(finding => !(finding.kind === 'orphan' && isPromised(finding)))
        this.tally.promised += all.length - findings.length
        if (findings.length > 0) await this.#secondLook.add({ group, findings }, signal)
        else if (all.length > 0) this.tally.suspects--
      }
    }
    await this.#secondLook.end(signal)
  }

  async #turn(signal: AbortSignal): Promise<void> {
    if (++this.#groups % TURN === 0) await turn()
    signal.throwIfAborted()
  }
}
