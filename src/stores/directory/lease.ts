/**
 * Whose turn it is to move files, among all processes that share a folder. Who holds the lease shows that it lives, and
 * loses it after it was silent for some time. It may only be paused, though, and go on at any point, also in the middle
 * of a removal. So each removal is noted before it begins, where a holder that lost the lease can note nothing
 * (lease-folder.ts). What was noted and not crossed out is in doubt for whoever comes next: the copy that may still be
 * removed counts as none.
 */
import { randomUUID } from 'node:crypto'
import { Fault, isCode } from '../../fault.ts'
import { withFaults } from './faults.ts'
import { type Doubt, LeaseFolder, type LeaseHolder } from './lease-folder.ts'
import { hasEnded, type ProcessIdentity, thisProcess } from './lease-process.ts'
import { LeaseWatch } from './lease-watch.ts'
import type { FolderRoot } from './root.ts'

export interface LeaseOptions {
  /** What removals from this folder are called. Only they make room in it. */
  readonly place: string
  warn(line: string): void
  // For tests.
  readonly self?: ProcessIdentity
  readonly now?: () => number
  /** Runs the work again and again until it is called off. */
  readonly every?: (ms: number, work: () => void) => () => void
}

/** One user's share of the lease. */
export interface LeaseShare {
  /** Another process has taken the lease. */
  readonly lost: boolean
  end(): Promise<void>
}

/** How often the holder shows that it lives. Others take the lease when it did not for LeaseWatch's patience. */
const BEAT_MS = 5_000
/** No request to a store is under way for so long, even with all its repetitions. */
const DOUBT_MS = 24 * 3_600_000

interface Held {
  readonly holder: LeaseHolder
  readonly doubts: ReadonlyMap<string, Doubt>
  readonly stopBeating: () => void
  lost: boolean
  users: number
}

