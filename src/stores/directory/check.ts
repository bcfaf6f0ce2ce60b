/** Does once what a write and a removal do, so that a file system that cannot do it is found at start. */
import { mkdir, readFile, rename, rm, rmdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, isCode } from '../../fault.ts'
import { removalWarning } from '../check.ts'
import type { Disk } from './disk.ts'
import { faultOf } from './faults.ts'
import { syncOnce } from './sync.ts'

const TEXT = 'orthanc-cloud-storage tries whether it can store files here. This may be removed.\n'

/** `folder`: is made below `root` and removed again. Its name is that of an unfinished write. */
export async function tryToWrite(
  disk: Disk,
  root: string,
  folder: string,
  warn: (line: string) => void,
): Promise<void> {
  const step = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      const fault = faultOf(error, root)
      throw fault.with({ cause: error }, `it is not possible to ${what} in ${root}: ${fault.message}`)
    }
  }
  const temporary = join(folder, 'new.tmp')
  const final = join(folder, 'new')
  await step('make a folder', () => disk.run(() => mkdir(folder, { mode: 0o750 })))
  try {
    const file = await step('make a file', () => disk.open(temporary, 'wx', 0o640))
    try {
      await step('write to a file', () => file.run(handle => handle.writeFile(TEXT)))
      await step('sync a file', () => file.sync())
    } finally {
      await file.close()
    }
    await step('rename a file', () => disk.run(() => rename(temporary, final)))
    const synced = await step('sync a folder', () => syncOnce(disk, folder))
    if (!synced)
      warn(
        `the file system of ${root} cannot sync folders: after a power cut, files of the last moments may be missing`,
      )
    const text = await step('read a file', () => disk.run(() => readFile(final, 'utf8')))
    if (text !== TEXT) throw new Fault('Corrupt', `what was written in ${root} reads back as something else`)
    await step('remove a file', () => disk.run(() => unlink(final)))
      .then(() => step('remove a folder', () => disk.run(() => rmdir(folder))))
      .catch(error => {
        if (!isCode(error, 'Denied')) throw error
        warn(`${removalWarning(root, error)} The folder ${folder} of this check stays as well`)
      })
  } catch (error) {
    await disk.run(() => rm(folder, { recursive: true, force: true })).catch(() => {})
    throw error
  }
}
