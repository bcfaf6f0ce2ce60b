/** Several processes that share a folder and its lease, each with its own beats, and one clock that tests turn on. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Disk } from '../../src/stores/directory/disk.ts'
import { Lease, type LeaseShare } from '../../src/stores/directory/lease.ts'
import type { ProcessIdentity } from '../../src/stores/directory/lease-process.ts'
import { FolderRoot } from '../../src/stores/directory/root.ts'

/** A disk whose process dies before an operation: nothing that comes later is done. */
export class MortalDisk extends Disk {
  /** Operations that are still done. */
  left = Number.POSITIVE_INFINITY
  done = 0
  /** The code of an error that every change ends with. */
  refuses: string | undefined

  override run<T>(work: () => Promise<T>, timeoutMs?: number, late?: (result: T) => void): Promise<T> {
    if (this.left <= 0) return Promise.reject(new Error('the process is dead'))
    this.left--
    this.done++
    const refused = this.refuses !== undefined && /mkdir|writeFile|rename|rmdir|unlink/.test(String(work))
    if (refused) return Promise.reject(Object.assign(new Error(`${this.refuses}: refused`), { code: this.refuses }))
    return super.run(work, timeoutMs, late)
  }
}

export interface Mover {
  readonly lease: Lease
  readonly disk: MortalDisk
  readonly warnings: string[]
  /** Does not show that it lives, like a process that was stopped. */
  paused: boolean
  beat(): void
}

export class Movers {
  readonly folder = mkdtempSync(join(tmpdir(), 'ocs-movers-'))
  seconds = 0
  readonly #all: Mover[] = []

  /** On a host of its own, unless `self` says something else. */
  add(self: Partial<ProcessIdentity> = {}): Mover {
    const disk = new MortalDisk(this.folder)
    const warnings: string[] = []
    const beats = new Set<() => void>()
    const mover: Mover = {
      disk,
      warnings,
      paused: false,
      beat: () => {
        for (const work of beats) work()
      },
      lease: new Lease(new FolderRoot(disk, { path: this.folder, marked: false, role: 'owner' }), {
        place: 'file-system',
        warn: line => void warnings.push(line),
        self: { host: `host-${this.#all.length}`, pid: 7, started: randomUUID(), machine: '', ...self },
        now: () => this.seconds * 1000,
        every(_ms, work) {
          beats.add(work)
          return () => void beats.delete(work)
        },
      }),
    }
    this.#all.push(mover)
    return mover
  }

  /** Time goes on for all, and `waiting` looks each second. Resolves to its share, or to nothing if it got none. */
  async pass(seconds: number, waiting?: Mover): Promise<LeaseShare | undefined> {
    for (let i = 0; i < seconds; i++) {
      this.seconds++
      for (const mover of this.#all) if (!mover.paused) mover.beat()
      for (const { lease } of this.#all) await lease.quiet()
      const taken = await waiting?.lease.take()
      if (taken && !('waitsFor' in taken)) return taken
    }
    return undefined
  }

  /** All names in the folder. */
  names(): string[] {
    return readdirSync(this.folder, { recursive: true, encoding: 'utf8' }).toSorted()
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export async function shareOf({ lease }: Mover): Promise<LeaseShare> {
  const taken = await lease.take()
  if ('waitsFor' in taken) throw new Error(`it is the turn of ${taken.waitsFor.host}`)
  return taken
}

export async function waitsFor({ lease }: Mover): Promise<string | undefined> {
  const taken = await lease.take()
  return 'waitsFor' in taken ? taken.waitsFor.host : undefined
}
