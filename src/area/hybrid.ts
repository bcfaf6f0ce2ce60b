import { type Bytes, type Content, discard, type Range } from '../bytes.ts'
import { Fault } from '../fault.ts'
import type { Attachment, Found, StorageArea, TierName } from './area.ts'
import { lookTwice, mayBeAbsent } from './find.ts'
import { both, graver } from './graver-fault.ts'
import { type MoveOptions, type MoveOutcome, moveBetween } from './move.ts'
import type { Digests } from './move-source.ts'
import { otherTier, type Tier } from './tier.ts'

export interface HybridOptions {
  readonly tiers: Readonly<Record<TierName, Tier>>
  /** Where new files go, and where a read looks first. */
  readonly first: TierName
  readonly digests: Digests
  /** Rejects unless it is proven that the tiers are two places: asked before a move, which removes from one of them. */
  apart?(signal: AbortSignal): Promise<void>
  warn(line: string): void
  /** How long the first tier has to begin an answer before the second is asked as well. */
  patienceMs?: number
  /** How long a body may be silent before the other tier is asked whether it has the file. */
  silenceMs?: number
}

/** A storage area over two tiers. */
export interface HybridArea extends StorageArea {
  readonly tiers: Readonly<Record<TierName, Tier>>
  /**
   * Copies, reads back, compares, and only then removes from the other tier. A rejection leaves the file readable where it
   * was; repeating is safe, also after a crash at any point.
   */
  move(attachment: Attachment, to: TierName, options: MoveOptions, signal: AbortSignal): Promise<MoveOutcome>
  /** Where the file is. Rejects unless both tiers can tell. */
  locate(attachment: Attachment, signal: AbortSignal): Promise<Partial<Record<TierName, Found>>>
}

export function hybridArea(options: HybridOptions): HybridArea {
  const { tiers, first, digests, apart = async () => {}, warn, patienceMs = 1_000, silenceMs = 10_000 } = options
  const near = tiers[first].area
  const far = tiers[otherTier[first]].area
  /** Moves and removals under way, by UUID: of one file, one at a time. */
  const busy = new Map<string, { readonly abort: AbortController; readonly done: Promise<unknown> }>()

  function exclusively<T>(uuid: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const abort = new AbortController()
    const working = work(abort.signal)
    const end = () => busy.delete(uuid)
    busy.set(uuid, { abort, done: working.then(end, end) })
    return working
  }

  /**
   * From the first tier. As soon as that has failed, or does not begin to answer, the second is asked as well, and whoever
   * has the file first delivers it: nobody waits for a store that is away while the file is on the disk, nor the reverse.
   */
  async function open(attachment: Attachment, range: Range | undefined, signal: AbortSignal): Promise<Opened> {
    const one = ask(near, attachment, range, signal)
    const early = await Promise.race([one.outcome, pause(patienceMs, one.outcome)])
    if (early && !(early instanceof Fault)) return opened(one, early, first)
    if (early?.code === 'Canceled') throw early
    const two = ask(far, attachment, range, signal)
    const soonest = await firstContent([one, two])
    if (soonest?.asked === one) {
      two.giveUp()
      return opened(one, soonest.content, first)
    }
    if (soonest) {
      one.giveUp()
      if (!early) warn(`${near.name} does not answer; '${attachment.uuid}' was read from ${far.name} instead`)
      else if (!mayBeAbsent(early)) warn(`${early.describe()}; it was read from ${far.name} instead`)
      return opened(two, soonest.content, otherTier[first])
    }
    const [fromNear, fromFar] = (await Promise.all([one.outcome, two.outcome])) as [Fault, Fault]
    for (const fault of [fromNear, fromFar]) if (fault.code === 'Canceled') throw fault
    // A move towards the first tier may have ended between the two looks; then the file is where the first look was too early.
    if (!mayBeAbsent(fromNear)) throw graver(fromNear, fromFar)
    const three = ask(near, attachment, range, signal)
    const again = await three.outcome
    if (again instanceof Fault) throw graver(again, fromFar)
    return opened(three, again, first)
  }

  const opened = ({ giveUp }: Asked, content: Content, tier: TierName): Opened => ({
    content,
    giveUp,
    from: tiers[tier].area,
    other: tiers[otherTier[tier]],
  })

  /**
   * What breaks in the middle is delivered from its first byte on: from the other tier if that has it, else once more. What
   * only falls silent is waited for, unless the other tier has it.
   */
  async function deliver<T>(
    attachment: Attachment,
    range: Range | undefined,
    use: (content: Content) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const { content, giveUp, from, other } = await open(attachment, range, signal)
    let broken: Fault | undefined
    const body = watched(content.body, {
      silenceMs,
      async silent() {
        if (!(await other.find(attachment, signal).catch(() => undefined))) return undefined
        const where = { verb: 'read', store: from.name, key: attachment.uuid }
        return new Fault('Unavailable', `no byte has come for ${silenceMs / 1000} s`, { where })
      },
      broken(fault) {
        broken = fault
        giveUp()
      },
    })
    const failed = await use({ ...content, body }).then(
      value => ({ value }),
      error => Fault.from(error),
    )
    if (!(failed instanceof Fault)) return failed.value
    if (!broken || signal.aborted || broken.code === 'Canceled') throw failed
    const there = broken
    const elsewhere = await other.area.deliver(attachment, range, use, signal).then(
      value => ({ value }),
      error => Fault.from(error),
    )
    if (!(elsewhere instanceof Fault)) {
      warn(`${there.describe()}; it was read from ${other.area.name} instead`)
      return elsewhere.value
    }
    if (!there.retryable || signal.aborted) throw graver(there, elsewhere)
    return await from.deliver(attachment, range, use, signal).catch(error => {
      // A move may have ended since the look at the other tier; it was here when we began.
      if (!mayBeAbsent(error)) throw error
      return other.area.deliver(attachment, range, use, signal)
    })
  }

  async function move(
    attachment: Attachment,
    to: TierName,
    options: MoveOptions,
    signal: AbortSignal,
  ): Promise<MoveOutcome> {
    const { uuid } = attachment
    await apart(signal)
    while (busy.has(uuid)) await busy.get(uuid)?.done
    signal.throwIfAborted()
    return await exclusively(uuid, async removal => {
      const either = AbortSignal.any([signal, removal])
      const moved = moveBetween({
        ...options,
        from: tiers[otherTier[to]],
        to: tiers[to],
        attachment,
        digests,
        signal: either,
      })
      return await moved.catch(error => {
        if (removal.aborted) return 'missing' // Orthanc knows it no more
        throw error
      })
    })
  }

  return {
    name: `${near.name}, and reads also from ${far.name}`,
    tiers,

    create: (attachment, body, signal) => near.create(attachment, body, signal),

    async read(attachment, range, signal) {
      return (await open(attachment, range, signal)).content
    },

    deliver,

    async remove(attachment, signal) {
      // What a move is just writing would otherwise appear behind our back and stay for ever.
      for (let move = busy.get(attachment.uuid); move; move = busy.get(attachment.uuid)) {
        move.abort.abort(new Fault('Canceled', 'Orthanc removes the file'))
        await move.done
      }
      await exclusively(attachment.uuid, () => both(near.remove(attachment, signal), far.remove(attachment, signal)))
    },

    move,

    async locate(attachment, signal) {
      const look = async () => {
        const [disk, cloud] = await Promise.all([
          tiers['file-system'].find(attachment, signal),
          tiers['object-storage'].find(attachment, signal),
        ])
        return { ...(disk && { 'file-system': disk }), ...(cloud && { 'object-storage': cloud }) }
      }
      return await lookTwice(look, found => Object.keys(found).length === 0)
    },
  }
}

