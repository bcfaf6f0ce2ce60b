import { type Content, Fingerprint } from '../bytes.ts'
import { Fault, isCode } from '../fault.ts'
import type { Found } from './area.ts'
import { MoveSource, type MoveSourceOptions } from './move-source.ts'
import type { Tier } from './tier.ts'

/** One file, and where it goes. */
export interface MoveTask extends MoveSourceOptions {
  readonly to: Tier
  /** Removals that exclude those of other processes that move. */
  removeSource(): Promise<void>
  removeCopy(): Promise<void>
  /** Copy only. */
  readonly keepSource: boolean
}

export type MoveOptions = Pick<MoveTask, 'keepSource' | 'known'>

/** `missing`: neither tier has the file. */
export type MoveOutcome = 'moved' | 'already-there' | 'missing'

/**
 * Moves one file. At every moment at least one tier has it whole. Bytes on the target are never overwritten by other
 * bytes. If the two tiers differ, both stay, and a person must look.
 */
export function moveBetween(task: MoveTask): Promise<MoveOutcome> {
  const { from, known, keepSource } = task
  const verifySourceFirst = known?.md5 !== undefined && from.local && !keepSource
  const move = new Move(task)
  return verifySourceFirst ? move.verifyThenCopy() : move.copyThenVerify()
}

class Move {
  readonly #task: MoveTask
  readonly #source: MoveSource

  constructor(task: MoveTask) {
    this.#task = task
    this.#source = new MoveSource(task)
  }

  /**
   * The source is compared with what Orthanc once stored before its last byte leaves. So it may overwrite whatever the
   * target has, and no round trip is needed to look at the target.
   */
  verifyThenCopy(): Promise<MoveOutcome> {
    return this.#finish(undefined, () => this.#copy())
  }

  /** Looks at the target first. What it has already is compared, and never overwritten by other bytes. */
  async copyThenVerify(): Promise<MoveOutcome> {
    const there = await this.#find()
    if (!there) return await this.#finish(there, () => this.#copy())
    if (this.#task.keepSource) return 'already-there'
    return await this.#finish(there, async () => {
      const found = await this.#compare()
      // An archived object cannot be read, so it cannot be compared. But the store acknowledges what we write with its
      // checksum, in the same request.
      return found === 'archived' ? await this.#copy() : found === 'same'
    })
  }

  /** `there`: what the target had before. `arrive` resolves to whether the target has the bytes of the source. */
  async #finish(there: Found | undefined, arrive: () => Promise<boolean>): Promise<MoveOutcome> {
    const { to, attachment, keepSource, signal, removeCopy } = this.#task
    let same: boolean
    try {
      same = await arrive()
    } catch (error) {
      if (!this.#source.lost) throw error
      return (there ?? (await this.#find())) ? 'already-there' : 'missing'
    } finally {
      await this.#source.end()
    }
    if (!same) {
      // A wrong copy of ours must not stay: reads may find it first. If it cannot be removed, a person must do it.
      let stays = there !== undefined
      if (!stays)
        await removeCopy().catch(() => {
          stays = true
        })
      throw this.#differs(stays)
    }
    await to.settle?.(attachment, signal)
    signal.throwIfAborted()
    if (!keepSource) await this.#removeSource()
    return 'moved'
  }

  async #copy(): Promise<boolean> {
    const { to, attachment, signal } = this.#task
    await to.area.create(attachment, await this.#source.source(), signal)
    const arrived = await this.#compare()
    if (arrived !== 'archived') return arrived === 'same'
    const size = await this.#source.size()
    return (await this.#find())?.size === (to.storedSize?.(size) ?? size)
  }

  /** Whether the target has the bytes of the source. Of an archived object, only the size can be known. */
  async #compare(): Promise<'same' | 'other' | 'archived'> {
    const { to, attachment, digests, signal } = this.#task
    const fingerprintOf = ({ body }: Content) => Fingerprint.of(body, () => digests('sha256'))
    const sent = await this.#source.fingerprint()
    try {
      const found = await to.area.deliver(attachment, undefined, fingerprintOf, signal)
      return found.equals(sent) ? 'same' : 'other'
    } catch (error) {
      if (isCode(error, 'Archived')) return 'archived'
      throw error
    }
  }

  #find(): Promise<Found | undefined> {
    return this.#task.to.find(this.#task.attachment, this.#task.signal)
  }

  /** If both tiers are one place after all, the file is lost here. The start should have found that; else we say it. */
  async #removeSource(): Promise<void> {
    const { from, removeSource } = this.#task
    await removeSource()
    if (await this.#find()) return
    throw this.#corrupt(
      `the file is gone: its removal from ${from.area.name} took the copy as well`,
      'Stop all moves: disk and object storage seem to be one place. Restore the file from a backup.',
    )
  }

  #differs(stays: boolean): Fault {
    const { name } = this.#task.from.area
    return stays
      ? this.#corrupt(
          `its bytes there differ from those on ${name}`,
          'Both are kept. Find out which one is right, and remove the other one.',
        )
      : this.#corrupt(`the copy that arrived differs from the file on ${name}; the file stays there`)
  }

  #corrupt(message: string, remedy?: string): Fault {
    const { attachment, to } = this.#task
    const where = { verb: 'move', key: attachment.uuid, store: to.area.name }
    return new Fault('Corrupt', message, { where, remedy })
  }
}
