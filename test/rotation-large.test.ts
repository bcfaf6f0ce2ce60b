/** Rotation of objects that are not kept in memory, and what changes while they are read. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { collect, collectSource, type Range, type Source, sourceOf } from '../src/bytes.ts'
import type { Store } from '../src/stores/store.ts'
import { withRetry } from '../src/stores/wrappers/retry.ts'
import { memoryStore } from './support/memory-store.ts'
import { current, keyOf, MB, never, old, read, rotate, sealedBy } from './support/rotation.ts'
import { noise } from './support/store.suite.ts'

describe('rotation of large objects', () => {
  /** Uploads as a transfer in parts does: part after part, the last one first. */
  const inParts = (store: Store, partBytes: number, spy: (part: Range) => void = () => {}): Store => ({
    ...store,
    async put(key, body, signal) {
      const parts: Buffer[] = []
      for (let i = Math.ceil(body.size / partBytes) - 1; i >= 0; i--) {
        const range = { start: i * partBytes, end: Math.min((i + 1) * partBytes, body.size) }
        spy(range)
        const part: Source = { size: range.end - range.start, open: () => body.open(range) }
        parts.unshift(await collectSource(part))
      }
      await store.put(key, sourceOf(Buffer.concat(parts)), signal)
    },
  })

  for (const size of [8 * MB, 8 * MB + 1, 12 * MB, 13 * MB + 77])
    it(`moves a large object of ${size} bytes, whole and in parts`, async () => {
      for (const wrap of [(store: Store) => store, (store: Store) => inParts(store, 5 * MB)]) {
        const store = memoryStore()
        const key = keyOf()
        const bytes = noise(size)
        await store.put(key, sealedBy(old, bytes), never)
        const run = await rotate(wrap(store))
        assert.deepEqual(run.faults, [])
        assert.ok((await read(store, key)).equals(bytes))
      }
    })

  it('publishes nothing that differs from what it verified', async () => {
    const store = memoryStore()
    const key = keyOf()
    const sealed = await collectSource(sealedBy(old, noise(10 * MB)))
    await store.put(key, sourceOf(sealed), never)
    const damaged = Buffer.from(sealed)
    damaged[9 * MB] = (damaged[9 * MB] as number) ^ 1
    for (const wrap of [(s: Store) => s, (s: Store) => inParts(s, 5 * MB)]) {
      const run = await rotate(
        wrap({
          ...store,
          async get(k, range, signal) {
            // The disk goes bad between the pass that verifies and the one that writes.
            if (range && range.end > 9 * MB && range.start <= 9 * MB)
              return { size: range.end - range.start, body: sourceOf(damaged).open(range) }
            return store.get(k, range, signal)
          },
        }),
      )
      assert.match(run.faults[0]?.message ?? '', /changed after it was verified/)
      assert.ok((await collect(await store.get(key, undefined, never))).equals(sealed))
    }
  })

  it('goes on when the write of a run that was killed appears late, while the object is read', async () => {
    const store = memoryStore()
    const key = keyOf()
    const bytes = noise(10 * MB)
    await store.put(key, sealedBy(old, bytes), never)
    let late = true
    const run = await rotate(
      withRetry({ maxRetries: 2, firstDelayMs: 1 }, () => {})({
        ...store,
        async get(k, range, signal) {
          if (late && range && range.start > 5 * MB) {
            late = false
            await store.put(key, sealedBy(current, bytes), never)
          }
          return store.get(k, range, signal)
        },
      }),
    )
    assert.deepEqual([late, run.faults], [false, []])
    assert.ok((await read(store, key)).equals(bytes))
  })
})
