/** Writing a file below a folder: whole or not at all, and never where another folder was mounted meanwhile. */
import { constants } from 'node:fs'
import { lstat, mkdir, realpath, rename, rmdir, unlink } from 'node:fs/promises'
import { basename, dirname, join, relative, sep } from 'node:path'
import type { Source } from '../../bytes.ts'
import { Fault, isErrno, throwIfAborted } from '../../fault.ts'
import { MOST_ATTEMPTS, unlessAbsent } from './absence.ts'
import { writeAll } from './bytes.ts'
import type { Disk, DiskFile } from './disk.ts'
import { ifThere, isAbsence } from './faults.ts'
import { Leftovers } from './leftovers.ts'
import { temporaryName } from './names.ts'
import { createOwners, type Owners } from './owner.ts'
import type { FolderRoot } from './root.ts'
import { folderSync, type MadeFolders, madeFolders, syncOnce } from './sync.ts'
import { statIfThere } from './walk.ts'

export interface WriterOptions {
  readonly sync: boolean
  /** The program is not Orthanc's, and may be run by somebody else. */
  readonly guest: boolean
}

/** Paths are absolute and below the root. */
export class FileWriter {
  readonly #root: FolderRoot
  readonly #disk: Disk
  readonly #sync: boolean
  readonly #folders: MadeFolders
  readonly #owners: Owners
  readonly #leftovers: Leftovers

  constructor(root: FolderRoot, { sync, guest }: WriterOptions) {
    this.#root = root
    this.#disk = root.disk
    this.#sync = sync
    this.#folders = madeFolders(
      root.path,
      folderSync(async folder => void (await syncOnce(root.disk, folder))),
    )
    this.#owners = createOwners(root.disk, guest)
    this.#leftovers = new Leftovers(root.disk)
  }

  async put(path: string, body: Source, signal: AbortSignal): Promise<void> {
    const disk = this.#disk
    const replaced = this.#owners.look ? await statIfThere(disk, path) : undefined
    const isLink = replaced && (await disk.run(() => lstat(path))).isSymbolicLink()
    const final = isLink ? await disk.run(() => realpath(path)) : path
    const folder = dirname(final)
    const temporary = join(folder, temporaryName(basename(final)))
    let exists = false
    try {
      const file = await this.#create(temporary, folder)
      exists = true
      try {
        await this.#owners.ofFile(file, replaced, folder)
        // At the same time as the writing. The new file is in the folder that is there now: if another one is mounted
        // later, the rename does not find the file.
        const proven = this.#root.establish(true, () => {})
        proven.catch(() => {}) // the await below throws it
        await writeAll(file, body, signal)
        if (this.#sync) await file.sync()
        await proven
      } finally {
        await file.close()
      }
      throwIfAborted(signal)
      await disk.run(() => rename(temporary, final))
      if (this.#sync) await this.#folders.sync(folder)
    } catch (error) {
      // A Fault: the disk gave up, and may still make the file.
      await this.#leftovers.remove(temporary, exists || error instanceof Fault)
      throw error
    }
    void this.#leftovers.retry()
  }

  async remove(path: string): Promise<void> {
    const disk = this.#disk
    await unlessAbsent(this.#root, path, () => ifThere(disk.run(() => unlink(path)).then(() => true))).catch(error => {
      if (!isErrno(error, 'EISDIR')) throw error // a folder is no object
    })
    for (let folder = dirname(path); folder.length > this.#root.path.length; folder = dirname(folder)) {
      const at = folder
      // One that is gone already was pruned by another removal, maybe by one that died before it came to the next.
      const pruned = await disk
        .run(() => rmdir(at))
        .then(
          () => true,
          error => isErrno(error, 'ENOENT'),
        )
      if (!pruned) return // most probably it is not empty
      this.#folders.removed(folder)
    }
  }

  async settle(path: string): Promise<void> {
    const file = await this.#disk.open(path, constants.O_RDONLY)
    try {
      await file.sync()
    } finally {
      await file.close()
    }
    await this.#folders.sync(dirname(path))
  }

  /** A parent folder may vanish between mkdir and open, when a removal just pruned it: then it is made again. */
  async #create(file: string, folder: string): Promise<DiskFile> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#disk.open(file, 'wx', 0o640)
      } catch (error) {
        if (!isAbsence(error) || attempt > MOST_ATTEMPTS) throw error
        await this.#root.establish(true, () => {})
        if (!isErrno(error, 'ENOENT')) throw error
        await this.#makeFolders(folder)
      }
    }
  }

  /** Never the root itself: where it was, there may be nothing but an empty mount point, or not even that. */
  async #makeFolders(folder: string): Promise<void> {
    const names = relative(this.#root.path, folder).split(sep)
    if (names[0] === '' || names[0] === '..') return
    for (let i = 1; i <= names.length; i++) {
      const next = join(this.#root.path, ...names.slice(0, i))
      try {
        await this.#disk.run(() => mkdir(next, { mode: 0o750 }))
      } catch (error) {
        if (isErrno(error, 'EEXIST')) continue
        if (isErrno(error, 'ENOENT')) return // pruned meanwhile
        throw error
      }
      this.#folders.made(next)
      await this.#owners.ofFolder(next)
    }
  }
}
