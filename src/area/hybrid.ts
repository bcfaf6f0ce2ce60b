import { Fault } from '../fault.ts'
import type { Attachment, Found, StorageArea, TierName } from './area.ts'
import { lookTwice, lookUndisturbed } from './find.ts'
import { both } from './graver-fault.ts'
import { HybridReads, type HybridReadsOptions } from './hybrid-reads.ts'
import { type MoveOptions, type MoveOutcome, moveBetween } from './move.ts'
import type { Digests } from './move-source.ts'
import { otherTier, type Tier } from './tier.ts'
import { alone, type MoveTurns } from './turns.ts'

export interface HybridOptions extends HybridReadsOptions {
  /**
   * The tiers as Orthanc's own calls use them: a read may be answered from a cache, a removal may be sent later. A move
   * uses `tiers`, because it must see what is really there. Default: `tiers`.
   */
  readonly forOrthanc?: Readonly<Record<TierName, Tier>>
  readonly digests: Digests
  /** Rejects unless the tiers are proven to be two places. Called before a move, which removes from one of them. */
  apart?(signal: AbortSignal): Promise<void>
  /** Without it, no other process moves. */
  readonly turns?: MoveTurns
}

/** A storage area over two tiers. */
export interface HybridArea extends StorageArea {
  readonly tiers: Readonly<Record<TierName, Tier>>
  /**
   * Copies, reads back, compares, and only then removes from the other tier. A rejection leaves the file readable where
   * it was. Repeating is safe, also after a crash at any point.
   */
  move(attachment: Attachment, to: TierName, options: MoveOptions, signal: AbortSignal): Promise<MoveOutcome>
  /** Where the file is. Rejects unless both tiers answer. */
  locate(attachment: Attachment, signal: AbortSignal): Promise<Partial<Record<TierName, Found>>>
}

export function hybridArea(options: HybridOptions): HybridArea {
  const { tiers, forOrthanc = tiers, primary, digests, apart = async () => {}, turns = alone } = options
  const written = forOrthanc[primary].area
  const other = forOrthanc[otherTier[primary]].area
  /** Moves and removals under way, by UUID. Each file has one at a time. */
  const busy = new Map<string, { readonly abort: AbortController; readonly done: Promise<unknown> }>()
  let ended = 0
  const movesEnded = (uuid: string) => (busy.has(uuid) ? undefined : ended)
  const reads = new HybridReads({ ...options, tiers: forOrthanc, movesEnded })

  function exclusively<T>(uuid: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const abort = new AbortController()
    const working = work(abort.signal)
    const end = () => {
      ended++
      busy.delete(uuid)
    }
    busy.set(uuid, { abort, done: working.then(end, end) })
    return working
  }

  return {
    name: `${written.name}, and reads also from ${other.name}`,
    tiers,

    create: (attachment, body, signal) => written.create(attachment, body, signal),
    read: (attachment, range, signal) => reads.read(attachment, range, signal),
    deliver: (attachment, range, use, signal) => reads.deliver(attachment, range, use, signal),

    async remove(attachment, signal) {
      // Otherwise the copy that a move is writing would appear after the removal, and stay for ever.
      for (let move = busy.get(attachment.uuid); move; move = busy.get(attachment.uuid)) {
        move.abort.abort(new Fault('Canceled', 'Orthanc removes the file'))
        await move.done
      }
      await exclusively(attachment.uuid, () =>
        both(written.remove(attachment, signal), other.remove(attachment, signal)),
      )
    },

    async move(attachment, to, moveOptions, signal) {
      const { uuid } = attachment
      await apart(signal)
      while (busy.has(uuid)) await busy.get(uuid)?.done
      signal.throwIfAborted()
      return await exclusively(uuid, async removal => {
        const joined = AbortSignal.any([signal, removal])
        const remove = (tier: TierName) => () =>
          turns.removing(uuid, tier, otherTier[tier], () => tiers[tier].area.remove(attachment, joined))
        const moved = moveBetween({
          ...moveOptions,
          from: tiers[otherTier[to]],
          to: tiers[to],
          removeSource: remove(otherTier[to]),
          removeCopy: remove(to),
          attachment,
          digests,
          signal: joined,
        })
        return await moved.catch(error => {
          if (removal.aborted) return 'missing' // Orthanc has removed the file
          throw error
        })
      })
    },

    async locate(attachment, signal) {
      const look = async () => {
        const [fileSystem, objectStorage] = await Promise.all([
          tiers['file-system'].find(attachment, signal),
          tiers['object-storage'].find(attachment, signal),
        ])
        return {
          ...(fileSystem && { 'file-system': fileSystem }),
          ...(objectStorage && { 'object-storage': objectStorage }),
        }
      }
      const twice = () => lookTwice(look, isNowhere)
      return await lookUndisturbed(twice, isNowhere, () => movesEnded(attachment.uuid))
    },
  }
}

const isNowhere = (found: Partial<Record<TierName, Found>>) => Object.keys(found).length === 0
