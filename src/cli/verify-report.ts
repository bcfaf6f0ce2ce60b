import { amount } from '../bytes.ts'
import type { Repaired } from '../repair/context.ts'
import { type Finding, KINDS, type Kind } from '../verify/finding.ts'
import { sentence, strangeness } from '../verify/sentences.ts'
import { isLookedFor, isStrange, type PlaceTally, type VerifyTally } from '../verify/tally.ts'
import { JsonLines } from './json-lines.ts'
import { RepairCounts } from './repair-counts.ts'
import { objects, say } from './terminal.ts'
import { rate, timeOf } from './verify-progress.ts'

export interface ReportOptions {
  /** Where one JSON object a line goes; `-` = standard output, then nothing else is printed there. */
  readonly json?: string
  readonly digests?: true
  readonly deep?: true
  readonly repair?: readonly string[]
  readonly yes?: true
}

/** A verification at its end, or as far as it came. */
export interface Verified {
  readonly tally: Omit<VerifyTally, 'places'> & { readonly places: readonly PlaceCounts[] }
  readonly complete: boolean
  /** How much was compared, from 0 to 1. */
  readonly share: number
}

/** null = nobody has counted them. */
type PlaceCounts = Omit<PlaceTally, 'strangers'> & {
  readonly strangers: number | null
}

interface Run {
  /** Name of the index. */
  readonly index: string
  readonly seconds: number
}

/** Of each kind, so many findings are shown to people. */
const MOST_SHOWN = 20

/** What `verify` prints. Memory does not grow with the number of findings. */
export class VerifyReport {
  found = 0
  readonly #found = new Map<Kind, number>()
  readonly #repairs = new RepairCounts()
  readonly #options: ReportOptions
  readonly #json: JsonLines
  readonly #shown = new Map<Kind, Finding[]>()
  readonly #unproven: Finding[] = []

  /** Throws when the file cannot be written. */
  constructor(options: ReportOptions, json = new JsonLines(options.json)) {
    this.#options = options
    this.#json = json
  }

  add(finding: Finding): void {
    this.found++
    this.#found.set(finding.kind, (this.#found.get(finding.kind) ?? 0) + 1)
    const shown = this.#shown.get(finding.kind) ?? []
    this.#shown.set(finding.kind, shown)
    if (shown.length < MOST_SHOWN) shown.push(finding)
    this.#json.write(finding)
  }

