/** A cache in a folder of its own, and what a test does to its files. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CacheOptions, DiskCache } from '../../src/stores/cache/cache.ts'
import { type ProcessIdentity, thisProcess } from '../../src/stores/directory/lease-process.ts'
import { undo } from './undo.ts'

export const MB = 1024 * 1024

export function newFolder(): string {
  const above = mkdtempSync(join(tmpdir(), 'ocs-cache-'))
  undo.push(() => rmSync(above, { recursive: true, force: true }))
  return join(above, 'cache')
}

/** A process that has ended: what holds its lock is dead. */
export const dead: ProcessIdentity = { host: 'here', pid: 2 ** 22 + 1, started: '1', machine: thisProcess().machine }

export function cacheIn(path: string, options: Partial<CacheOptions> = {}): DiskCache {
  return new DiskCache({
    path,
    option: 'CloudStorage.Cache.Path',
    apart: [],
    maxBytes: 64 * MB,
    maxAgeMs: 30 * 24 * 3_600_000,
    storeId: 'a store',
    onWrite: false,
    opens: () => true,
    warn: () => {},
    self: dead,
    ...options,
  })
}

export async function startedCache(path: string, options: Partial<CacheOptions> = {}): Promise<DiskCache> {
  const cache = cacheIn(path, options)
  await cache.start()
  undo.push(() => cache.close())
  return cache
}

/** The files of copies, by their paths. */
export function copiesIn(path: string): string[] {
  return readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter(name => /^[0-9a-f]{2}\/[0-9a-f]{16}$/.test(name))
    .map(name => join(path, name))
}

export function flip(file: string, at: number, mask = 0xff): void {
  const bytes = readFileSync(file)
  bytes[at] = (bytes[at] ?? 0) ^ mask
  writeFileSync(file, bytes)
}
