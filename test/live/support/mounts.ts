/** File systems that can be made to fail, for tests that run as root. */
import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const mount = (...args: string[]) => execFileSync('mount', args, { stdio: ['ignore', 'ignore', 'pipe'] })
/** Unmounts everything that is mounted there, if anything is. */
export function unmountAll(folder: string): void {
  while (spawnSync('umount', ['-l', folder]).status === 0);
}

/** False while a process writes there. */
export function makeReadOnly(folder: string, is: boolean): boolean {
  return spawnSync('mount', ['-o', `remount,${is ? 'ro' : 'rw'}`, folder]).status === 0
}

/** A real ext4 in `image`, which can be mounted again. */
export function mountExt4(folder: string, image: string, megabytes: number): void {
  writeFileSync(image, '')
  truncateSync(image, megabytes * 1024 * 1024)
  execFileSync('mkfs.ext4', ['-q', '-F', '-N', '400', image], { stdio: 'ignore' })
  mountAgain(folder, image)
}

export function mountAgain(folder: string, image: string): void {
  mkdirSync(folder, { recursive: true })
  mount('-o', 'loop', image, folder)
}

/** Writes and syncs hang until the file system is thawed. */
export function freezeDisk(folder: string): void {
  execFileSync('fsfreeze', ['-f', folder])
}

export function thawDisk(folder: string): void {
  execFileSync('fsfreeze', ['-u', folder])
}

/**
 * Looks like a network mount whose server is away: a FUSE file system over `folder` that never answers. So each look-up
 * of a name there hangs. Returns a function that ends it.
 */
export function hang(folder: string): () => void {
  const fuse = openSync('/dev/fuse', 'r+')
  const options = 'fd=3,rootmode=40000,user_id=0,group_id=0,allow_other'
  const mounting = spawnSync('mount', ['-i', '-t', 'fuse', '-o', options, 'hangs', folder], {
    stdio: ['ignore', 'ignore', 'pipe', fuse],
  })
  if (mounting.status !== 0) {
    closeSync(fuse)
    throw new Error(`a file system that hangs cannot be mounted: ${mounting.stderr}`)
  }
  return () => {
    spawnSync('umount', ['-l', folder])
    closeSync(fuse) // what hangs ends with ENOTCONN
  }
}

/** undefined, or why file systems cannot be mounted here. */
export function whyNoMounts(): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'ocs-mounts-'))
  try {
    mountExt4(folder, `${folder}.image`, 1)
    hang(folder)()
    return undefined
  } catch (error) {
    return `file systems cannot be mounted: ${error instanceof Error ? error.message : error}`
  } finally {
    unmountAll(folder)
    rmSync(folder, { recursive: true })
    rmSync(`${folder}.image`, { force: true })
  }
}
