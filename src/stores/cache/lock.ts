/**
 * Which engine uses a cache. The lock keeps sizes right and two Orthancs from one folder. Copies do not depend on it:
 * each one is checked when it is read.
 */
import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { link, readFile, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { isErrno } from '../../fault.ts'
import type { Disk } from '../directory/disk.ts'
import { hasEnded, type ProcessIdentity, thisProcess } from '../directory/lease-process.ts'
import { LeaseWatch } from '../directory/lease-watch.ts'
import { writeWhole } from './folder.ts'

const LOCK = 'lock'
/** How often the holder shows that it lives, for those on other machines and in other containers. */
export const BEAT_MS = 5_000

export interface Holder extends ProcessIdentity {
  readonly id: string
}

/** Why there is no lock: who has it. `lives`: for certain, because this machine sees the process. */
export interface Taken {
  readonly holder: string
  readonly lives: boolean
}

export class FolderLock {
  readonly #disk: Disk
  readonly #path: string
  readonly #folder: string
  readonly #self: ProcessIdentity
  readonly #watch: LeaseWatch
  #id: string | undefined
  #beats = 0

  constructor(disk: Disk, folder: string, self = thisProcess(), now?: () => number) {
    this.#disk = disk
    this.#folder = folder
    this.#path = join(folder, LOCK)
    this.#self = self
    this.#watch = new LeaseWatch(now)
  }

  /** Undefined: the lock is ours. To be called again and again where a holder may be dead. */
  async take(): Promise<Taken | undefined> {
    const seen = await this.#read(this.#path)
    if (seen !== undefined) {
      const holder = parsed(seen)
      if (holder && this.#id === holder.id) return undefined
      const isHere = holder !== undefined && holder.machine !== '' && holder.machine === this.#self.machine
      if (holder && !hasEnded(holder) && (isHere || this.#watch.mayLive({ ...holder, holder: undefined, text: seen })))
        return { holder: `process ${holder.pid} on ${holder.host}`, lives: isHere }
      if (!(await this.#takeAway(seen))) return { holder: 'another process', lives: false }
    }
    const id = randomUUID()
    const making = join(this.#folder, `${LOCK}.${id}`)
    try {
      await writeWhole(this.#disk, making, this.#textOf(id))
      await this.#disk.run(() => link(making, this.#path))
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error
      return { holder: 'another process', lives: false }
    } finally {
      await this.#remove(making)
    }
    this.#id = id
    return undefined
  }

  /** Shows that the holder lives. False: somebody else has the lock. */
  async beat(): Promise<boolean> {
    const id = this.#id
    if (id === undefined) return false
    const holder = parsed((await this.#read(this.#path)) ?? '')
    if (holder?.id !== id) {
      this.#id = undefined
      return false
    }
    this.#beats++
    // As many bytes each time, so no reader finds an empty file.
    const file = await this.#disk.open(this.#path, constants.O_WRONLY)
    try {
      await file.run(handle => handle.write(this.#textOf(id), 0))
    } finally {
      await file.close()
    }
    return true
  }

  async release(): Promise<void> {
    if (this.#id === undefined) return
    const holder = parsed((await this.#read(this.#path)) ?? '')
    if (holder?.id === this.#id) await this.#remove(this.#path)
    this.#id = undefined
  }

  /** Takes the lock of a dead holder away. False: it was not the one that was seen, so it is left where it is. */
  async #takeAway(seen: string): Promise<boolean> {
    const aside = join(this.#folder, `${LOCK}.${randomUUID()}`)
    try {
      await this.#disk.run(() => rename(this.#path, aside))
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return true
      throw error
    }
    const isSame = (await this.#read(aside)) === seen
    if (!isSame) await this.#disk.run(() => link(aside, this.#path)).catch(() => {})
    await this.#remove(aside)
    return isSame
  }

  #textOf(id: string): string {
    return `${JSON.stringify({ ...this.#self, id })}\n${String(this.#beats).padStart(12, '0')}\n`
  }

  async #read(path: string): Promise<string | undefined> {
    return await this.#disk
      .run(() => readFile(path, 'utf8'))
      .catch(error => {
        if (isErrno(error, 'ENOENT')) return undefined
        throw error
      })
  }

  async #remove(path: string): Promise<void> {
    await this.#disk.run(() => unlink(path)).catch(() => {})
  }
}

/** Undefined: a crash has left it so, and nobody holds it. */
function parsed(text: string): Holder | undefined {
  try {
    const { id, host, machine, started, pid } = JSON.parse(text.split('\n', 1)[0] ?? '')
    const texts = [id, host, machine, started].every(part => typeof part === 'string')
    return texts && Number.isInteger(pid) && pid > 0 ? { id, host, machine, started, pid } : undefined
  } catch {
    return undefined
  }
}
