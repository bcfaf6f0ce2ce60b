import { type Bytes, type Content, discard, type Range } from '../bytes.ts'
import { Fault, type Where } from '../fault.ts'
import type { Attachment, TierName } from './area.ts'
import { lookUndisturbed, mayBeAbsent } from './find.ts'
import { graver } from './graver-fault.ts'
import { otherTier, type Tier } from './tier.ts'

export interface HybridReadsOptions {
  readonly tiers: Readonly<Record<TierName, Tier>>
  /** The tier that new files are written to, and that a read asks first. */
  readonly primary: TierName
  warn(line: string): void
  /** How long the primary tier has to begin an answer before the secondary is asked as well. */
  readonly askOtherAfterMs?: number
  /** How long a body may be silent before the other tier is asked whether it has the file. */
  readonly silenceMs?: number
  /** How many moves have ended; undefined while this file is moved or removed. Default: nobody moves. */
  movesEnded?(uuid: string): number | undefined
}

/** Reads of files that may be on either of two tiers, or be moved meanwhile. */
export class HybridReads {
  readonly #options: HybridReadsOptions
  readonly #primary: Tier
  readonly #secondary: Tier

  constructor(options: HybridReadsOptions) {
    this.#options = options
    this.#primary = options.tiers[options.primary]
    this.#secondary = options.tiers[otherTier[options.primary]]
  }

