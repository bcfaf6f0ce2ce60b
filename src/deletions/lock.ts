/** One process uses the folder of the journal. The files are those of the lease for moves, under another name. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '../fault.ts'
import type { Disk } from '../stores/directory/disk.ts'
import { LeaseFolder } from '../stores/directory/lease-folder.ts'
import { hasEnded, type ProcessIdentity, thisProcess } from '../stores/directory/lease-process.ts'
import { LeaseWatch } from '../stores/directory/lease-watch.ts'

export interface LockOptions {
  /** How long a process of this machine that lives is waited for. */
  readonly waitMs: number
  warn(line: string): void
  // For tests.
  readonly self?: ProcessIdentity
}

export const LOCK = 'lock'
const LOOK_EACH_MS = 250
const SAY_EACH_MS = 10_000
const BEAT_MS = 5_000
/** A process of another machine or container, of which nobody here knows whether it ended, may be silent for less. */
const WAIT_FOR_STRANGERS_MS = 45_000

export class FolderLock {
  readonly #folder: LeaseFolder
  readonly #id: string
  readonly #beating: NodeJS.Timeout

  private constructor(folder: LeaseFolder, holder: ProcessIdentity & { readonly id: string; readonly since: string }) {
    this.#folder = folder
    this.#id = holder.id
    let beats = 0
    this.#beating = setInterval(() => void folder.beat(holder, ++beats).catch(() => {}), BEAT_MS).unref()
  }

  /** Rejects when another process uses the folder. */
  static async take(
    disk: Disk,
    path: string,
    { waitMs, warn, self = thisProcess() }: LockOptions,
  ): Promise<FolderLock> {
    const folder = new LeaseFolder({ disk, path }, LOCK)
    const watch = new LeaseWatch()
    const start = performance.now()
    let saidAt = 0
    for (;;) {
      const seen = await folder.look()
      const ended = seen?.holder !== undefined && hasEnded(seen.holder)
      if (!seen || ended || !watch.mayLive(seen)) {
        const holder = { ...self, id: randomUUID(), since: new Date().toISOString() }
        const free = !seen || (await folder.evict(seen.id, ended))
        if (free && (await folder.acquire(holder))) return new FolderLock(folder, holder)
      }
      const waited = performance.now() - start
      const stranger = seen?.holder?.machine !== self.machine || self.machine === ''
      const name = seen?.holder ? `process ${seen.holder.pid} on ${seen.holder.host}` : 'another process'
      if (waited >= (stranger ? Math.max(waitMs, WAIT_FOR_STRANGERS_MS) : waitMs)) throw inUse(path, name)
      if (waited - saidAt >= SAY_EACH_MS) {
        saidAt = waited
        warn(`waiting for ${name}, which uses ${path}`)
      }
      await sleep(LOOK_EACH_MS)
    }
  }

  /** Whether no other process has taken it. */
  holds(): Promise<boolean> {
    return this.#folder.holds(this.#id)
  }

  async release(): Promise<void> {
    clearInterval(this.#beating)
    await this.#folder.release(this.#id)
  }
}

const inUse = (path: string, name: string) =>
  new Fault('BadConfig', `${name} uses the journal of removals in ${path}`, {
    remedy: 'Stop that Orthanc first, or give each Orthanc a folder of its own (CloudStorage.DeferredDeletion.Path).',
  })
