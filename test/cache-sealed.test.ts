/** Copies of sealed objects: they stay sealed, and one that does not open is dropped and read from the store. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { objectTier } from '../src/area/object-tier.ts'
import { VerifiedCache } from '../src/area/verified-cache.ts'
import { collect, type Range, sourceOf } from '../src/bytes.ts'
import { Fault } from '../src/fault.ts'
import { Budget } from '../src/seal/budget.ts'
import { keyring, masterKey } from '../src/seal/keyring.ts'
import { Sealing } from '../src/seal/sealing.ts'
import type { Store } from '../src/stores/store.ts'
import { attempt } from '../src/stores/wrappers/retry.ts'
import { copiesIn, newFolder, startedCache } from './support/cache-folder.ts'
import { memoryStore } from './support/memory-store.ts'
import { never, noise } from './support/store.suite.ts'

const key = (id: number, byte: number) => masterKey(id, Buffer.alloc(32, byte).toString('base64'))
const file = { uuid: randomUUID(), type: 'dicom' } as const
const plain = noise(100_000)

function sealingOf(master: ReturnType<typeof key>, allowUnencryptedRead: boolean) {
  return new Sealing({ enabled: true, allowUnencryptedRead }, keyring(master, []), () => {})
}

function areaOf(store: Store, sealing: Sealing, structure: 'flat' | 'legacy') {
  return objectTier({
    name: 'object-storage',
    store,
    naming: { rootPath: '', structure, legacyUnknownFiles: false },
    sealing,
    budget: new Budget(2 ** 30),
    cache: new VerifiedCache(),
    // As compose.ts has it where MaxRetries is 0.
    again: (work, signal) =>
      attempt(
        work,
        { maxRetries: 1, firstDelayMs: 1 },
        signal,
        () => {},
        ({ code, retryable }) => code === 'Corrupt' && retryable,
      ),
  }).area
}

for (const structure of ['flat', 'legacy'] as const)
  for (const range of [undefined, { start: 10, end: 50_000 }] as const)
    describe(`a sealed copy, ${structure}, ${range ? 'a range' : 'whole'}`, () => {
      const mixed = structure === 'legacy'
      const read = async (area: ReturnType<typeof areaOf>, part: Range | undefined) =>
        (await area.deliver(file, part, collect, never)).equals(plain.subarray(part?.start, part?.end))

      async function setting() {
        const store = memoryStore()
        const asked: string[] = []
        const counted: Store = {
          ...store,
          get(name, part, signal) {
            asked.push(name)
            return store.get(name, part, signal)
          },
        }
        const path = newFolder()
        let sealing = sealingOf(key(1, 1), mixed)
        const cache = await startedCache(path, { opens: start => sealing.mayOpen(start) })
        const cached = cache.around(counted)
        await areaOf(store, sealing, structure).create(file, sourceOf(plain), never)
        assert.ok(await read(areaOf(cached, sealing, structure), range))
        await cache.settled()
        return {
          ...{ path, cache, cached, store, asked: () => asked.length },
          use: (next: Sealing) => {
            sealing = next
          },
          sealing: () => sealing,
        }
      }

      it('is sealed on the disk, and read without the store', async () => {
        const { path, cached, asked, sealing } = await setting()
        for (const copy of copiesIn(path)) assert.ok(!readFileSync(copy).includes(plain.subarray(1000, 1100)))
        assert.ok(await read(areaOf(cached, sealing(), structure), range))
        assert.equal(asked(), 1)
      })

      for (const [what, next] of [
        ['whose key was rotated away', key(2, 2)],
        ['that another key with the same id has sealed', key(1, 9)],
      ] as const)
        it(`${what} is dropped, and the store's object is read`, async () => {
          const { store, cache, cached, use, sealing } = await setting()
          use(sealingOf(next, mixed))
          await areaOf(store, sealing(), structure).create(file, sourceOf(plain), never)
          assert.ok(await read(areaOf(cached, sealing(), structure), range))
          assert.equal(cache.figures().dropped, 1)
          await cache.settled()
          const { hits } = cache.figures()
          assert.ok(await read(areaOf(cached, sealing(), structure), range))
          assert.equal(cache.figures().hits, hits + 1)
        })

      it('is dropped only for what it may be to blame for', async () => {
        const { cache, cached, sealing } = await setting()
        const area = areaOf(cached, sealing(), structure)
        const gone = area.deliver(file, range, () => Promise.reject(new Fault('Canceled', 'the reader left')), never)
        await assert.rejects(gone, { code: 'Canceled' })
        assert.equal(cache.figures().dropped, 0)
      })
    })
