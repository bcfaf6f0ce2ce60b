/**
 * Whether a folder is what it was. A network mount that is gone leaves an empty folder behind, or none: its files are not
 * lost then, and what is written there would be. So a folder of ours has a file that marks it; Orthanc's own is
 * known by its device and inode.
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
 * `owner`: it may make the folder and its marker. `successor`: of an owner that died, so what that one made must be there.
 * `guest`: it makes nothing, and takes a folder that has no marker yet.
 */
export type Role = 'owner' | 'successor' | 'guest'

export interface RootOptions {
  readonly path: string
  readonly marked: boolean
  readonly role: Role
  /** For tests: what this machine says of its mounts. */
  readonly unmounted?: typeof unmountedAbove
}

export interface Root {
  /** Makes the folder what it must be, if it was never seen before; else as prove(). */
  establish(make: boolean, warn: (line: string) => void): Promise<void>
  /** Rejects unless the folder is there and the one that it was. */
  prove(): Promise<void>
}

interface Sight {
  readonly mode: bigint
  readonly dev: bigint
  readonly ino: bigint
  readonly birthtimeNs: bigint
}

/** What is remembered of a folder: the id of its marker, and how marker or folder looked when they were last seen. */
interface Known {
  readonly id: string | undefined
  readonly sight: Sight
}

export function folderRoot(disk: Disk, options: RootOptions): Root {
  const { path, marked, role, unmounted = unmountedAbove } = options
  const marker = join(path, MARKER)
  let known: Known | undefined

  const sightOf = (file: string) => ifThere(disk.run(() => stat(file, { bigint: true, throwIfNoEntry: false })))

  /** '' = the marker has none: a crash left it so. */
  async function idOf(): Promise<string | undefined> {
    const text = await ifThere(disk.run(() => readFile(marker, 'utf8'))).catch(error => {
      throw isErrno(error, 'EACCES', 'EPERM', 'EISDIR') ? unreadable(path, error) : error
    })
    return text === undefined ? undefined : (ID.exec(text)?.[0] ?? '')
  }

  async function prove(): Promise<void> {
    if (!known) return establish(false, () => {})
    const now = await sightOf(known.id === undefined ? path : marker)
    if (!now) throw known.id === undefined || !(await sightOf(path)) ? missing(path) : unmarked(path)
    if (same(known.sight, now)) return
    if (known.id === undefined || (await idOf()) !== known.id) throw another(path)
    known = { id: known.id, sight: now } // the same one, mounted again
  }

  async function establish(make: boolean, warn: (line: string) => void): Promise<void> {
    const makes = make && role === 'owner'
    const marks = makes && marked
    if (known) {
      await prove()
      if (marks && known.id === undefined) await remember((await idOf()) || (await mark()))
      return
    }
    const there = await sightOf(path)
    if (there && (there.mode & BigInt(constants.S_IFMT)) !== BigInt(constants.S_IFDIR)) throw noFolder(path)
    if (!there) {
      await refuseUnmounted()
      if (!makes) throw role === 'owner' ? notYet(path) : missing(path)
      await makeFolder()
    }
    const id = marked ? await idOf() : undefined
    if (id) return remember(id)
    const empty = await isEmpty()
    if (empty) {
      await refuseUnmounted()
      if (marked && role === 'successor') throw unmarked(path)
      if (there) warn(emptyNow(path))
    }
    await remember(marks ? await mark() : undefined)
  }

  async function remember(id: string | undefined): Promise<void> {
    const sight = await sightOf(id === undefined ? path : marker)
    if (!sight) throw missing(path)
    known = { id, sight }
  }

  async function makeFolder(): Promise<void> {
    await disk
      .run(() => mkdir(path, { mode: 0o750, recursive: !marked })) // Orthanc makes its own with all folders above it
      .catch(error => {
        if (!isErrno(error, 'EEXIST')) throw cannotMake(path, messageWithoutPath(error), error)
      })
    // Its own name must be safe, too. Who may not read the folder above cannot see to that.
    await syncOnce(disk, dirname(path)).catch(error => {
      if (!isErrno(error, 'EACCES', 'EPERM')) throw error
    })
  }

  /** Gives the folder its marker and returns the id; undefined where nothing can be written, which a check tells. */
  async function mark(): Promise<string | undefined> {
    const id = randomUUID()
    const torn = (await idOf()) === ''
    const file = await disk.open(marker, torn ? 'w' : 'wx', 0o640).catch(error => {
      if (isErrno(error, 'EROFS', 'EACCES', 'EPERM', 'EEXIST', ...FULL)) return undefined
      throw isAbsence(error) ? missing(path) : error
    })
    if (!file) return (await idOf()) || undefined // of somebody who was faster
    try {
      await file.run(handle =>
        handle.writeFile(`orthanc-cloud-storage keeps files in this folder. Do not remove this file. ${id}\n`),
      )
      await file.sync()
    } catch (error) {
      if (!isErrno(error, ...FULL)) throw error // what stays of it is written anew when there is room
    } finally {
      await file.close()
    }
    return (await idOf()) || undefined // two may have begun at once
  }

  async function isEmpty(): Promise<boolean> {
    const empty = await ifThere(disk.run(holdsNothing, disk.longPatienceMs))
    if (empty === undefined) throw missing(path)
    return empty
  }

  /** Where the folder is, or would be made: a link above it may lead below a mount point. */
  async function real(name = path): Promise<string> {
    const found = await ifThere(disk.run(() => realpath(name)))
    return found ?? (name === dirname(name) ? name : join(await real(dirname(name)), basename(name)))
  }

  /** Not all names at once: a flat folder may have millions. */
  async function holdsNothing(): Promise<boolean> {
    for await (const { name } of await opendir(path)) if (!isReserved(name)) return false
    return true
  }

  async function refuseUnmounted(): Promise<void> {
    const point = (await unmounted(path)) ?? (await unmounted(await real()))
    if (point !== undefined)
      throw new Fault(
        'Unavailable',
        `nothing is mounted on ${point}, which /etc/fstab names, and ${path} has no files`,
        {
          remedy: `Mount ${point}.`,
        },
      )
  }

  return { establish, prove }
}

