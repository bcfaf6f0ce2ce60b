/**
 * Proves that a folder is still the same one. When a network mount is gone, an empty folder stays, or none. The files
 * are not lost then, but files that are written there now would be. So a folder of ours has a file that marks it;
 * Orthanc's own folder is known by its device and inode.
 */
import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, opendir, readFile, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Fault, isErrno, messageWithoutPath } from '../../fault.ts'
import type { Disk } from './disk.ts'
import { ifThere, isAbsence } from './faults.ts'
import { unmountedAbove } from './mounts.ts'
import { isReserved, MARKER } from './names.ts'
import { syncOnce } from './sync.ts'

const FULL = ['ENOSPC', 'EDQUOT']
const ID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/

/**
 * `owner`: may make the folder and its marker. `successor`: of an owner that died. What the owner made must be there.
 * `guest`: makes nothing, and accepts a folder that has no marker yet.
 */
export type Role = 'owner' | 'successor' | 'guest'

export interface RootOptions {
  readonly path: string
  readonly marked: boolean
  readonly role: Role
  /** For tests: what this machine says of its mounts. */
  readonly unmounted?: typeof unmountedAbove
}

interface Sight {
  readonly mode: bigint
  readonly dev: bigint
  readonly ino: bigint
  readonly birthtimeNs: bigint
}

/** What is remembered of a folder: the id of its marker, and the last stat of the marker, or else of the folder. */
interface Known {
  readonly id: string | undefined
  readonly sight: Sight
}

/** The folder itself, on its disk. Other classes read and write below it. */
export class FolderRoot {
  readonly path: string
  readonly disk: Disk
  readonly #marker: string
  readonly #marked: boolean
  readonly #role: Role
  readonly #unmounted: typeof unmountedAbove
  #known: Known | undefined

  constructor(disk: Disk, { path, marked, role, unmounted = unmountedAbove }: RootOptions) {
    this.path = path
    this.disk = disk
    this.#marker = join(path, MARKER)
    this.#marked = marked
    this.#role = role
    this.#unmounted = unmounted
  }

  /** '' = the marker has none: a crash left it so. */
  async #idOf(): Promise<string | undefined> {
    const text = await ifThere(this.disk.run(() => readFile(this.#marker, 'utf8'))).catch(error => {
      throw isErrno(error, 'EACCES', 'EPERM', 'EISDIR') ? unreadable(this.path, error) : error
    })
    return text === undefined ? undefined : (ID.exec(text)?.[0] ?? '')
  }

