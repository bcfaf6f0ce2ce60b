/** The index of the cache's files against a Map, which keeps an order, too. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BLOCK_BYTES, blocksOf, FileIndex } from '../src/stores/cache/file-index.ts'
import { fc } from './support/property.ts'

/** Few names, of which many share a place in the table. */
const name = fc
  .tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 40 }))
  .map(([high, low]) => high.toString(16).padStart(8, '0') + (low * 512).toString(16).padStart(8, '0'))

type Step = readonly ['add' | 'touch' | 'delete' | 'found' | 'settle', string, number]
const step: fc.Arbitrary<Step> = fc.tuple(
  fc.constantFrom('add', 'add', 'touch', 'delete', 'found', 'settle'),
  name,
  fc.integer({ min: 0, max: 100_000 }),
)

describe('the index of files', () => {
  it('has the files, sizes and order that a model has', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), steps => {
        const index = new FileIndex()
        /** From the oldest to the newest. */
        let known = new Map<string, number>()
        const loose = new Map<string, { bytes: number; time: number }>()
        let now = 1_000_000
        for (const [verb, file, amount] of steps) {
          now += 1000
          if (verb === 'add') {
            known.delete(file)
            loose.delete(file)
            known.set(file, amount)
            index.add(file, amount, now)
          } else if (verb === 'touch') {
            const bytes = known.get(file) ?? loose.get(file)?.bytes
            known.delete(file)
            loose.delete(file)
            if (bytes !== undefined) known.set(file, bytes)
            index.touch(file, now)
          } else if (verb === 'delete') {
            known.delete(file)
            loose.delete(file)
            index.delete(file)
          } else if (verb === 'found') {
            if (!known.has(file) && !loose.has(file)) loose.set(file, { bytes: amount, time: now - 900_000 })
            index.addFound(file, amount, now - 900_000)
          } else {
            const found = [...loose].sort(([, a], [, b]) => a.time - b.time)
            known = new Map([...found.map(([one, { bytes }]) => [one, bytes] as const), ...known])
            loose.clear()
            index.settle()
          }
          const all = [...known.values(), ...[...loose.values()].map(({ bytes }) => bytes)]
          assert.equal(index.count, all.length)
          assert.equal(
            index.bytes,
            all.reduce((sum, bytes) => sum + blocksOf(bytes) * BLOCK_BYTES, 0),
          )
          assert.equal(index.oldest()?.name, known.keys().next().value)
        }
        index.settle()
        for (const file of [...known.keys(), ...loose.keys()]) assert.notEqual(index.bytesOf(file), undefined)
        for (let left = index.count; left > 0; left--) index.delete(index.oldest()?.name ?? '')
        assert.equal(index.count, 0)
        assert.equal(index.oldest(), undefined)
      }),
    )
  })

  it('grows, and each file takes 32 bytes of memory at most twice', () => {
    const index = new FileIndex()
    const nameOf = (i: number) =>
      ((i * 2654435761) >>> 0).toString(16).padStart(8, '0') + i.toString(16).padStart(8, '0')
    const before = process.memoryUsage().arrayBuffers
    for (let i = 0; i < 100_000; i++) index.addFound(nameOf(i), 1000, (i * 7919) % 100_000)
    index.settle()
    assert.equal(index.count, 100_000)
    assert.equal(index.bytes, 100_000 * BLOCK_BYTES)
    for (let i = 0; i < 100_000; i += 997) assert.equal(index.bytesOf(nameOf(i)), BLOCK_BYTES)
    assert.equal(index.oldest()?.name, nameOf(0))
    assert.ok(process.memoryUsage().arrayBuffers - before < 100_000 * 32 * 4, 'with what is not collected yet')
  })
})
