/**
 * Any course of reads, ranges, writes, removals, damage, evictions and crashes, several at a time: the cache over a
 * store answers as the store alone, and never keeps what was removed.
 */
import assert from 'node:assert/strict'
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { it } from 'node:test'
import { collect, sourceOf } from '../src/bytes.ts'
import { isCode } from '../src/fault.ts'
import type { DiskCache } from '../src/stores/cache/cache.ts'
import type { Store } from '../src/stores/store.ts'
import { cacheIn, copiesIn, MB, newFolder } from './support/cache-folder.ts'
import { memoryStore } from './support/memory-store.ts'
import { fc } from './support/property.ts'
import { sha256 } from './support/sha256.ts'
import { never, noise } from './support/store.suite.ts'

const KEYS = 6
const SIZES = [0, 1, 5_000, 300_000, 400_000]
const MAX_BYTES = MB

const key = fc.integer({ min: 0, max: KEYS - 1 }).map(i => `key${i}`)
const operation = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      verb: fc.constant('read' as const),
      key,
      whole: fc.boolean(),
      part: fc.double({ min: 0, max: 0.999, noNaN: true }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ verb: fc.constant('put' as const), key, size: fc.constantFrom(...SIZES) }) },
  { weight: 2, arbitrary: fc.record({ verb: fc.constant('remove' as const), key }) },
)
const disaster = fc.record({
  verb: fc.constantFrom('flip' as const, 'cut' as const, 'crash' as const, 'close' as const),
  at: fc.nat(1_000_000),
})
/** What happens at once, and then what happens to the disk. */
const round = fc.tuple(fc.array(operation, { minLength: 1, maxLength: 6 }), fc.option(disaster))

it('answers as the store alone, whatever happens to its files and its process', { timeout: 300_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(round, { maxLength: 25 }), fc.boolean(), async (rounds, onWrite) => {
      const path = newFolder()
      const store = memoryStore()
      let versions = 0
      const start = async () => {
        const made = cacheIn(path, { onWrite, maxBytes: MAX_BYTES })
        await made.start()
        return made
      }
      let cache = await start()
      for (const [operations, ends] of rounds) {
        const cached = cache.around(store)
        await Promise.all(operations.map(one => perform(one, cached, store, () => ++versions)))
        if (ends?.verb !== 'crash') await cache.settled()
        assert.ok(cache.figures().bytes <= MAX_BYTES, 'it took more than MaxSize')
        assert.ok(sizeOf(path) <= MAX_BYTES)
        if (ends?.verb === 'close') await cache.close()
        if (ends?.verb === 'crash' || ends?.verb === 'close') cache = await restarted(cache, start)
        if (ends) damage(path, ends)
      }
      for (let i = 0; i < KEYS; i++) await compare(cache.around(store), store, `key${i}`)
      await cache.close()
    }),
    { numRuns: 60 },
  )
})

/** The old one still has its timers and what it has under way, as a process that was killed a moment ago. */
async function restarted(_old: DiskCache, start: () => Promise<DiskCache>): Promise<DiskCache> {
  return await start()
}

type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never

async function perform(one: Operation, cached: Store, store: Store, version: () => number): Promise<void> {
  if (one.verb === 'put') await cached.put(one.key, sourceOf(noise(one.size, version())), never)
  else if (one.verb === 'remove') await cached.remove(one.key, never)
  else {
    // While others write the key at the same time, either of two answers is right. So it is compared at the end.
    const size = (await store.stat(one.key, never))?.size ?? 0
    const start = Math.floor(one.part * size)
    const range = one.whole || size === 0 ? undefined : { start, end: Math.min(size, start + 1 + (size >> 2)) }
    await cached.get(one.key, range, never).then(collect, error => {
      if (!isCode(error, 'NotFound') && !isCode(error, 'BadRequest')) throw error
    })
  }
}

async function compare(cached: Store, store: Store, name: string): Promise<void> {
  const read = (from: Store) =>
    from.get(name, undefined, never).then(
      async content => sha256(await collect(content)),
      error => {
        if (!isCode(error, 'NotFound')) throw error
        return undefined
      },
    )
  assert.equal(await read(cached), await read(store))
}

function damage(path: string, { verb, at }: { verb: string; at: number }): void {
  const copies = copiesIn(path)
  const file = copies[at % Math.max(1, copies.length)]
  if (file === undefined) return
  const { size } = statSync(file)
  if (verb === 'cut') truncateSync(file, at % size)
  if (verb !== 'flip') return
  const bytes = readFileSync(file)
  bytes[at % size] = (bytes[at % size] ?? 0) ^ 1
  writeFileSync(file, bytes)
}

const sizeOf = (path: string) => copiesIn(path).reduce((sum, file) => sum + statSync(file).size, 0)