  async read(attachment: Attachment, range: Range | undefined, signal: AbortSignal): Promise<Content> {
    return (await this.#open(attachment, range, signal)).content
  }

  /**
   * A body that breaks in the middle is delivered again from its first byte: from the other tier if that has the file,
   * else from the same one. A body that falls silent is waited for, unless the other tier has the file.
   */
  async deliver<T>(
    attachment: Attachment,
    range: Range | undefined,
    use: (content: Content) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const { silenceMs = 10_000, warn } = this.#options
    const { asked, content } = await this.#open(attachment, range, signal)
    const { from, other, giveUp } = asked
    const body = new WatchedBody(content.body, {
      silenceMs,
      giveUp,
      isElsewhere: async () => Boolean(await other.find(attachment, signal).catch(() => undefined)),
      where: { verb: 'read', store: from.area.name, key: attachment.uuid },
    })
    const used = await settled(use({ ...content, body }))
    if (!(used instanceof Fault)) return used.value
    const { broken } = body
    if (!broken || signal.aborted || broken.code === 'Canceled') throw used
    const elsewhere = await settled(other.area.deliver(attachment, range, use, signal))
    if (!(elsewhere instanceof Fault)) {
      warn(`${broken.describe()}; it was read from ${other.area.name} instead`)
      return elsewhere.value
    }
    if (!broken.retryable || signal.aborted) throw graver(broken, elsewhere)
    return await from.area.deliver(attachment, range, use, signal).catch(error => {
      // A move may have ended after the look at the other tier. The file was here when this reading began.
      if (!mayBeAbsent(error)) throw error
      return other.area.deliver(attachment, range, use, signal)
    })
  }

  /**
   * From the primary tier. If that fails, or does not begin to answer in time, the secondary is asked as well, and the
   * first of the two that has the file delivers it. So a read does not wait for a store that is away while the disk has
   * the file, nor for a disk that hangs while the store has it.
   */
  async #open(attachment: Attachment, range: Range | undefined, signal: AbortSignal): Promise<Opened> {
    const { movesEnded = () => 0 } = this.#options
    const isNowhere = (outcome: unknown) => mayBeAbsent(outcome) && !signal.aborted
    const look = () => settled(this.#look(attachment, range, signal))
    const outcome = await lookUndisturbed(look, isNowhere, () => movesEnded(attachment.uuid))
    if (outcome instanceof Fault) throw outcome
    return outcome.value
  }

  async #look(attachment: Attachment, range: Range | undefined, signal: AbortSignal): Promise<Opened> {
    const primary = ask(this.#primary, this.#secondary, attachment, range, signal)
    const early = await Promise.race([primary.outcome, pause(this.#options.askOtherAfterMs ?? 1_000, primary.outcome)])
    if (early && !(early instanceof Fault)) return { asked: primary, content: early }
    if (early?.code === 'Canceled') throw early
    const secondary = ask(this.#secondary, this.#primary, attachment, range, signal)
    const soonest = await firstContent([primary, secondary])
    if (soonest?.asked === primary) {
      secondary.giveUp()
      return soonest
    }
    if (soonest) {
      primary.giveUp()
      this.#warnOfDetour(attachment, early)
      return soonest
    }
    const [atPrimary, atSecondary] = (await Promise.all([primary.outcome, secondary.outcome])) as [Fault, Fault]
    for (const fault of [atPrimary, atSecondary]) if (fault.code === 'Canceled') throw fault
    // Another process may have moved it to the primary tier between the two looks. Then the first was too early.
    if (!mayBeAbsent(atPrimary)) throw graver(atPrimary, atSecondary)
    const repeated = ask(this.#primary, this.#secondary, attachment, range, signal)
    const again = await repeated.outcome
    if (again instanceof Fault) throw graver(again, atSecondary)
    return { asked: repeated, content: again }
  }

  /** `early`: why the primary tier did not deliver; undefined = no answer yet. An absence is normal and not logged. */
  #warnOfDetour({ uuid }: Attachment, early: Fault | undefined): void {
    const { warn } = this.#options
    const { name } = this.#secondary.area
    if (!early) warn(`${this.#primary.area.name} does not answer; '${uuid}' was read from ${name} instead`)
    else if (!mayBeAbsent(early)) warn(`${early.describe()}; it was read from ${name} instead`)
  }
}

interface AskedTier {
  readonly from: Tier
  readonly other: Tier
  /** The content, or why there is none. */
  readonly outcome: Promise<Content | Fault>
  /** Nobody needs the answer any more. */
  giveUp(): void
}

interface Opened {
  readonly asked: AskedTier
  readonly content: Content
}

function ask(
  from: Tier,
  other: Tier,
  attachment: Attachment,
  range: Range | undefined,
  signal: AbortSignal,
): AskedTier {
  signal.throwIfAborted()
  const abort = new AbortController()
  const outcome = from.area.read(attachment, range, AbortSignal.any([signal, abort.signal])).catch(Fault.from)
  return {
    from,
    other,
    outcome,
    giveUp() {
      abort.abort(new Fault('Canceled', 'another place had the file sooner'))
      void outcome.then(content => (content instanceof Fault ? undefined : discard(content))).catch(() => {})
    },
  }
}

function pause(ms: number, unless: Promise<unknown>): Promise<undefined> {
  return new Promise(resolve => {
    const timer = setTimeout(() => resolve(undefined), ms)
    void unless.then(() => clearTimeout(timer))
  })
}

/** The first content that comes; undefined when there is none. */
function firstContent(all: readonly AskedTier[]): Promise<Opened | undefined> {
  return new Promise(resolve => {
    for (const asked of all) void asked.outcome.then(content => content instanceof Fault || resolve({ asked, content }))
    void Promise.all(all.map(({ outcome }) => outcome)).then(() => resolve(undefined))
  })
}

function settled<T>(work: Promise<T>): Promise<{ readonly value: T } | Fault> {
  return work.then(
    value => ({ value }),
    error => Fault.from(error),
  )
}

interface Watch {
  readonly silenceMs: number
  /** Called when the body breaks. Its end is not waited for: it may hang. */
  giveUp(): void
  /** Whether there is another place to read from. If not, a silent body is waited for. */
  isElsewhere(): Promise<boolean>
  readonly where: Where
}

/** A body that is given up when it is silent for too long and the other tier has the file. */
class WatchedBody implements Bytes {
  /** Why it broke, if it did. */
  broken: Fault | undefined
  readonly #body: Bytes
  readonly #watch: Watch

  constructor(body: Bytes, watch: Watch) {
    this.#body = body
    this.#watch = watch
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, undefined> {
    const { silenceMs, giveUp } = this.#watch
    const chunks = this.#body[Symbol.asyncIterator]()
    try {
      for (;;) {
        const coming = chunks.next().catch(Fault.from)
        const came =
          (await Promise.race([coming, pause(silenceMs, coming)])) ??
          (await Promise.race([coming, this.#silent().then(fault => fault ?? coming)]))
        if (came instanceof Fault) {
          this.broken = came
          giveUp()
          throw came
        }
        if (came.done) return
        yield came.value
      }
    } finally {
      if (!this.broken) await chunks.return?.()
    }
  }

  async #silent(): Promise<Fault | undefined> {
    const { silenceMs, isElsewhere, where } = this.#watch
    if (!(await isElsewhere())) return undefined
    return new Fault('Unavailable', `no byte has come for ${silenceMs / 1000} s`, { where })
  }
}
