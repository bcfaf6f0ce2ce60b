/** The last step of a verification in shards: what looks wrong is looked at again, by one process for all. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Crew } from '../bulk/crew.ts'
import type { After } from '../bulk/work.ts'
import { Fault } from '../fault.ts'
import { Bytes } from './bytes.ts'
import type { Listed } from './fill.ts'
import type { Finding } from './finding.ts'
import { judge, type Rules } from './judge.ts'
import { findLeftovers } from './leftovers.ts'
import { Reader } from './reader.ts'
import type { Group } from './scratch.ts'
import { SecondLook } from './second-look.ts'
import { fromLine, type SharedLine, tallyOf, toLine } from './shared-lines.ts'
import { StoreClock } from './store-clock.ts'
import type { VerifyTally } from './tally.ts'
import type { VerifyOptions } from './verify.ts'

type EndOptions = Omit<VerifyOptions, 'scratch' | 'onFinding' | 'onFailure'>

export class SharedEnd {
  readonly #options: EndOptions
  readonly #tally: VerifyTally
  readonly #step: After
  readonly #listed: readonly Listed[]
  readonly #areMd5: boolean[]
  readonly #rules: Rules
  readonly #secondLook: SecondLook
  readonly #reader: Reader

  /** `tally`: of this step, to be added to those of the shards. */
  constructor(options: EndOptions, tally: VerifyTally, step: After) {
    const { places, index, concurrency, olderThanMs, keyIds } = options
    this.#options = options
    this.#tally = tally
    this.#step = step
    this.#listed = places.map((place, i) => {
      return { place, index: i, tally: tally.places[i] as Listed['tally'], clock: new StoreClock() }
    })
    this.#areMd5 = places.map(() => false)
    this.#rules = {
      places,
      isYoung: ({ place, modified }) => !this.#listed[place]?.clock.isOlder(modified, olderThanMs),
    }
    const onFailure = (error: unknown) => {
      tally.failures++
      step.failed(Fault.from(error))
    }
    const onLookedAt = (settled: boolean) => {
      tally.suspects--
      if (settled) tally.settled++
    }
    const onFinding = (finding: Finding) => this.#found(finding)
    this.#secondLook = new SecondLook({ index, rules: this.#rules, concurrency, onFinding, onFailure, onLookedAt })
    this.#reader = new Reader({ places, keyIds, tally, crew: new Crew(concurrency, onFailure) })
  }

  /** Rejects when the index or a store cannot be asked, and when `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const begun = performance.now()
    await this.#learn(signal)
    await this.#countTrash(signal)
    await this.#findLeftovers(signal)
    try {
      if (this.#options.digests && !this.#options.deep) await this.#readDoubtful(signal)
    } finally {
      await this.#reader.end()
    }
    await this.#lookAgain(begun, signal)
  }

  #found(finding: Finding): void {
    this.#tally.findings[finding.kind]++
    this.#step.line(toLine({ kind: 'found', finding }))
  }

  async *#lines(signal: AbortSignal): AsyncIterable<SharedLine> {
    for await (const line of this.#step.lines()) {
      if (signal.aborted) throw Fault.ofAbort(signal)
      yield fromLine(line)
    }
  }

  /** What is true of a place as a whole. */
  async #learn(signal: AbortSignal): Promise<void> {
    for await (const line of this.#lines(signal)) {
      if (line.kind !== 'place') continue
      const { place, told, newest, areMd5 } = line
      const asOf = told === null ? {} : { asOf: new Date(told) }
      this.#listed[place]?.clock.learn({ ...asOf, modified: new Date(newest ?? Number.NaN) })
      this.#areMd5[place] ||= areMd5
    }
  }

  /** It is in no shard. */
  async #countTrash(signal: AbortSignal): Promise<void> {
    for (const { place, tally } of this.#listed)
      for await (const { key } of place.store.list(place.trashPrefix, signal)) {
        if (signal.aborted) throw Fault.ofAbort(signal)
        if (place.isInTrash(key)) tally.trash++
      }
  }

  async #findLeftovers(signal: AbortSignal): Promise<void> {
    for (const listed of this.#listed) {
      const clock = listed.clock.source
      await findLeftovers(listed, this.#options.olderThanMs, finding => this.#found(finding), signal)
      const { notLookedFor } = listed.tally.leftovers
      this.#step.line(toLine({ kind: 'end', place: listed.index, clock, notLookedFor }))
    }
  }

  /** Digests that differ, in places where others were right. */
  async #readDoubtful(signal: AbortSignal): Promise<void> {
    const suspect = (group: Group, findings: readonly Finding[]) => {
      this.#tally.suspects++
      return this.#secondLook.add({ group, findings }, signal)
    }
    const bytes = new Bytes({ ...this.#options, rules: this.#rules, reader: this.#reader, tally: this.#tally, suspect })
    for await (const line of this.#lines(signal)) {
      if (line.kind !== 'doubt') continue
      const toRead = this.#areMd5[line.place] ? bytes.toRead(line.group, line.place, true, signal) : undefined
      if (toRead) await this.#reader.add(toRead, signal)
      else this.#tally.digests.unclear++
    }
  }

  async #lookAgain(begun: number, signal: AbortSignal): Promise<void> {
    const { settleMs, wait = (ms, until) => sleep(ms, undefined, { signal: until }), promised } = this.#options
    const passing = tallyOf(await this.#step.tally(), []).shared.passing > 0
    const left = settleMs - (performance.now() - begun)
    if (passing && left > 0) await wait(left, signal)
    const isPromised = passing && promised ? await promised() : () => false
    for await (const line of this.#lines(signal)) {
      if (line.kind !== 'suspect') continue
      const { group, findings = judge(group, this.#rules) } = line
      const wrong = findings.filter(finding => !(finding.kind === 'orphan' && isPromised(finding)))
      this.#tally.promised += findings.length - wrong.length
      if (!line.findings && !group.file) this.#tally.young += group.seen.length - findings.length
      if (wrong.length > 0) await this.#secondLook.add({ group, findings: wrong }, signal)
      else this.#tally.suspects--
    }
    await this.#secondLook.end(signal)
  }
}
