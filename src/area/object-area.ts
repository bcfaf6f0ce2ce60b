import { type Content, orDiscard, type Range } from '../bytes.ts'
import { Fault } from '../fault.ts'

import type { Envelope } from '../seal/envelope.ts'

import type { Again, Attachment, StorageArea } from './area.ts'
import { mayBeAbsent } from './find.ts'
import { SealedReads, type SealedReadsOptions, type Unseal } from './sealed-reads.ts'

export interface ObjectAreaOptions extends SealedReadsOptions {
  /** The key that an envelope with this suffix writes, then older ones that are read and removed too. */
  keysOf(attachment: Attachment, suffix: Envelope['suffix']): readonly [string, ...string[]]
  /** The envelope of new objects, then those that older objects may have. */
  readonly envelopes: readonly [Envelope, ...Envelope[]]
  /** Where sealed and plain objects have the same key: finds out which it is, and unseals a sealed one. */
  unsealIfSealed(get: () => Promise<Content>, attachment: Attachment): Promise<Content>
  /** Repeats work after a fault that another try may mend. Bounded. Default: not at all. */
  readonly again?: Again
}

/** One key where an attachment may be. If there are two envelopes, the bytes show which one it is. */
interface Candidate {
  readonly key: string
  readonly envelopes: readonly Envelope[]
}

/** A storage area whose files are the objects of one store, sealed or not. */
export function objectArea(options: ObjectAreaOptions): StorageArea {
  const { store, keysOf, envelopes, unsealIfSealed, budget, cache, again = work => work() } = options
  const sealedReads = new SealedReads(options)
  const [writing] = envelopes
  /** The envelope of the last object that was found. In a mixed store, the next object probably has the same one. */
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
    // A forbidden key may be there, so it is the one to report. If all keys are absent, report the key that new objects
    // have, not the last guess.
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
    const unseal: Unseal = other
      ? get => unsealIfSealed(get, attachment)
      : async get => orDiscard(await get(), envelope.unseal)
    return range ? sealedReads.range(key, unseal, range, signal) : sealedReads.whole(key, unseal, signal)
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
        cache.forget(key) // a reader may have loaded what was there before
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
