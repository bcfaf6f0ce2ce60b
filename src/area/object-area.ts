import {
  type Bytes,
  type Content,
  checkedContent,
  checkedRange,
  collect,
  cut,
  discard,
  orDiscard,
  type Range,
  sourceOf,
} from '../bytes.ts'
import { Fault, isCode, type Where } from '../fault.ts'
import type { Budget } from '../seal/budget.ts'
import type { Envelope } from '../seal/envelope.ts'
import type { Store } from '../stores/store.ts'
import type { Attachment, StorageArea } from './area.ts'
import { mayBeAbsent } from './find.ts'
import type { VerifiedCache } from './verified-cache.ts'

export interface ObjectAreaOptions {
  readonly store: Store
  /** The key that an envelope with this suffix writes, then older ones that are read and removed too. */
  keysOf(attachment: Attachment, suffix: Envelope['suffix']): readonly [string, ...string[]]
  /** The envelope of new objects, then those that older objects may have. */
  readonly envelopes: readonly [Envelope, ...Envelope[]]
  /** Tells a sealed from a plain object where both have the same key. */
  tell(get: () => Promise<Content>, attachment: Attachment): Promise<Content>
  /** Bytes being sealed and unsealed at once. */
  readonly budget: Budget
  readonly cache: VerifiedCache
  /** Repeats work that fails with a fault which another try may mend; bounded. Default: not at all. */
  readonly again?: <T>(work: () => Promise<T>, signal: AbortSignal) => Promise<T>
}

/** One place where an attachment may be. Two envelopes: its bytes tell which. */
interface Candidate {
  readonly key: string
  readonly envelopes: readonly Envelope[]
}

/** A storage area whose files are the objects of one store, sealed or not. */
export function objectArea(options: ObjectAreaOptions): StorageArea {
  const { store, keysOf, envelopes, tell, budget, cache, again = work => work() } = options
  const [writing] = envelopes
  /** The envelope of the last object that was found: in a mixed store, the next one most probably has the same. */
  let recent = writing

  function candidatesOf(attachment: Attachment): readonly Candidate[] {
    const found = new Map<string, Envelope[]>()
    for (const envelope of envelopes)
      for (const key of keysOf(attachment, envelope.suffix)) found.set(key, [...(found.get(key) ?? []), envelope])
    return [...found].map(([key, possible]) => ({ key, envelopes: possible }))
  }

  async function read(attachment: Attachment, range: Range | undefined, signal: AbortSignal): Promise<Content> {
    const candidates = candidatesOf(attachment)
    const likely = candidates.filter(candidate => candidate.envelopes.includes(recent))
    const others = candidates.filter(candidate => !likely.includes(candidate))
    const missed = new Map<Candidate | undefined, Fault>()
    for (const candidate of [...likely, ...others])
      try {
        const content = await readFrom(candidate, attachment, range, signal)
        recent = candidate.envelopes[0] ?? recent
        return content
      } catch (error) {
        if (!mayBeAbsent(error)) throw error
        missed.set(candidate, Fault.from(error))
      }
    // What is forbidden may be there. Of absences, the key that should be there, not the last guess, is the one to report.
    throw [...missed.values()].find(fault => fault.code !== 'NotFound') ?? missed.get(candidates[0])
  }

  function readFrom(
    { key, envelopes: possible }: Candidate,
    attachment: Attachment,
    range: Range | undefined,
    signal: AbortSignal,
  ): Promise<Content> {
    const [envelope = writing, other] = possible
    if (!other && envelope.suffix === '') return store.get(key, range, signal)
    const where = { verb: 'read', store: store.name, key }
    const get = () => getSealed(key, signal)
    const open = async () => {
      try {
        const { size, body } = await (other ? tell(get, attachment) : orDiscard(await get(), envelope.unseal))
        return { size, body: located(body, where) }
      } catch (error) {
        throw Fault.from(error, where)
      }
    }
    return range ? readVerified(key, open, range, signal) : open()
  }

  /**
   * A sealed object, within its share of the budget. The share is asked for when the answer has told the size; if it is not
   * to be had at once, the answer is given back first: waiting with a connection for somebody who waits for a connection
   * would end never.
   */
  async function getSealed(key: string, signal: AbortSignal): Promise<Content> {
    let content = await store.get(key, undefined, signal)
    let release = budget.tryTake(content.size)
    if (!release) {
      await discard(content)
      release = await budget.take(content.size, signal)
      content = await store.get(key, undefined, signal).catch(error => {
        release?.()
        throw error
      })
    }
    signal.addEventListener('abort', release, { once: true }) // also when nobody begins to read the body
    return { size: content.size, body: releasing(content.body, release, signal) }
  }

  /** A range is a success only when the whole object is: it is read to its end, and small ones are kept for the next range. */
  async function readVerified(
    key: string,
    open: () => Promise<Content>,
    range: Range,
    signal: AbortSignal,
  ): Promise<Content> {
    let large: Content | undefined
    const load = async () => {
      const content = await open()
      if (content.size > cache.largest) large = content
      return large ? undefined : collect(content)
    }
    const plain = await cache.getOrLoad(key, load).catch(error => {
      // The load may have been somebody else's, who gave up.
      if (isCode(error, 'Canceled') && !signal.aborted) return undefined
      throw error
    })
    if (plain) {
      const { start, end } = checkedRange(range, plain.byteLength)
      return checkedContent(end - start, sourceOf(plain).open({ start, end }))
    }
    const whole = large ?? (await open())
    try {
      const { start, end } = checkedRange(range, whole.size)
      return checkedContent(end - start, cut(whole.body, { start, end }))
    } catch (error) {
      await discard(whole)
      throw error
    }
  }

  return {
    name: store.name,

    async create(attachment, body, signal) {
      const [key] = keysOf(attachment, writing.suffix)
      if (writing.suffix === '') return store.put(key, body, signal)
      const release = await budget.take(body.size, signal).catch(error => {
        throw Fault.from(error, { verb: 'write', store: store.name, key })
      })
      try {
        await store.put(key, writing.seal(body), signal)
      } finally {
        release()
        cache.forget(key) // whoever read meanwhile may have what was there before
      }
    },

    read,

    deliver: (attachment, range, use, signal) =>
      again(async () => await use(await read(attachment, range, signal)), signal),

    async remove(attachment, signal) {
      await Promise.all(
        candidatesOf(attachment).map(async ({ key }) => {
          await store.remove(key, signal).finally(() => cache.forget(key))
        }),
      )
    },
  }
}

/** What unsealing finds wrong is found above the store, which else says where it happened. */
async function* located(body: Bytes, where: Where): Bytes {
  try {
    yield* body
  } catch (error) {
    throw Fault.from(error, where)
  }
}

async function* releasing(body: Bytes, release: () => void, signal: AbortSignal): Bytes {
  try {
    yield* body
  } finally {
    signal.removeEventListener('abort', release)
    release()
  }
}
