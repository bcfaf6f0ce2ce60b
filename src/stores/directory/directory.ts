import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import pLimit from 'p-limit'
import { type Content, checkedContent, checkedRange, discard, type Range } from '../../bytes.ts'
import { Fault, isCode, messageWithoutPath, throwIfAborted } from '../../fault.ts'
import { fullWarning } from '../check.ts'
import { oneByOne } from '../one-by-one.ts'
import type { CheckOptions, Stat, Store } from '../store.ts'
import { unlessAborted } from '../unless-aborted.ts'
import { unlessAbsent } from './absence.ts'
import { slices } from './bytes.ts'
import { tryToWrite } from './check.ts'
import { Disk, type DiskLimits } from './disk.ts'
import { ifThere, itemsWithFaults, withFaults } from './faults.ts'
import { Lease, type LeaseOptions } from './lease.ts'
import { DELETIONS, LEASE, MARKER, TEMPORARY, targetOf, temporaryName } from './names.ts'
import { cannotMake, FolderRoot, type RootOptions } from './root.ts'
import { filesBelow, statIfThere, temporariesBelow } from './walk.ts'
import { FileWriter } from './write.ts'

export interface DirectoryOptions extends Partial<Omit<RootOptions, 'path'>> {
  /** Whether an acknowledged write has reached the disk. If not, a power cut may take files that Orthanc relies on. */
  readonly sync?: boolean
  readonly limits?: DiskLimits
}

/** Removals at once: few, because reads of the same disk come first. */
const AT_ONCE = 4

export interface DirectoryStore extends Store {
  /** Resolves when an existing file and its name have reached the disk. */
  settle(key: string, signal: AbortSignal): Promise<void>
  /** Whose turn it is to move files, among all processes that share the folder. */
  lease(options: LeaseOptions): Lease
}

/**
 * Objects as files under `root`, each named by its key: on a disk, a NAS, an NFS or FUSE mount. A file appears whole or
 * not at all (temporary name, fsync, rename, fsync of the folder). Symbolic links that an administrator has made are
 * followed, as Orthanc does.
 */
export function directoryStore(folder: string, options: DirectoryOptions = {}): DirectoryStore {
  const { sync = true, marked = true, role = 'owner', limits } = options
  const path = resolve(folder)
  const name = `directory:${path}`
  const root = new FolderRoot(new Disk(path, limits), { ...options, path, marked, role })
  const writer = new FileWriter(root, { sync, guest: role === 'guest' })
  const verb = <T>(key: string, signal: AbortSignal, work: (file: string) => Promise<T>) =>
    withFaults(path, async () => {
      throwIfAborted(signal)
      return await work(pathOf(path, key))
    })

  const remove = (key: string, signal: AbortSignal) => verb(key, signal, file => writer.remove(file))

  // On a disk that hangs, a look ends with its signal. A change ends only when the operation ends or the disk gives it
  // up: an operation that the caller believes to have ended must not go on.
  return {
    name,
    put: (key, body, signal) => verb(key, signal, file => writer.put(file, body, signal)),
    get: (key, range, signal) =>
      verb(key, signal, file =>
        unlessAborted(open(root, file, range, signal), signal, content => void discard(content)),
      ),
    stat: (key, signal) => verb(key, signal, file => unlessAborted(statOf(root, file, key), signal)),
    remove,
    removeMany: oneByOne(remove, pLimit(AT_ONCE)),
    list: (prefix, signal) => itemsWithFaults(path, filesBelow(root, prefix, signal)),
    leftovers: (prefix, signal) => itemsWithFaults(path, temporariesBelow(root, prefix, signal)),
    removeLeftover: ({ key, id }, signal) =>
      verb(key, signal, async file => {
        if (targetOf(id) !== basename(file)) throw new Fault('BadRequest', 'no write of this key has such a file')
        await writer.remove(join(dirname(file), id))
      }),
    check: (signal, { purpose = 'start', writes = true, warn = () => {} } = {}) =>
      withFaults(path, async () => {
        throwIfAborted(signal)
        await unlessAborted(check(root, name, { marked, role }, { purpose, writes, warn }), signal)
      }),
    close: async () => {},
    settle: (key, signal) => verb(key, signal, file => writer.settle(file)),
    lease: leaseOptions => new Lease(root, leaseOptions),
  }
}

function pathOf(root: string, key: string): string {
  const segments = key.split('/')
  const odd = (s: string) => s === '' || s === '.' || s === '..' || s.includes('\0') || TEMPORARY.test(s)
  if ([MARKER, LEASE, DELETIONS].includes(segments[0] ?? '') || !key.isWellFormed() || segments.some(odd))
    throw new Fault('BadRequest', 'no file can have this key as its name')
  return join(root, ...segments)
}

async function open(root: FolderRoot, path: string, range: Range | undefined, signal: AbortSignal): Promise<Content> {
  const file = await unlessAbsent(root, path, () => ifThere(root.disk.open(path, constants.O_RDONLY)))
  if (!file) throw new Fault('NotFound', 'ENOENT: no such file or directory')
  try {
    const stats = await file.run(handle => handle.stat())
    if (!stats.isFile()) throw new Fault('NotFound', 'there is a folder where the file should be')
    const part = range ? checkedRange(range, stats.size) : { start: 0, end: stats.size }
    const size = part.end - part.start
    const content = checkedContent(size, itemsWithFaults(root.path, slices(file, part, signal)))
    return size === stats.size ? { ...content, whole: true } : content
  } catch (error) {
    await file.close()
    throw error
  }
}

async function statOf(root: FolderRoot, path: string, key: string): Promise<Stat | undefined> {
  const stats = await unlessAbsent(root, path, () => statIfThere(root.disk, path))
  return stats?.isFile() ? { key, size: stats.size, modified: stats.mtime } : undefined
}

async function check(
  root: FolderRoot,
  name: string,
  { marked, role }: Pick<RootOptions, 'marked' | 'role'>,
  { purpose, writes, warn }: Required<CheckOptions>,
): Promise<void> {
  const { disk, path } = root
  if (purpose === 'status') return await root.prove()
  if (purpose === 'look' && role === 'owner' && !(await statIfThere(disk, path))) {
    let above = dirname(path)
    while (!marked && !(await statIfThere(disk, above)) && above !== '/') above = dirname(above)
    if (!(await statIfThere(disk, above))?.isDirectory()) throw cannotMake(path, 'there is no folder above it')
    await disk
      .run(() => access(above, constants.W_OK | constants.X_OK))
      .catch(error => {
        throw cannotMake(path, messageWithoutPath(error), error)
      })
    return warn(`the folder ${path} is not there yet: Orthanc creates it when it starts`)
  }
  await root.establish(purpose === 'start' && writes, warn)
  if (!writes) return
  await tryToWrite(disk, path, join(path, temporaryName('check')), warn).catch(error => {
    if (!isCode(error, 'TooLarge')) throw error
    warn(fullWarning(name, error))
  })
}