  /** Rejects unless the folder is there and the same as before. */
  async prove(): Promise<void> {
    const known = this.#known
    if (!known) return this.establish(false, () => {})
    const { id, sight } = known
    const now = await this.#sightOf(id === undefined ? this.path : this.#marker)
    if (!now) throw id === undefined || !(await this.#sightOf(this.path)) ? missing(this.path) : unmarked(this.path)
    if (same(sight, now)) return
    if (id === undefined || (await this.#idOf()) !== id) throw another(this.path)
    this.#known = { id, sight: now } // the same one, mounted again
  }

  /** At the first call, makes the folder and its marker as far as needed and allowed. Later the same as prove(). */
  async establish(make: boolean, warn: (line: string) => void): Promise<void> {
    const makes = make && this.#role === 'owner'
    const marks = makes && this.#marked
    if (this.#known) {
      await this.prove()
      if (marks && this.#known.id === undefined) await this.#remember((await this.#idOf()) || (await this.#mark()))
      return
    }
    const there = await this.#sightOf(this.path)
    if (there && (there.mode & BigInt(constants.S_IFMT)) !== BigInt(constants.S_IFDIR)) throw noFolder(this.path)
    if (!there) {
      await this.#refuseUnmounted()
      if (!makes) throw this.#role === 'owner' ? notYet(this.path) : missing(this.path)
      await this.#makeFolder()
    }
    const id = this.#marked ? await this.#idOf() : undefined
    if (id) return this.#remember(id)
    const empty = await this.#isEmpty()
    if (empty) {
      await this.#refuseUnmounted()
      if (this.#marked && this.#role === 'successor') throw unmarked(this.path)
      if (there) warn(emptyNow(this.path))
    }
    await this.#remember(marks ? await this.#mark() : undefined)
  }

  async #remember(id: string | undefined): Promise<void> {
    const sight = await this.#sightOf(id === undefined ? this.path : this.#marker)
    if (!sight) throw missing(this.path)
    this.#known = { id, sight }
  }

  async #makeFolder(): Promise<void> {
    const recursive = !this.#marked // Orthanc makes its own with all folders above it
    await this.disk
      .run(() => mkdir(this.path, { mode: 0o750, recursive }))
      .catch(error => {
        if (!isErrno(error, 'EEXIST')) throw cannotMake(this.path, messageWithoutPath(error), error)
      })
    // Its own name must be safe, too. Without the permission to read the folder above that is not possible.
    await syncOnce(this.disk, dirname(this.path)).catch(error => {
      if (!isErrno(error, 'EACCES', 'EPERM')) throw error
    })
  }

  /** Gives the folder its marker and returns the id; undefined where nothing can be written: a check reports it. */
  async #mark(): Promise<string | undefined> {
    const id = randomUUID()
    const torn = (await this.#idOf()) === ''
    const file = await this.disk.open(this.#marker, torn ? 'w' : 'wx', 0o640).catch(error => {
      if (isErrno(error, 'EROFS', 'EACCES', 'EPERM', 'EEXIST', ...FULL)) return undefined
      throw isAbsence(error) ? missing(this.path) : error
    })
    if (!file) return (await this.#idOf()) || undefined // another process was faster
    try {
      await file.run(handle =>
        handle.writeFile(`orthanc-cloud-storage keeps files in this folder. Do not remove this file. ${id}\n`),
      )
      await file.sync()
    } catch (error) {
      if (!isErrno(error, ...FULL)) throw error // the incomplete marker is written again when there is room
    } finally {
      await file.close()
    }
    return (await this.#idOf()) || undefined // two processes may have begun at once
  }

  async #isEmpty(): Promise<boolean> {
    const empty = await ifThere(this.disk.run(() => this.#holdsNothing(), this.disk.longTimeoutMs))
    if (empty === undefined) throw missing(this.path)
    return empty
  }

  /** Where the folder is, or would be made: a link above it may lead below a mount point. */
  async #real(name = this.path): Promise<string> {
    const found = await ifThere(this.disk.run(() => realpath(name)))
    return found ?? (name === dirname(name) ? name : join(await this.#real(dirname(name)), basename(name)))
  }

  /** Not all names at once: a flat folder may have millions. */
  async #holdsNothing(): Promise<boolean> {
    for await (const { name } of await opendir(this.path)) if (!isReserved(name)) return false
    return true
  }

  async #refuseUnmounted(): Promise<void> {
    const point = (await this.#unmounted(this.path)) ?? (await this.#unmounted(await this.#real()))
    if (point === undefined) return
    const words = `/etc/fstab has ${point}, but nothing is mounted on it, and ${this.path} has no files`
    throw new Fault('Unavailable', words, { remedy: `Mount ${point}.` })
  }

  #sightOf(file: string): Promise<Sight | undefined> {
    return ifThere(this.disk.run(() => stat(file, { bigint: true, throwIfNoEntry: false })))
  }
}

/** A device gets a new number when it is mounted again. Then the birth time decides, where the system has one. */
function same(before: Sight, now: Sight): boolean {
  if (before.ino !== now.ino) return false
  return before.dev === now.dev || (now.birthtimeNs > 0n && before.birthtimeNs === now.birthtimeNs)
}

const remedy = 'Mount what should be there. If this is the right folder, restart Orthanc.'
export const cannotMake = (path: string, why: string, cause?: unknown) =>
  new Fault('BadConfig', `the folder ${path} cannot be made: ${why}`, {
    cause,
    remedy: isErrno(cause, 'EACCES', 'EPERM', 'EROFS')
      ? 'Make it, and give it to the user that runs Orthanc, or mount what should be there.'
      : `Create the folder ${dirname(path)}, where Orthanc must be allowed to write, or mount what should be there.`,
  })
const noFolder = (path: string) =>
  new Fault('BadConfig', `${path} is not a folder`, {
    remedy: 'Set the path of the folder that files are to be stored in.',
  })
const missing = (path: string) =>
  new Fault('Unavailable', `the folder ${path} is not there`, { remedy: 'Mount what should be there.' })
const unmarked = (path: string) =>
  new Fault('Unavailable', `the folder ${path} is not the one that was used before: its file ${MARKER} is missing`, {
    remedy,
  })
const another = (path: string) =>
  new Fault('Unavailable', `${path} is another folder than the one that was used before`, { remedy })
const unreadable = (path: string, cause: unknown) =>
  new Fault('Denied', `the file ${MARKER} in ${path} cannot be read: ${messageWithoutPath(cause)}`, {
    cause,
    remedy: 'It must be a file, and the user that runs Orthanc must be allowed to read it.',
  })
const notYet = (path: string) =>
  new Fault('Unavailable', `the folder ${path} is not there yet`, {
    remedy: `Orthanc creates it when it starts; the folder ${dirname(path)} must be there.`,
  })
const emptyNow = (path: string) =>
  `the folder ${path} is empty: if files were stored there before, stop Orthanc and mount what should be there`
