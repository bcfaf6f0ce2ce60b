/** A cache in a folder of its own, and what a test does to its files. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Bytes, collect, type Range, sourceOf } from '../../src/bytes.ts'
import { type CacheOptions, DiskCache } from '../../src/stores/cache/cache.ts'
import { type ProcessIdentity, thisProcess } from '../../src/stores/directory/lease-process.ts'
import type { Store } from '../../src/stores/store.ts'
import { memoryStore } from './memory-store.ts'
import { never } from './store.suite.ts'
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

/** A store in memory that counts its reads. */
function counting() {
  const store = memoryStore()
  const asked: (Range | undefined)[] = []
  const counted: Store = {
    ...store,
    get(key, range, signal) {
      asked.push(range)
      return store.get(key, range, signal)
    },
  }
  return { store, counted, asked }
}

/** As over a network: between two chunks, others come to their turn. */
async function* slowly(body: Bytes): Bytes {
  for await (const chunk of body) {
    yield chunk
    await new Promise(resolve => setTimeout(resolve, 1))
  }
}

/** A cache over a store in memory; `asked`: what the cache asked of the store. */
export async function cacheSetting(options: Partial<CacheOptions> = {}) {
  const path = newFolder()
  const { store, counted, asked } = counting()
  const cache = await startedCache(path, options)
  const cached = cache.around(counted)
  const read = async (key: string, range?: Range) => {
    const { size, body } = await cached.get(key, range, never)
    return collect({ size, body: slowly(body) })
  }
  const write = (key: string, bytes: Buffer) => store.put(key, sourceOf(bytes), never)
  return { path, store, asked, cache, cached, read, write }
}