export class Lease {
  readonly #root: FolderRoot
  readonly #folder: LeaseFolder
  readonly #options: LeaseOptions
  readonly #self: ProcessIdentity
  readonly #watch: LeaseWatch
  #held: Held | undefined
  #beating: Promise<void> | undefined
  /** What this process does with the lease, one after the other. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(root: FolderRoot, options: LeaseOptions) {
    this.#root = root
    this.#folder = new LeaseFolder(root)
    this.#options = options
    this.#self = options.self ?? thisProcess()
    this.#watch = new LeaseWatch(options.now)
  }

  /** A share, or who has the lease now. Rejects when this process can never have it as things are. */
  take(): Promise<LeaseShare | { readonly waitsFor: ProcessIdentity & { readonly since: string } }> {
    return this.#inTurn(async () => {
      const held = await this.#hold()
      if (!('users' in held)) return { waitsFor: held }
      held.users++
      return {
        get lost() {
          return held.lost
        },
        end: () => this.#inTurn(() => this.#letGo(held)),
      }
    })
  }

  /**
   * Removes the copy of `file` in `place`, when the copy in `remaining` is certain to stay. Rejects when it is not this
   * process's turn.
   */
  async removing(file: string, place: string, remaining: string, remove: () => Promise<void>): Promise<void> {
    const held = await this.#inTurn(() => this.#holdFor(place))
    if (!held) return await remove()
    try {
      await this.#refuseDoubt(held, file, remaining)
      const removal = `${file}.${place}`
      if (held.lost) throw lost()
      const noted = await this.#on(() => this.#folder.mark(held.holder.id, removal)).catch(error => {
        if (this.#makesRoom(error, place)) return true
        throw error
      })
      if (!noted) {
        this.#lose(held)
        throw lost()
      }
      try {
        await remove()
      } finally {
        await this.#on(() => this.#folder.unmark(held.holder.id, removal)).catch(() => {}) // it stays in doubt
      }
    } finally {
      await this.#inTurn(() => this.#letGo(held)).catch(() => {}) // another process will take it away
    }
  }

  /** For tests: when a beat under way has ended. */
  async quiet(): Promise<void> {
    await this.#beating
  }

  /** Undefined: there is no room for a lease, and this removal makes some. */
  async #holdFor(place: string): Promise<Held | undefined> {
    // Another turn would not do: what this move has verified may be gone since it lost its own.
    if (this.#held?.lost) throw lost()
    const held = await this.#hold().catch(error => {
      if (this.#makesRoom(error, place)) return undefined
      throw error
    })
    if (!held) return undefined
    if (!('users' in held)) throw new Fault('Unavailable', `it is the turn of ${nameOf(held)} to move files`)
    held.users++
    return held
  }

  /** The disk is full, so nothing can be noted there before this removal. */
  #makesRoom(error: unknown, place: string): boolean {
    return isCode(error, 'TooLarge') && place === this.#options.place
  }

  async #hold(): Promise<Held | LeaseHolder> {
    // While somebody here still uses a lost lease, there is no new one.
    if (this.#held) return this.#held.lost ? this.#held.holder : this.#held
    return await this.#on(async () => {
      await this.#root.prove()
      const seen = await this.#folder.look()
      if (seen) {
        const holder = seen.holder ?? unknown
        const ended = hasEnded(holder)
        // A lease of this process that it does not hold any more could not be given back.
        const known = ended || this.#isOwn(holder)
        if (!known && this.#watch.mayLive(seen)) return holder
        if (!(await this.#folder.evict(seen.id, ended))) return holder
        if (!known) this.#options.warn(`${nameOf(holder)} was silent in its turn to move files: it has lost its turn`)
      }
      return await this.#acquire()
    })
  }

  async #acquire(): Promise<Held | LeaseHolder> {
    const { every = repeat } = this.#options
    const holder = { id: randomUUID(), ...this.#self, since: new Date().toISOString() }
    if (!(await this.#folder.acquire(holder))) return (await this.#folder.look())?.holder ?? unknown
    await this.#folder.sweep(holder.id)
    let beats = 0
    // A disk that does not answer says nothing: the removals will show whether the lease is lost.
    const beat = async () => {
      const lives = await this.#folder.beat(holder, ++beats).catch(() => true)
      if (!lives && held.users > 0) this.#lose(held)
    }
    const held: Held = {
      holder,
      doubts: await this.#openDoubts(holder.id),
      stopBeating: every(BEAT_MS, () => {
        this.#beating ??= beat().finally(() => {
          this.#beating = undefined
        })
      }),
      lost: false,
      users: 0,
    }
    this.#held = held
    return held
  }

  /** By file and place: what a holder that lost its turn may still remove. */
  async #openDoubts(id: string): Promise<ReadonlyMap<string, Doubt>> {
    const open = new Map<string, Doubt>()
    for (const doubt of await this.#folder.doubts(id)) {
      if (doubt.ageMs > DOUBT_MS || (doubt.holder && hasEnded(doubt.holder))) await this.#folder.endDoubt(doubt.name)
      else open.set(doubt.removal, doubt)
    }
    return open
  }

  async #refuseDoubt({ doubts }: Held, file: string, remaining: string): Promise<void> {
    const doubt = doubts.get(`${file}.${remaining}`)
    if (!doubt || !(await this.#on(() => this.#folder.isInDoubt(doubt)))) return
    throw new Fault('Unavailable', `${nameOf(doubt.holder ?? unknown)} may still remove the copy that would remain`, {
      retryable: false,
      remedy: 'Both copies are kept. Move the file again when that process has ended, or in a day.',
    })
  }

  async #letGo(held: Held): Promise<void> {
    if (--held.users > 0) return
    held.stopBeating()
    if (this.#held === held) this.#held = undefined
    if (!held.lost) await this.#on(() => this.#folder.release(held.holder.id))
  }

  #lose(held: Held): void {
    if (held.lost) return
    held.lost = true
    held.stopBeating()
    this.#options.warn('this Orthanc did not answer for a while in its turn to move files: another one has it now')
  }

  #isOwn({ machine, pid, started }: ProcessIdentity): boolean {
    const self = this.#self
    return machine !== '' && machine === self.machine && pid === self.pid && started === self.started
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work)
    this.#last = done.catch(() => {})
    return done
  }

  #on<T>(work: () => Promise<T>): Promise<T> {
    return withFaults(this.#root.path, work).catch(error => {
      throw isCode(error, 'Denied') || isCode(error, 'BadConfig') ? error.with({ remedy: NEEDS }) : error
    })
  }
}

const NEEDS =
  "Orthancs that share a folder take turns at moving files. For that, each must be allowed to make, rename and remove \
files and folders in Orthanc's StorageDirectory, and its file system must be able to."

const unknown: LeaseHolder = { id: '', host: 'an unknown host', pid: 0, started: '', machine: '', since: '' }
const nameOf = ({ pid, host }: ProcessIdentity) => (pid === 0 ? 'another Orthanc' : `process ${pid} on ${host}`)
const lost = () => new Fault('Unavailable', 'this Orthanc lost its turn to move files', { retryable: false })

function repeat(ms: number, work: () => void): () => void {
  const timer = setInterval(work, ms).unref()
  return () => clearInterval(timer)
}
