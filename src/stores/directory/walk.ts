import type { Dirent, Stats } from 'node:fs'
import { lstat, readdir, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, throwIfAborted } from '../../fault.ts'
import type { Leftover, Stat } from '../store.ts'
import { unlessAborted } from '../unless-aborted.ts'
import type { Disk } from './disk.ts'
import { ifThere } from './faults.ts'
import { isReserved, TEMPORARY, targetOf } from './names.ts'
import type { FolderRoot } from './root.ts'

/** Without an exception for absence: it costs six times as much as the call. */
export const statIfThere = (disk: Disk, path: string) => ifThere(disk.run(() => stat(path, { throwIfNoEntry: false })))

interface Found {
  /** Of the object. */
  readonly key: string
  /** Of the file, without its folder. */
  readonly name: string
  readonly stats: Stats
}

/** All files whose key begins with `prefix`, in the byte order of their keys. */
export async function* filesBelow(root: FolderRoot, prefix: string, signal: AbortSignal): AsyncIterable<Stat> {
  const nameOf = ({ name }: Dirent) => (TEMPORARY.test(name) ? undefined : name)
  for await (const { key, stats } of walk(root, prefix, nameOf, signal))
    yield { key, size: stats.size, modified: stats.mtime }
}

/** The files of writes that are under way, or were cut off. A link is none. */
export async function* temporariesBelow(
  root: FolderRoot,
  prefix: string,
  signal: AbortSignal,
): AsyncIterable<Leftover> {
  const nameOf = (entry: Dirent) => (entry.isFile() ? targetOf(entry.name) : undefined)
  for await (const { key, name, stats } of walk(root, prefix, nameOf, signal))
    yield { key, id: name, what: 'temporary file', size: stats.size, started: stats.mtime }
}

/**
 * All files that `nameOf` gives the last part of a key that begins with `prefix`, in the byte order of these keys.
 * Links are followed, also those of folders. Each look at a disk that hangs ends with `signal`.
 */
async function* walk(
  root: FolderRoot,
  prefix: string,
  nameOf: (entry: Dirent) => string | undefined,
  signal: AbortSignal,
): AsyncIterable<Found> {
  const { disk } = root
  const look = <T>(work: Promise<T>) => unlessAborted(work, signal)
  const at = (path: string) => look(statIfThere(disk, path))

  async function kindOf(entry: Dirent, path: string): Promise<'file' | 'folder' | undefined> {
    let kind: { isFile(): boolean; isDirectory(): boolean } = entry
    if (entry.isSymbolicLink()) {
      const target = await at(path)
      if (!target && (await look(ifThere(disk.run(() => lstat(path)))))) throw danglingLink(path)
      if (target) kind = target
    }
    return kind.isFile() ? 'file' : kind.isDirectory() ? 'folder' : undefined
  }

  /** `a.b` comes before `a/c`, because `.` is less than `/`. So the names of folders are sorted with their slash. */
  async function* visit(folder: string, keys: string, links: readonly string[]): AsyncIterable<Found> {
    const reading = disk.run(() => readdir(folder, { withFileTypes: true }), disk.longTimeoutMs)
    const entries = await look(ifThere(reading))
    if (!entries) return await look(root.prove()) // a removal pruned it while we walked
    const found: { key: string; order: Buffer; entry: Dirent }[] = []
    for (const entry of entries) {
      const isTemporary = TEMPORARY.test(entry.name)
      if (keys === '' && isReserved(entry.name) && !isTemporary) continue
      const name = nameOf(entry)
      const file = name === undefined ? undefined : keys + name
      const inside = isTemporary ? undefined : `${keys}${entry.name}/`
      if (!file?.startsWith(prefix) && !inside?.startsWith(prefix) && !(inside && prefix.startsWith(inside))) continue
      const kind = await kindOf(entry, join(folder, entry.name))
      const ordered = kind === 'folder' ? inside : kind === 'file' ? file : undefined
      if (ordered === undefined) continue
      if (ordered.startsWith(prefix) || (kind === 'folder' && prefix.startsWith(ordered)))
        found.push({ key: ordered, order: Buffer.from(ordered), entry })
    }
    found.sort((a, b) => Buffer.compare(a.order, b.order))
    for (const { key, entry } of found) {
      throwIfAborted(signal)
      const path = join(folder, entry.name)
      if (key.endsWith('/')) yield* descend(path, key, entry.isSymbolicLink(), links)
      else {
        const stats = await at(path)
        if (stats?.isFile()) yield { key, name: entry.name, stats }
      }
    }
  }

  /** A link to a folder that we are in already would never end. */
  async function* descend(path: string, key: string, isLink: boolean, links: readonly string[]): AsyncIterable<Found> {
    if (!isLink) return yield* visit(path, key, links)
    const reals = [path, join(path, '..')].map(name => disk.run(() => realpath(name)))
    const [target, here] = await look(Promise.all(reals))
    if (target === undefined || links.includes(target) || `${here}/`.startsWith(`${target}/`)) return
    yield* visit(path, key, [...links, target])
  }

  throwIfAborted(signal)
  await look(root.prove()) // else all files would look removed when the folder is gone
  yield* visit(root.path, '', [await look(disk.run(() => realpath(root.path)))])
  await look(root.prove())
}

export function danglingLink(path: string): Fault {
  return new Fault('Unavailable', `the symbolic link ${path} points to something that is not there`, {
    remedy: 'Mount what it points to, or remove the link.',
  })
}
