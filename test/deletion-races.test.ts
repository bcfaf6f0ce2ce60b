/** Removals that do not wait, and what happens beside them at the wrong moment. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { withDeferredRemovals } from '../src/deletions/deferred.ts'
import { Fault } from '../src/fault.ts'
import type { Removals } from '../src/stores/store.ts'
import { openDeletions, temporaryFolder, until } from './support/deletions.ts'
import { memoryStore } from './support/memory-store.ts'
import { never, noise, sourceOf } from './support/store.suite.ts'

const DAY_MS = 24 * 3_600_000

describe('a removal that does not wait', () => {
  it('hides no object that is written again while it becomes a finding', async () => {
    const folder = join(temporaryFolder(), 'journal')
    const start = Date.now()
    const memory = memoryStore('s3:bucket')
    const keys = Array.from({ length: 60 }, (_, steps) => `k${steps}`)
    const first = await openDeletions(folder, memory, { sender: { clock: () => start, gatherMs: 1e6 } })
    for (const key of keys) await first.note(key)
    // The first engine is dead now.
    const refusals = new Map<string, number>()
    const writing: Promise<void>[] = []
    const refuse = (key: string) => {
      const times = (refusals.get(key) ?? 0) + 1
      refusals.set(key, times)
      if (times === 3) writing.push(writeAfter(Number(key.slice(1))))
      return new Fault('Denied', 'retention')
    }
    const refusing = {
      ...memory,
      async removeMany(asked: readonly string[]): Promise<Removals> {
        const removals = new Map<string, Fault>()
        for (const key of asked) removals.set(key, await refuse(key))
        return removals
      },
    }
    const later = await openDeletions(folder, refusing, { sender: { clock: () => start + DAY_MS } })
    const store = withDeferredRemovals(later)(refusing)
    // Each object is written later after its third refusal than the one before it.
    const writeAfter = async (steps: number) => {
      for (let i = 0; i < 20 * steps; i++) await undefined
      await store.put(`k${steps}`, sourceOf(noise(3)), never)
    }
    later.begin()
    await until(() => writing.length === keys.length)
    await Promise.all(writing)
    assert.deepEqual(later.status, { pending: 0, oldestMs: 0, findings: 0 })
    for (const key of keys) assert.ok(await store.stat(key, never), key)
  })

  it('is direct in an engine that follows a dead one and cannot use the journal', async () => {
    const folder = join(temporaryFolder(), 'journal')
    const memory = memoryStore('s3:bucket')
    const first = await openDeletions(folder, memory, { sender: { gatherMs: 1e6 } })
    await first.note('a')
    writeFileSync(join(folder, 'letter.txt'), 'mine')
    const lines: string[] = []
    const next = await openDeletions(folder, memory, { lines, isFirst: false })
    assert.match(lines.join(), /removals are direct.*files that are not of a journal/)
    await memory.put('b', sourceOf(noise(3)), never)
    await withDeferredRemovals(next)(memory).remove('b', never)
    assert.equal(await memory.stat('b', never), undefined)
  })

  it('ends where the store is too slow for so many at once', async () => {
    const memory = memoryStore('s3:bucket')
    let calls = 0
    const slow = {
      ...memory,
      async removeMany(asked: readonly string[]): Promise<Removals> {
        calls++
        for (const key of asked.slice(0, 3)) await memory.remove(key, never)
        if (asked.length > 3) throw new Fault('Timeout', 'it took longer than RequestTimeout')
        return new Map(asked.map(key => [key, 'gone']))
      },
    }
    const folder = join(temporaryFolder(), 'journal')
    const deletions = await openDeletions(folder, slow, { sender: { gatherMs: 1e6 } })
    for (let i = 0; i < 40; i++) await deletions.note(`k${i}`)
    deletions.begin()
    await until(() => deletions.status.pending === 0 || calls > 200)
    assert.equal(deletions.status.pending, 0)
  })
})
