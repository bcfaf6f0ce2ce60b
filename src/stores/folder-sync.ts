import { constants } from 'node:fs'
import { open } from 'node:fs/promises'

/**
 * Syncs folders: without it a power cut can take the name of a file whose bytes were synced. Who asks while a folder is
 * being synced shares the next sync with all others who ask meanwhile, for the one under way may not see their names.
 */
export function folderSync(sync = syncOnce): (folder: string) => Promise<void> {
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

async function syncOnce(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
