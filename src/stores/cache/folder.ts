/** The folder of a cache: one that is ours alone. */
import { constants } from 'node:fs'
import { type FileHandle, lstat, mkdir, opendir, readFile, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Fault, isErrno, messageWithoutPath } from '../../fault.ts'
import type { Disk } from '../directory/disk.ts'

/** What marks the folder as a cache of ours. */
export const MARK = '.orthanc-cloud-storage-cache'
const TEXT = 'The cache of orthanc-cloud-storage. All of it may be removed while Orthanc does not run.\n'

/** A folder that a cache must not be in, nor around. */
export interface Apart {
  /** The option that names it. */
  readonly option: string
  readonly path: string
}

export interface FolderOptions {
  readonly path: string
  readonly apart: readonly Apart[]
  /** The option that names the folder, for messages. */
  readonly option: string
}

/** Makes the folder and its mark as far as needed. `BadConfig` for one that a cache must not use. */
export async function openFolder(disk: Disk, { path, apart, option }: FolderOptions): Promise<void> {
  const refused = (why: string, remedy: string, cause?: unknown) =>
    new Fault('BadConfig', `${option} is ${path}, ${why}`, { remedy, cause })
  for (const other of apart) {
    const [here, there] = await Promise.all([realOf(disk, path), realOf(disk, other.path)])
    if (isWithin(here, there) || isWithin(there, here))
      throw refused(`but ${other.option} is ${other.path}`, 'Give the cache a folder of its own, outside of it.')
  }
  await disk
    .run(() => mkdir(path, { mode: 0o700 }))
    .catch(error => {
      if (isErrno(error, 'EEXIST')) return
      if (!isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES', 'EPERM')) throw error
      const why = `which cannot be made: ${messageWithoutPath(error)}`
      throw refused(why, `Make it, give it to the user that runs Orthanc, and run: chmod 700 ${path}`, error)
    })
  const found = await disk.run(() => stat(path))
  if (!found.isDirectory()) throw refused('which is not a folder', 'Name a folder that is empty or not there yet.')
  const owner = process.geteuid?.()
  if (owner !== undefined && found.uid !== owner)
    throw refused(`which belongs to user ${found.uid}`, `Give it to the user that runs Orthanc, number ${owner}.`)
  if ((found.mode & 0o777) !== 0o700)
    throw refused(
      `which has mode ${(found.mode & 0o777).toString(8)}, but it will hold patients' images`,
      `Run: chmod 700 ${path}`,
    )
  if (await isMarked(disk, path)) return
  if (!(await disk.run(() => isEmpty(path), disk.longTimeoutMs)))
    throw refused('which has files that are not of the cache', 'Name a folder that is empty or not there yet.')
  await writeWhole(disk, join(path, MARK), TEXT)
}

async function isMarked(disk: Disk, path: string): Promise<boolean> {
  const text = await disk
    .run(() => readFile(join(path, MARK), 'utf8'))
    .catch(error => {
      if (isErrno(error, 'ENOENT')) return undefined
      throw error
    })
  // After a power cut the mark may be empty or zeros. Nobody else makes a file of this name.
  return text !== undefined
}

async function isEmpty(path: string): Promise<boolean> {
  for await (const { name } of await opendir(path)) if (name !== 'lost+found') return false
  return true
}

/** Writes a small file by a name that nobody else has. */
export async function writeWhole(disk: Disk, path: string, text: string): Promise<void> {
  const file = await disk.open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, 0o600)
  try {
    await file.run((handle: FileHandle) => handle.writeFile(text))
  } finally {
    await file.close()
  }
}

/** Without links, also of what is not there yet. */
async function realOf(disk: Disk, path: string): Promise<string> {
  try {
    return await disk.run(() => realpath(path))
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES', 'EPERM') || path === dirname(path)) throw error
    // A link to what is not there yet would be followed when somebody makes that.
    const link = await disk.run(() => lstat(path)).catch(() => undefined)
    if (link?.isSymbolicLink()) throw error
    return join(await realOf(disk, dirname(path)), basename(path))
  }
}

const isWithin = (path: string, folder: string) => path === folder || `${path}/`.startsWith(`${folder}/`)
