import { tmpdir } from 'node:os'
import { Fault } from '../fault.ts'
import type { JsonObject, StepOutcome } from '../orthanc.ts'
import { restIndex } from '../orthanc-index/rest.ts'
import { ageOf } from '../verify/age.ts'
import { type Finding, KINDS } from '../verify/finding.ts'
import type { Place } from '../verify/place.ts'
import { Scratch } from '../verify/scratch.ts'
import { sentence, strangeness } from '../verify/sentences.ts'
import { Verification } from '../verify/verify.ts'
import { contentOf, Shown } from './content.ts'
import { IndexQuestions } from './index-questions.ts'
import { LentOrthanc } from './lent-orthanc.ts'
import type { VerifyRequest } from './request.ts'

export interface RunOptions {
  /** The one of new files first; without cache. */
  readonly places: readonly Place[]
  /** The ids of the configured master keys. */
  readonly keyIds: ReadonlySet<number>
  /** Files that are looked at or read at once. */
  readonly concurrency: number
  /** Which orphans wait for their removal already. */
  promised(): Promise<(orphan: Finding) => boolean>
  readonly log: { info(line: string): void; warn(line: string): void; error(line: string): void }
  /** For tests: where the scratch file is made. Default: the folder for temporary files. */
  readonly folder?: string
  /** For tests: how questions to Orthanc are repeated. */
  readonly policy?: ConstructorParameters<typeof IndexQuestions>[1]
}

const INDEX = "Orthanc's REST API"
const CHECK_DEADLINE_MS = 60_000
/** Of each kind, and of failures. */
const MOST_LINES = 20
const TEMPORARY = "TMPDIR in Orthanc's environment"

/** How much of the whole each part is, without and with the reading of all files. */
const WEIGHTS = { light: [0.7, 0.1, 0.2], deep: [0.2, 0.7, 0.1] } as const

/** One verification inside of Orthanc. It goes on by itself, and asks Orthanc what `lent` can ask during a step. */
export class Run {
  readonly lent = new LentOrthanc()
  /** Undefined as long as it goes on. */
  outcome: Exclude<StepOutcome, 'continue'> | undefined
  readonly #request: VerifyRequest
  readonly #options: RunOptions
  readonly #questions: IndexQuestions
  readonly #scratch: Scratch
  readonly #verification: Verification
  readonly #shown = new Shown()
  readonly #stop = new AbortController()
  readonly #ended: Promise<void>
  #reason: string | undefined

  /** Begins it. Throws a `Fault` when the scratch file cannot be made. */
  constructor(request: VerifyRequest, options: RunOptions) {
    this.#request = request
    this.#options = options
    const { places, keyIds, concurrency, promised, folder = tmpdir(), log, policy } = options
    this.#questions = new IndexQuestions(this.lent, policy)
    this.#scratch = new Scratch(folder, { option: TEMPORARY })
    this.#verification = new Verification({
      ...{ places, keyIds, concurrency, promised, scratch: this.#scratch },
      index: restIndex(this.#questions, INDEX),
      olderThanMs: ageOf(request.OlderThan) ?? 0,
      settleMs: ageOf(request.Settle) ?? 0,
      digests: request.Digests,
      deep: request.Deep,
      onFinding: finding => {
        const shown = this.#shown.addFinding(finding) ?? Number.POSITIVE_INFINITY
        if (shown <= MOST_LINES) log.warn(`verification: ${sentence(finding)}`)
      },
      onFailure: fault => {
        const shown = this.#shown.addFailure(fault) ?? Number.POSITIVE_INFINITY
        if (shown <= MOST_LINES) log.error(`verification: ${fault.describe()}`)
      },
    })
    this.#ended = this.#run()
  }

  content(): JsonObject {
    const phase = this.outcome ? 'ended' : this.#verification.phase
    return contentOf(this.#request, this.#verification, this.#shown, { phase, reason: this.#reason })
  }

  /** 0 … 1. */
  progress(): number {
    if (this.outcome === 'success') return 1
    const { phase, share } = this.#verification
    const [index, comparing, again] = this.#request.Deep ? WEIGHTS.deep : WEIGHTS.light
    if (phase === 'listing') return index * this.#questions.share
    // The index is read once more, if something looks wrong.
    const readAgain = phase === 'looking again' && this.#questions.readings > 1 ? this.#questions.share : 0
    return index + comparing * share + again * readAgain
  }

  /** Resolves when nothing of it is under way, and its scratch file is gone. */
  async stop(): Promise<void> {
    this.#stop.abort(new Fault('Canceled', 'the job stops'))
    await this.#ended
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { signal } = this.#stop
    let ended: Fault | undefined
    try {
      await this.#verify(signal).finally(() => this.#scratch.close())
    } catch (error) {
      ended = Fault.from(error)
    }
    if (!signal.aborted) this.#report(ended)
    this.outcome = this.#verification.complete && !ended ? 'success' : 'failure'
    this.lent.close()
  }

  async #verify(signal: AbortSignal): Promise<void> {
    const { places, log } = this.#options
    // An empty folder that should be a mount would make everything look missing.
    for (const { store } of places) {
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(CHECK_DEADLINE_MS)])
      await store.check(deadline, { purpose: 'look', writes: false, warn: line => log.warn(line) })
    }
    await this.#verification.run(signal)
  }

  #report(ended: Fault | undefined): void {
    const { log } = this.#options
    const { tally, complete, strange } = this.#verification
    this.#reason = ended?.describe()
    if (ended) log.error(`verification: it did not come to its end: ${this.#reason}`)
    else if (!complete)
      log.error(`verification: ${tally.failures} of the looks at files failed, so nothing is known of these`)
    if (!ended && strange) log.warn(`verification: ${strangeness(this.#verification, INDEX)}`)
    const found = KINDS.filter(kind => tally.findings[kind] > 0).map(kind => `${kind}: ${tally.findings[kind]}`)
    const counts = tally.places.map(({ store, objects }) => `${objects} objects in ${store}`)
    const line = `verification: ${[`${tally.indexed} files in the index`, ...counts].join(', ')}; `
    if (found.length > 0) log.warn(line + found.join(', '))
    else if (!ended) log.info(`${line}nothing found`)
  }
}
