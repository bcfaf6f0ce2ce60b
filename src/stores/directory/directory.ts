import { constants } from 'node:fs'
import { lstat, mkdir, realpath, rename, rmdir, unlink } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { checkedContent, checkedRange, discard, type Range, type Source } from '../../bytes.ts'
import { Fault, isCode, isErrno, throwIfAborted } from '../../fault.ts'
import { fullWarning } from '../check.ts'
import type { CheckOptions, Stat, Store } from '../store.ts'
import { until } from '../until.ts'
import { slices, writeAll } from './bytes.ts'
import { tryToWrite } from './check.ts'
import { Disk, type DiskFile, type DiskLimits } from './disk.ts'
import { ifThere, isAbsence, itemsWithFaults, withFaults } from './faults.ts'
import { MARKER, TEMPORARY } from './names.ts'
import { createOwners } from './owner.ts'
import { cannotMake, folderRoot, type RootOptions } from './root.ts'
import { folderSync, madeFolders, syncOnce } from './sync.ts'
import { danglingLink, filesBelow, statIfThere } from './walk.ts'

/** Of what others make and remove at the same moment. */
const MOST_ATTEMPTS = 10

let writes = Math.floor(Math.random() * 2 ** 32)

export interface DirectoryOptions extends Partial<Omit<RootOptions, 'path'>> {
  /** Whether a write has reached the disk when it is acknowledged. Without, a power cut may take what Orthanc believes to have. */
  readonly sync?: boolean
  readonly limits?: DiskLimits
}

export interface DirectoryStore extends Store {
  /** Resolves when a file that is there has reached the disk, with its name, whoever wrote it. */
  settle(key: string, signal: AbortSignal): Promise<void>
}

/**
 * Objects as files under `root`, each named by its key: on a disk, a NAS, an NFS or FUSE mount. A file appears whole or
 * not at all (temporary name, fsync, rename, fsync of the folder). Symbolic links that an administrator has made are
 * followed, as Orthanc does.
 */