  /** What the reading of bytes has shown, and nobody has looked at again. */
  notLookedAtAgain(finding: Finding): void {
    const { kind, ...rest } = finding
    this.#json.write({ kind: 'suspect', of: kind, ...rest })
    if (this.#unproven.length < MOST_SHOWN) this.#unproven.push(finding)
  }

  /** Findings that are still so. */
  get left(): number {
    if (!this.#options.yes) return this.found
    return [...this.#found].reduce((sum, [kind, count]) => sum + Math.max(0, count - this.#repairs.mended(kind)), 0)
  }

  /** One thing that was repaired or, in a dry run, would be. */
  readonly repaired = (repaired: Repaired): void => {
    this.#repairs.add(repaired)
    const { finding, how, with: other } = repaired
    const kind = this.#options.yes ? 'repaired' : 'to be repaired'
    const { kind: of, uuid, key, store } = finding
    this.#json.write({ kind, of, how, uuid, key, store, ...(other !== undefined && { with: other }) })
  }

  /** When it was looked at again to be repaired, nothing was wrong any more. */
  readonly settled = (finding: Finding): void => this.#repairs.settle(finding)

  /** Gives how many could not be repaired, this one included. */
  readonly notRepaired = (): number => ++this.#repairs.failures

  /** Also of a run that did not come to its end. */
  end(verification: Verified, run: Run): void {
    try {
      this.#toPrograms(verification, run)
    } finally {
      // Also when the file of --json cannot be written: what was repaired must not stay unknown.
      if (!this.#json.ownsOutput) this.#toPeople(verification, run)
    }
  }

  close(): void {
    this.#json.close()
  }

  #toPrograms(verification: Verified, run: Run): void {
    const findings = KINDS.map(kind => [
      kind,
      isLookedFor(kind, this.#options, verification.tally) ? verification.tally.findings[kind] : null,
    ])
    const repairs = this.#options.repair && { repairs: this.#repairs.summary(this.#options.yes ?? false) }
    this.#json.write({ ...summaryOf(verification, run), findings: Object.fromEntries(findings), ...repairs })
  }

  #toPeople(verification: Verified, { index, seconds }: Run): void {
    const { tally, complete, share } = verification
    if (!complete) say('This report is partial: not everything could be looked at.')
    if (share === 1 && isStrange(tally)) say(strangeness(verification, index))
    for (const kind of KINDS) {
      for (const finding of this.#shown.get(kind) ?? []) say(sentence(finding))
      const more = tally.findings[kind] - MOST_SHOWN
      if (more > 0) say(`${kind}: ${more} more`)
    }
    for (const finding of this.#unproven) say(`not looked at again: ${sentence(finding)}`)
    say(`${files(tally.indexed)} in ${index}`)
    for (const { store, objects: count, bytes, strangers, trash, clock } of tally.places) {
      const others = strangers ? `; left alone: ${objects(strangers)} with a key that no file of Orthanc's has` : ''
      const byWhat = clock === 'newest object' ? '; ages by its newest object, because it does not tell its time' : ''
      const aside = trash ? `; ${objects(trash)} in the trash` : ''
      say(`${objects(count)} in ${store} (${amount(bytes)})${aside}${others}${byWhat}`)
    }
    if (this.#options.deep || tally.read.files > 0)
      say(`${files(tally.read.files)} read to their end (${amount(tally.read.bytes)})`)
    if (tally.withoutMd5 > 0) say(`the index has no MD5 of ${files(tally.withoutMd5)} of them`)
    if (this.#options.digests && !this.#options.deep)
      say(`${tally.digests.same} digests right, ${objects(tally.digests.unclear)} without one that can be compared`)
    if (tally.suspects > 0) say(`${tally.suspects} look wrong, but were not looked at again`)
    if (tally.settled > 0) say(`${tally.settled} changed meanwhile, and are well`)
    if (tally.young > 0) say(`${objects(tally.young)} too young to be called an orphan`)
    if (tally.promised > 0) say(`${objects(tally.promised)} in the journal of removals`)
    if (tally.failures > 0) say(`${tally.failures} could not be looked at`)
    for (const kind of KINDS)
      if (isLookedFor(kind, this.#options, tally)) say(`${kind}: ${tally.findings[kind]}`)
      else if (kind !== 'leftover') say(`${kind}: not looked for, that needs --deep`)
    if (tally.places.some(({ strangers }) => strangers === null))
      say("not counted in shards: keys that no file of Orthanc's has")
    for (const place of tally.places) for (const line of leftoverLines(place)) say(line)
    if (this.#options.repair) for (const line of this.#repairs.lines(this.#options.yes ?? false)) say(line)
    const all = tally.places.reduce((sum, place) => sum + place.objects + (place.strangers ?? 0), tally.indexed)
    say(`took ${timeOf(seconds)}, ${rate(all, seconds)}`)
  }
}

const files = (count: number) => (count === 1 ? '1 file' : `${count} files`)

/** What the count of leftovers does not say. */
function leftoverLines({ store, leftovers }: PlaceCounts): readonly string[] {
  const { notLookedFor, young, undated, strangers } = leftovers
  const count = (some: number) => (some === 1 ? '1 unfinished write' : `${some} unfinished writes`)
  return [
    ...(notLookedFor === undefined ? [] : [`leftover: not looked for in ${store}: ${notLookedFor}`]),
    ...(young > 0 ? [`${count(young)} in ${store} too young to be called a leftover`] : []),
    ...(undated > 0 ? [`${count(undated)} in ${store} of an age that the store does not tell`] : []),
    ...(strangers > 0 ? [`${count(strangers)} in ${store} with a key that no file of Orthanc's has`] : []),
  ]
}

function summaryOf(verification: Verified, { index, seconds }: Run): object {
  const { tally, complete, share } = verification
  return {
    kind: 'summary',
    complete,
    belongTogether: share === 1 ? !isStrange(tally) : null,
    index,
    ...tally,
    seconds: Number(seconds.toFixed(1)),
  }
}