interface Opened extends Pick<Asked, 'giveUp'> {
  readonly content: Content
  readonly from: StorageArea
  readonly other: Tier
}

interface Asked {
  /** The content, or why there is none. */
  readonly outcome: Promise<Content | Fault>
  /** The answer is not wanted any more. */
  giveUp(): void
}

function ask(area: StorageArea, attachment: Attachment, range: Range | undefined, signal: AbortSignal): Asked {
  signal.throwIfAborted()
  const abort = new AbortController()
  const outcome = area.read(attachment, range, AbortSignal.any([signal, abort.signal])).catch(Fault.from)
  return {
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
function firstContent(all: readonly Asked[]): Promise<{ asked: Asked; content: Content } | undefined> {
  return new Promise(resolve => {
    for (const asked of all) void asked.outcome.then(content => content instanceof Fault || resolve({ asked, content }))
    void Promise.all(all.map(({ outcome }) => outcome)).then(() => resolve(undefined))
  })
}

interface Watch {
  readonly silenceMs: number
  /** Why a body that has been silent for so long is given up; undefined = it is waited for. */
  silent(): Promise<Fault | undefined>
  broken(fault: Fault): void
}

async function* watched(body: Bytes, { silenceMs, silent, broken }: Watch): Bytes {
  const chunks = body[Symbol.asyncIterator]()
  let failed = false
  try {
    for (;;) {
      const coming = chunks.next().catch(Fault.from)
      const came =
        (await Promise.race([coming, pause(silenceMs, coming)])) ??
        (await Promise.race([coming, silent().then(fault => fault ?? coming)]))
      if (came instanceof Fault) {
        failed = true // it may hang: nobody can wait for its end
        broken(came)
        throw came
      }
      if (came.done) return
      yield came.value
    }
  } finally {
    if (!failed) await chunks.return?.()
  }
}