export function directoryStore(path: string, options: DirectoryOptions = {}): DirectoryStore {
  const { sync = true, marked = true, role = 'owner', limits } = options
  const root = resolve(path)
  const name = `directory:${root}`
  const disk = new Disk(root, limits)
  const identity = folderRoot(disk, { ...options, path: root, marked, role })
  const folders = madeFolders(
    root,
    folderSync(async folder => void (await syncOnce(disk, folder))),
  )
  const owner = createOwners(disk, role === 'guest')

  const pathOf = (key: string): string => {
    const segments = key.split('/')
    const odd = (s: string) => s === '' || s === '.' || s === '..' || s.includes('\0') || TEMPORARY.test(s)
    if (segments[0] === MARKER || !key.isWellFormed() || segments.some(odd))
      throw new Fault('BadRequest', 'the key is not one that a file can have')
    return join(root, ...segments)
  }
  const temporaryName = (of: string) => `.${of}.${process.pid.toString(36)}${(writes++).toString(36)}.tmp`

  async function put(key: string, body: Source, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal)
    let final = pathOf(key)
    const replaced = owner.look ? await statIfThere(disk, final) : undefined
    if (replaced && (await disk.run(() => lstat(pathOf(key)))).isSymbolicLink())
      final = await disk.run(() => realpath(final))
    const folder = dirname(final)
    const temporary = join(folder, temporaryName(basename(final)))
    try {
      const file = await createFile(temporary, folder)
      try {
        await owner.ofFile(file, replaced, folder)
        // While it is written. The new file is in the folder that is there now: should another one be mounted later, the
        // rename does not find it.
        const proven = identity.establish(true, () => {})
        proven.catch(() => {}) // heard below
        await writeAll(file, body, signal)
        if (sync) await file.sync()
        await proven
      } finally {
        await file.close()
      }
      throwIfAborted(signal)
      await disk.run(() => rename(temporary, final))
      if (sync) await folders.sync(folder)
    } catch (error) {
      const removed = disk.run(() => unlink(temporary)).catch(() => {}) // the first failure is the one to report
      if (!disk.hangs) await removed
      throw error
    }
  }

  /** A parent folder may vanish between mkdir and open, when a removal just pruned it: then it is made again. */
  async function createFile(file: string, folder: string): Promise<DiskFile> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await disk.open(file, 'wx', 0o640)
      } catch (error) {
        if (!isAbsence(error) || attempt > MOST_ATTEMPTS) throw error
        await identity.establish(true, () => {})
        if (!isErrno(error, 'ENOENT')) throw error
        await makeFolders(folder)
      }
    }
  }

  /** Never the root itself: where it was, there may be nothing but an empty mount point, or not even that. */
  async function makeFolders(folder: string): Promise<void> {
    const names = relative(root, folder).split(sep)
    if (names[0] === '' || names[0] === '..') return
    for (let i = 1; i <= names.length; i++) {
      const next = join(root, ...names.slice(0, i))
      try {
        await disk.run(() => mkdir(next, { mode: 0o750 }))
      } catch (error) {
        if (isErrno(error, 'EEXIST')) continue
        if (isErrno(error, 'ENOENT')) return // pruned meanwhile
        throw error
      }
      folders.made(next)
      await owner.ofFolder(next)
    }
  }

  /** What `look` finds; undefined only for an absence that is proven: the root was there before and after. */
  async function unlessAbsent<T>(path: string, look: () => Promise<T | undefined>): Promise<T | undefined> {
    for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt++) {
      const found = await look()
      if (found !== undefined) return found
      await identity.prove()
      if (!(await isAbsent(path))) continue
      await identity.prove()
      return undefined
    }
    throw new Fault('Unavailable', 'the file comes and goes')
  }

  /** A link on the way that leads nowhere does not prove an absence, but hides what may be there. */
  async function isAbsent(path: string): Promise<boolean> {
    const names = relative(root, path).split(sep)
    for (let i = 1; i <= names.length; i++) {
      const next = join(root, ...names.slice(0, i))
      const found = await statIfThere(disk, next)
      if (!found && (await ifThere(disk.run(() => lstat(next))))?.isSymbolicLink()) throw danglingLink(next)
      if (!found || (i < names.length && !found.isDirectory())) return true
    }
    return false
  }

  async function get(key: string, range: Range | undefined, signal: AbortSignal) {
    throwIfAborted(signal)
    const path = pathOf(key)
    const file = await unlessAbsent(path, () => ifThere(disk.open(path, constants.O_RDONLY)))
    if (!file) throw new Fault('NotFound', 'ENOENT: no such file or directory')
    try {
      const stats = await file.run(handle => handle.stat())
      if (!stats.isFile()) throw new Fault('NotFound', 'there is a folder where the file should be')
      const part = range ? checkedRange(range, stats.size) : { start: 0, end: stats.size }
      return checkedContent(part.end - part.start, itemsWithFaults(root, slices(file, part, signal)))
    } catch (error) {
      await file.close()
      throw error
    }
  }

  async function statOf(key: string, signal: AbortSignal): Promise<Stat | undefined> {
    throwIfAborted(signal)
    const path = pathOf(key)
    const stats = await unlessAbsent(path, () => statIfThere(disk, path))
    return stats?.isFile() ? { key, size: stats.size, modified: stats.mtime } : undefined
  }

  async function remove(key: string, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal)
    const path = pathOf(key)
    await unlessAbsent(path, () => ifThere(disk.run(() => unlink(path)).then(() => true))).catch(error => {
      if (!isErrno(error, 'EISDIR')) throw error // a folder is no object
    })
    for (let folder = dirname(path); folder.length > root.length; folder = dirname(folder)) {
      const at = folder
      // One that is gone already was pruned by another removal, maybe by one that died before it came to the next.
      const pruned = await disk
        .run(() => rmdir(at))
        .then(
          () => true,
          error => isErrno(error, 'ENOENT'),
        )
      if (!pruned) return // most probably it is not empty
      folders.removed(folder)
    }
  }

  async function settle(key: string, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal)
    const path = pathOf(key)
    const file = await disk.open(path, constants.O_RDONLY)
    try {
      await file.sync()
    } finally {
      await file.close()
    }
    await folders.sync(dirname(path))
  }

  async function check({ purpose = 'start', writes = true, warn = () => {} }: CheckOptions): Promise<void> {
    if (purpose === 'status') return await identity.prove()
    if (purpose === 'look' && role === 'owner' && !(await statIfThere(disk, root))) {
      let above = dirname(root)
      while (!marked && !(await statIfThere(disk, above)) && above !== '/') above = dirname(above)
      if (!(await statIfThere(disk, above))?.isDirectory()) throw cannotMake(root, 'there is no folder above it')
      return warn(`the folder ${root} is not there yet: Orthanc makes it when it starts`)
    }
    await identity.establish(purpose === 'start' && writes, warn)
    if (!writes) return
    await tryToWrite(disk, root, join(root, temporaryName('check')), warn).catch(error => {
      if (!isCode(error, 'TooLarge')) throw error
      warn(fullWarning(name, error))
    })
  }

  // On a disk that hangs, a look ends with its signal. What changes something ends with the disk's own limits: whoever is
  // told that it has ended may rely on that.
  return {
    name,
    put: (key, body, signal) => withFaults(root, () => put(key, body, signal)),
    get: (key, range, signal) => withFaults(root, () => until(get(key, range, signal), signal, discard)),
    stat: (key, signal) => withFaults(root, () => until(statOf(key, signal), signal)),
    remove: (key, signal) => withFaults(root, () => remove(key, signal)),
    list: (prefix, signal) =>
      itemsWithFaults(root, filesBelow({ disk, root, prove: () => identity.prove() }, prefix, signal)),
    check: (signal, options = {}) =>
      withFaults(root, async () => {
        throwIfAborted(signal)
        await until(check(options), signal)
      }),
    close: async () => {},
    settle: (key, signal) => withFaults(root, () => settle(key, signal)),
  }
}
