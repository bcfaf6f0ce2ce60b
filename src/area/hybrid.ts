import type { Content, Range } from '../bytes.ts'
import { Fault, isCode } from '../fault.ts'
import type { Attachment, Found, StorageArea, Tier } from './area.ts'
import { both, graver } from './either.ts'
import type { Find } from './find.ts'
import { type Digests, type Moved, type MoveOptions, moveBetween } from './move.ts'

/**
 * One tier: a storage area and the way to look for a file in it without reading it. While a file is moved, the two are used
 * at once; so at most one of them may make a caller wait for memory (`Budget`), or two moves in opposite directions could
 * each hold what the other waits for.
 */
export interface Side {
  readonly area: StorageArea
  readonly find: Find
  /** Whether looking there costs no round trip over a network. */
  readonly local: boolean
  /** The id of the master key that an object is sealed under; undefined when it is plain. */
  keyIdOf(found: Found, signal: AbortSignal): Promise<number | undefined>
}

export interface HybridOptions {
  readonly sides: Readonly<Record<Tier, Side>>
  /** Where new files go, and where a read looks first. */
  readonly first: Tier
  readonly digests: Digests
  warn(line: string): void
}

/** A storage area over two tiers. */
export interface HybridArea extends StorageArea {
  readonly sides: Readonly<Record<Tier, Side>>
  /**
   * Copies, reads back, compares, and only then removes from the other tier. A rejection leaves the file readable where it
   * was; repeating is safe, also after a crash at any point.
   */
  move(attachment: Attachment, to: Tier, options: MoveOptions, signal: AbortSignal): Promise<Moved>
  /** Where the file is. Rejects unless both tiers can tell. */
  locate(attachment: Attachment, signal: AbortSignal): Promise<Partial<Record<Tier, Found>>>
}

export const otherTier: Readonly<Record<Tier, Tier>> = {
  'file-system': 'object-storage',
  'object-storage': 'file-system',
}

export function hybridArea({ sides, first, digests, warn }: HybridOptions): HybridArea {
  const near = sides[first].area
  const far = sides[otherTier[first]].area
  /** Moves and removals under way, by UUID: of one file, one at a time. */
  const busy = new Map<string, { readonly abort: AbortController; readonly done: Promise<unknown> }>()

  function exclusively<T>(uuid: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const abort = new AbortController()
    const working = work(abort.signal)
    const end = () => busy.delete(uuid)
    busy.set(uuid, { abort, done: working.then(end, end) })
    return working
  }

  async function read(attachment: Attachment, range: Range | undefined, signal: AbortSignal): Promise<Content> {
    const fromNear = await tryRead(near, attachment, range, signal)
    if (!(fromNear instanceof Fault)) return fromNear
    const fromFar = await tryRead(far, attachment, range, signal)
    if (!(fromFar instanceof Fault)) {
      if (fromNear.code !== 'NotFound') warn(`${fromNear.describe()}; it was read from ${far.name} instead`)
      return fromFar
    }
    // A move towards the first tier may have ended between the two looks; then the file is where the first look was too early.
    const again = isCode(fromNear, 'NotFound') ? await tryRead(near, attachment, range, signal) : fromNear
    if (!(again instanceof Fault)) return again
    throw graver(again, fromFar)
  }

  async function move(attachment: Attachment, to: Tier, options: MoveOptions, signal: AbortSignal): Promise<Moved> {
    const { uuid } = attachment
    while (busy.has(uuid)) await busy.get(uuid)?.done
    signal.throwIfAborted()
    return await exclusively(uuid, async removal => {
      const either = AbortSignal.any([signal, removal])
      const moved = moveBetween(sides[otherTier[to]], sides[to], attachment, options, digests, either)
      return await moved.catch(error => {
        if (removal.aborted) return { outcome: 'missing' } // Orthanc knows it no more
        throw error
      })
    })
  }

  return {
    name: `${near.name}, and reads also from ${far.name}`,
    sides,

    create: (attachment, body, signal) => near.create(attachment, body, signal),

    read,

    async deliver(attachment, range, use, signal) {
      return await use(await read(attachment, range, signal))
    },

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
      const [disk, cloud] = await Promise.all([
        sides['file-system'].find(attachment, signal),
        sides['object-storage'].find(attachment, signal),
      ])
      return { ...(disk && { 'file-system': disk }), ...(cloud && { 'object-storage': cloud }) }
    },
  }
}

/** The content, or why there is none. Who asks no more is not sent on to another tier. */
async function tryRead(
  area: StorageArea,
  attachment: Attachment,
  range: Range | undefined,
  signal: AbortSignal,
): Promise<Content | Fault> {
  signal.throwIfAborted()
  const outcome = await area.read(attachment, range, signal).catch(Fault.from)
  if (isCode(outcome, 'Canceled')) throw outcome
  return outcome
}