/** A device gets another number when it is mounted again; then the time of its making tells, where the system keeps that. */
function same(before: Sight, now: Sight): boolean {
  if (before.ino !== now.ino) return false
  return before.dev === now.dev || (now.birthtimeNs > 0n && before.birthtimeNs === now.birthtimeNs)
}

const remedy = 'Mount what should be there. If this is the right folder, restart Orthanc.'
export const cannotMake = (path: string, why: string, cause?: unknown) =>
  new Fault('BadConfig', `the folder ${path} cannot be made: ${why}`, {
    cause,
    remedy: `Create the folder ${dirname(path)}, where Orthanc must be allowed to write, or mount what should be there.`,
  })
const noFolder = (path: string) =>
  new Fault('BadConfig', `${path} is no folder`, { remedy: 'Name the folder in which files are to be stored.' })
const missing = (path: string) =>
  new Fault('Unavailable', `the folder ${path} is not there`, { remedy: 'Mount what should be there.' })
const unmarked = (path: string) =>
  new Fault('Unavailable', `the folder ${path} is not what it was: its file ${MARKER} is not there`, { remedy })
const another = (path: string) =>
  new Fault('Unavailable', `there is another folder on ${path} than the one that was used before`, { remedy })
const unreadable = (path: string, cause: unknown) =>
  new Fault('Denied', `the file ${MARKER} in ${path} cannot be read: ${messageWithoutPath(cause)}`, {
    cause,
    remedy: 'It must be a file, and the user that runs Orthanc must be allowed to read it.',
  })
const notYet = (path: string) =>
  new Fault('Unavailable', `the folder ${path} is not there yet`, {
    remedy: `Orthanc makes it when it starts; the folder ${dirname(path)} must be there.`,
  })
const emptyNow = (path: string) =>
  `the folder ${path} is empty: if files were stored there before, stop Orthanc and mount what should be there`
