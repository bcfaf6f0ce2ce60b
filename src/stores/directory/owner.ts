/** Keeps the owners of files. A rewrite makes a new file, which would belong to the user that runs the program. */
import type { Stats } from 'node:fs'
import { chown, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Fault, isErrno } from '../../fault.ts'
import type { Disk, DiskFile } from './disk.ts'

export interface Owners {
  /** Whether what is there must be looked at before it is replaced. */
  readonly look: boolean
  /** Gives a new, still empty file the owner and the mode of the one it replaces, else the owner of its folder. */
  ofFile(file: DiskFile, replaced: Stats | undefined, folder: string): Promise<void>
  /** Gives a new folder the owner of the one above it. */
  ofFolder(folder: string): Promise<void>
}

/** `guest`: the program is not Orthanc's, and may be run by another user. */
export function createOwners(disk: Disk, guest: boolean): Owners {
  const root = process.geteuid?.() === 0

  async function ofFile(file: DiskFile, replaced: Stats | undefined, folder: string): Promise<void> {
    const { uid, gid } = replaced ?? (await disk.run(() => stat(folder)))
    const made = await file.run(handle => handle.stat())
    if (made.uid !== uid || made.gid !== gid)
      await file
        .run(handle => handle.chown(uid, gid))
        .catch(error => {
          if (!isErrno(error, 'EPERM', 'EACCES')) throw error
          throw new Fault(
            'Denied',
            `the file belongs to user ${uid} and group ${gid}, and this user may not keep it so`,
            {
              cause: error,
              remedy: 'Run this as the user that runs Orthanc, or as root.',
            },
          )
        })
    if (replaced && (made.mode & 0o7777) !== (replaced.mode & 0o7777))
      await file.run(handle => handle.chmod(replaced.mode & 0o7777))
  }

  return {
    look: guest || root,
    async ofFile(file, replaced, folder) {
      if (replaced ? guest || root : guest && root) await ofFile(file, replaced, folder)
    },
    async ofFolder(folder) {
      if (!guest || !root) return
      const { uid, gid } = await disk.run(() => stat(dirname(folder)))
      await disk.run(() => chown(folder, uid, gid))
    },
  }
}
