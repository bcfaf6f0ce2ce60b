import type { Dirent } from 'node:fs'
import { lstat, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Disk } from '../directory/disk.ts'
import { ifThere } from '../directory/faults.ts'

export interface FoundFile {
  readonly name: string
  readonly bytes: number
  /** Of its last use, in milliseconds since 1970. */
  readonly time: number
}

const FOLDER = /^[0-9a-f]{2}$/
const COPY = /^[0-9a-f]{16}$/
const TEMPORARY = /^\.[0-9a-f]{16}\.[0-9a-z]+\.tmp$/
const AT_ONCE = 16

/** All copies of a folder. What a crash has left of unfinished ones is removed, and nothing else is touched. */
export async function* findFiles(disk: Disk, path: string, ended: () => boolean): AsyncGenerator<FoundFile> {
  for (const { name: part } of (await namesIn(disk, path)).filter(isFolder)) {
    const folder = join(path, part)
    const files = (await namesIn(disk, folder)).filter(entry => entry.isFile()).map(({ name }) => name)
    for (const name of files.filter(file => TEMPORARY.test(file)))
      await ifThere(disk.run(() => unlink(join(folder, name))))
    const copies = files.filter(file => COPY.test(file) && file.startsWith(part))
    for (let at = 0; at < copies.length; at += AT_ONCE) {
      if (ended()) return
      yield* (await Promise.all(copies.slice(at, at + AT_ONCE).map(name => found(disk, folder, name)))).flat()
    }
  }
}

const isFolder = (entry: Dirent) => entry.isDirectory() && FOLDER.test(entry.name)

async function namesIn(disk: Disk, folder: string): Promise<readonly Dirent[]> {
  const reading = disk.run(() => readdir(folder, { withFileTypes: true }), disk.longTimeoutMs)
  return (await ifThere(reading)) ?? []
}

async function found(disk: Disk, folder: string, name: string): Promise<readonly FoundFile[]> {
  const stats = await ifThere(disk.run(() => lstat(join(folder, name))))
  return stats ? [{ name, bytes: stats.size, time: stats.mtimeMs }] : []
}
