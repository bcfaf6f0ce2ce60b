import { constants } from 'node:fs'
import { dirname } from 'node:path'
import { isErrno } from '../../fault.ts'
import type { Disk } from './disk.ts'

/**
 * Syncs folders: without it a power cut can take the name of a file whose bytes were synced. Calls that come while a
 * folder is being synced share the next sync: the one under way may not see their names.
 */
export function folderSync(sync: (folder: string) => Promise<void>): (folder: string) => Promise<void> {
  const running = new Map<string, Promise<void>>()
  const next = new Map<string, Promise<void>>()

  async function inTurn(folder: string): Promise<void> {
    await running.get(folder)?.catch(() => {})
    next.delete(folder)
    const syncing = sync(folder)
    running.set(folder, syncing)
    try {
      await syncing
    } finally {
      if (running.get(folder) === syncing) running.delete(folder)
    }
  }

  return folder => {
    const shared = next.get(folder) ?? inTurn(folder)
    next.set(folder, shared)
    return shared
  }
}

export interface MadeFolders {
  /** A folder was made: its name is safe only when the folder above it was synced. */
  made(folder: string): void
  removed(folder: string): void
  /** Syncs a folder, and those above it whose new names are not safe yet, whichever write made them. */
  sync(folder: string): Promise<void>
}

export function madeFolders(root: string, syncFolder: (folder: string) => Promise<void>): MadeFolders {
  /** Not safe yet, with the number of its making. Below two letters and two letters there are at most 65 792. */
  const fresh = new Map<string, number>()
  let makings = 0
  return {
    made: folder => void fresh.set(folder, ++makings),
    removed: folder => void fresh.delete(folder),
    async sync(folder) {
      await syncFolder(folder)
      for (let name = folder; name.length > root.length; name = dirname(name)) {
        const making = fresh.get(name)
        if (making === undefined) continue
        await syncFolder(dirname(name))
        if (fresh.get(name) === making) fresh.delete(name)
      }
    },
  }
}

/** False: this file system cannot sync a folder. SQLite and Git ignore that, too. */
export async function syncOnce(disk: Disk, folder: string): Promise<boolean> {
  const cannot = (error: unknown) => {
    if (!isErrno(error, 'EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS')) throw error
    return undefined
  }
  const handle = await disk.open(folder, constants.O_RDONLY | constants.O_DIRECTORY).catch(cannot)
  if (!handle) return false
  try {
    return await handle.sync().then(
      () => true,
      error => cannot(error) ?? false,
    )
  } finally {
    await handle.close()
  }
}
