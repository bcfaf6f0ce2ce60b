/** What is fetched from a package registry once: kept outside the work tree, each under its name and version. */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** The folder of `name`. `fill` makes its content when it is not there; a folder that is there is whole. */
export async function cached(name: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache')
  const folder = join(cache, 'orthanc-cloud-storage', name)
  if (existsSync(folder)) return folder
  const making = `${folder}.${process.pid}`
  mkdirSync(making, { recursive: true })
  try {
    await fill(making)
    if (!existsSync(folder)) renameSync(making, folder) // else another process was faster
  } finally {
    rmSync(making, { recursive: true, force: true })
  }
  return folder
}
