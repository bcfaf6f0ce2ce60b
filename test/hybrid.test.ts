import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { TierName } from '../src/area/area.ts'
import { type HybridArea, hybridArea } from '../src/area/hybrid.ts'
import { otherTier, type Tier } from '../src/area/tier.ts'
import { collect, sourceOf } from '../src/bytes.ts'
import { Fault } from '../src/fault.ts'
import { directoryStore } from '../src/stores/directory/directory.ts'
import { memoryStore } from '../src/stores/memory.ts'
import type { Store } from '../src/stores/store.ts'
import {
  bytes,
  cloud,
  digests,
  disk,
  failing,
  file,
  genuine,
  has,
  keyOn,
  make,
  move,
  never,
  place,
  read,
  tierOf,
  where,
} from './support/tiers.ts'

for (const first of [disk, cloud] as const)
  describe(`a hybrid area that writes to the ${first}`, () => {
    const second = otherTier[first]

    it('writes there only', async () => {
      const { area, stores } = make(first)
      const attachment = file()
      await area.create(attachment, sourceOf(bytes), never)
      assert.deepEqual([await has(stores, first, attachment), await has(stores, second, attachment)], [true, false])
    })

    it('reads from either, whole and by range, without a word', async () => {
      for (const tier of [first, second]) {
        const { area, stores, warnings } = make(first)
        const attachment = file()
        await place(stores, tier, attachment)
        assert.deepEqual(await read(area, attachment), bytes)
        assert.deepEqual(await collect(await area.read(attachment, { start: 4, end: 9 }, never)), bytes.subarray(4, 9))
        assert.deepEqual(warnings, [])
      }
    })

    it('asks the second tier nothing when the first has the file', async () => {
      const { area, stores } = make(first, { [second]: failing('Internal', 'get', 'stat') })
      const attachment = file()
      await place(stores, first, attachment)
      assert.deepEqual(await read(area, attachment), bytes)
    })

    it('reads from the second when the first fails, and says so once', async () => {
      const { area, stores, warnings } = make(first, { [first]: failing('Unavailable', 'get') })
      const attachment = file()
      await place(stores, second, attachment)
      assert.deepEqual(await read(area, attachment), bytes)
      assert.equal(warnings.length, 1)
      assert.match(warnings[0] ?? '', /is bad \[Unavailable\]; it was read from (disk|cloud) instead/)
    })

    it('reports an absence only when both are absent', async () => {
      await assert.rejects(make(first).area.read(file(), undefined, never), { code: 'NotFound' })
      for (const tier of [first, second])
        await assert.rejects(
          make(first, { [tier]: failing('Unavailable', 'get') }).area.read(file(), undefined, never),
          { code: 'Unavailable' },
        )
    })

    it('reports both reasons, and the graver code, when both fail', async () => {
      const { area } = make(first, { [first]: failing('Unavailable', 'get'), [second]: failing('Denied', 'get') })
      await assert.rejects(area.read(file(), undefined, never), (fault: Fault) => {
        assert.equal(fault.code, 'Denied')
        assert.match(fault.describe(), /disk is bad/)
        assert.match(fault.describe(), /cloud is bad/)
        return true
      })
    })

    it('does not go on to the second tier for somebody who has gone away', async () => {
      const { area, stores } = make(first, { [first]: failing('Canceled', 'get') })
      const attachment = file()
      await place(stores, second, attachment)
      await assert.rejects(area.read(attachment, undefined, never), { code: 'Canceled' })
    })

    it('removes from both, also when one fails', async () => {
      const both = make(first)
      const attachment = file()
      for (const tier of [disk, cloud] as const) await place(both.stores, tier, attachment)
      await both.area.remove(attachment, never)
      assert.equal(await where(both.stores, attachment), '')
      await both.area.remove(attachment, never)
      for (const tier of [disk, cloud] as const) {
        const { area, stores } = make(first, { [tier]: failing('Unavailable', 'remove') })
        await place(stores, otherTier[tier], attachment)
        await assert.rejects(area.remove(attachment, never), { code: 'Unavailable' })
        assert.equal(await where(stores, attachment), '')
      }
    })

    it('finds a file that was moved between the two looks', async () => {
      const attachment = file()
      const { area: calm, stores } = make(first)
      await place(stores, second, attachment)
      const racing = hybridArea({
        tiers: {
          ...calm.tiers,
          [second]: {
            ...calm.tiers[second],
            area: {
              ...calm.tiers[second].area,
              async read(...all: Parameters<HybridArea['read']>) {
                await calm.move(attachment, first, move, never)
                return calm.tiers[second].area.read(...all)
              },
            },
          },
        } as Record<TierName, Tier>,
        first,
        digests,
        warn: () => {},
      })
      assert.deepEqual(await read(racing, attachment), bytes)
    })
  })

for (const to of [disk, cloud] as const)
  describe(`a move to the ${to}`, () => {
    const from = otherTier[to]
    const sizes = [0, 1, bytes.byteLength, 3_000_000]

    for (const size of sizes)
      it(`takes ${size} bytes there and leaves nothing behind`, async () => {
        const { area, stores } = make(from)
        const attachment = file()
        const content = Buffer.alloc(size, 'content')
        await place(stores, from, attachment, content)
        assert.deepEqual(await area.move(attachment, to, move, never), { outcome: 'moved', bytes: size })
        assert.deepEqual(await read(area, attachment), content)
        assert.deepEqual([await has(stores, to, attachment), await has(stores, from, attachment)], [true, false])
        assert.deepEqual(await area.move(attachment, to, move, never), { outcome: 'already-there' })
      })

    it('knows the file by its size and MD5, and lets a damaged one lie', async () => {
      const md5 = createHash('md5').update(bytes).digest('hex')
      const known = { size: bytes.byteLength, md5 }
      for (const [given, ok] of [
        [known, true],
        [{ size: bytes.byteLength }, true],
        [{ ...known, size: 1 }, false],
        [{ ...known, md5: md5.replace(/./, 'x') }, false],
      ] as const) {
        const { area, stores } = make(from)
        const attachment = file()
        await place(stores, from, attachment)
        const moving = area.move(attachment, to, { keepSource: false, known: given }, never)
        if (ok) assert.equal((await moving).outcome, 'moved')
        else await assert.rejects(moving, { code: 'Corrupt', message: /not what Orthanc stored/ })
        assert.deepEqual([await has(stores, from, attachment), await has(stores, to, attachment)], [!ok, ok])
        if (!ok) continue
        assert.equal(
          (await area.move(attachment, to, { keepSource: false, known: given }, never)).outcome,
          'already-there',
        )
        assert.equal((await area.move(file(), to, { keepSource: false, known: given }, never)).outcome, 'missing')
      }
    })

    it('says what is on neither side', async () => {
      assert.deepEqual(await make(from).area.move(file(), to, move, never), { outcome: 'missing' })
    })

    it('keeps the source when told so', async () => {
      const { area, stores } = make(from)
      const attachment = file()
      await place(stores, from, attachment)
      assert.equal((await area.move(attachment, to, { keepSource: true }, never)).outcome, 'moved')
      assert.equal((await area.move(attachment, to, { keepSource: true }, never)).outcome, 'already-there')
      assert.equal(await where(stores, attachment), 'diskcloud')
    })

    it('ends what a crash left between copy and removal', async () => {
      const { area, stores } = make(from)
      const attachment = file()
      for (const tier of [disk, cloud] as const) await place(stores, tier, attachment)
      assert.equal((await area.move(attachment, to, move, never)).outcome, 'moved')
      assert.equal(await has(stores, from, attachment), false)
    })

    it('overwrites nothing, and keeps both when they differ', async () => {
      const { area, stores } = make(from)
      const attachment = file()
      await place(stores, from, attachment)
      await place(stores, to, attachment, Buffer.from('other bytes entirely'))
      await assert.rejects(area.move(attachment, to, move, never), { code: 'Corrupt' })
      assert.equal(await where(stores, attachment), 'diskcloud')
    })

    it('removes a copy that is not what was sent, and keeps the source', async () => {
      const { area, stores } = make(from, {
        [to]: (store: Store): Store => ({
          ...store,
          put: (key, body, signal) => store.put(key, { ...body, open: () => flipped(body.open()) }, signal),
        }),
      })
      const attachment = file()
      await place(stores, from, attachment)
      await assert.rejects(area.move(attachment, to, move, never), { code: 'Corrupt' })
      assert.equal(await where(stores, attachment), from === disk ? 'disk' : 'cloud')
    })

    it('takes an outage for an outage, never for an absence', async () => {
      const verbs = ['get', 'stat', 'put'] as const
      for (const [tier, verb] of verbs.flatMap(verb => [[from, verb] as const, [to, verb] as const])) {
        if (tier === from && verb !== 'get') continue // it is only read
        const { area, stores } = make(from, { [tier]: failing('Unavailable', verb) })
        const attachment = file()
        await place(stores, from, attachment)
        await assert.rejects(area.move(attachment, to, move, never), { code: 'Unavailable' }, `${tier} ${verb}`)
        assert.equal(await has(stores, from, attachment), true)
      }
    })

    it('takes an outage of the target for an outage also when the source has nothing', async () => {
      const { area } = make(from, { [to]: failing('Unavailable', 'stat') })
      for (const options of [move, genuine])
        await assert.rejects(area.move(file(), to, options, never), { code: 'Unavailable' })
    })

    for (const [what, options] of [
      ['', move],
      [', known by its MD5', genuine],
    ] as const)
      it(`loses nothing when it breaks at any point, and ends when repeated${what}`, async () => {
        for (let breaksAt = 1; ; breaksAt++) {
          for (const done of [false, true]) {
            let calls = 0
            const breaking = (store: Store): Store => {
              const counted = async <T>(work: () => Promise<T>): Promise<T> => {
                const breaks = ++calls === breaksAt
                if (breaks && !done) throw new Fault('Unavailable', 'broken on purpose')
                const result = await work()
                if (breaks) throw new Fault('Unavailable', 'broken on purpose')
                return result
              }
              return {
                ...store,
                put: (...all) => counted(() => store.put(...all)),
                get: (...all) => counted(() => store.get(...all)),
                stat: (...all) => counted(() => store.stat(...all)),
                remove: (...all) => counted(() => store.remove(...all)),
              }
            }
            const { area, stores } = make(from, { [disk]: breaking, [cloud]: breaking })
            const attachment = file()
            await place(stores, from, attachment)
            const first = await area.move(attachment, to, options, never).catch(Fault.from)
            if (!(first instanceof Fault)) {
              assert.ok(breaksAt > 4, 'it broke nowhere')
              return
            }
            assert.deepEqual(await read(area, attachment), bytes)
            assert.ok(['moved', 'already-there'].includes((await area.move(attachment, to, options, never)).outcome))
            assert.deepEqual(await read(area, attachment), bytes)
            assert.equal(await where(stores, attachment), to === disk ? 'disk' : 'cloud')
          }
        }
      })

    it('gives way to a removal, and leaves no copy', async () => {
      const [reached, removing] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const { area, stores } = make(from, {
        [to]: (store: Store): Store => ({
          ...store,
          async put(key, body, signal) {
            await store.put(key, body, signal)
            reached.resolve()
            await removing.promise
          },
        }),
      })
      const attachment = file()
      await place(stores, from, attachment)
      const moving = area.move(attachment, to, move, never)
      await reached.promise
      const later = area.move(attachment, to, move, never)
      const removed = area.remove(attachment, never)
      removing.resolve()
      await removed
      assert.deepEqual(await moving, { outcome: 'missing' })
      assert.deepEqual(await later, { outcome: 'missing' })
      assert.equal(await where(stores, attachment), '')
    })

    it('happens once when it is asked for twice at the same time', async () => {
      const { area, stores } = make(from)
      const attachment = file()
      await place(stores, from, attachment)
      const twice = [1, 2].map(() => area.move(attachment, to, move, never))
      assert.deepEqual((await Promise.all(twice)).map(({ outcome }) => outcome).sort(), ['already-there', 'moved'])
    })
  })

describe("the file system in Orthanc's own layout", () => {
  it('reads, moves and removes what Orthanc itself wrote, and prunes its folders', async () => {
    const root = mkdtempSync(join(tmpdir(), 'ocs-hybrid-'))
    try {
      const cloudStore = memoryStore()
      const diskStore = directoryStore(root, { sync: false, marked: false })
      const area = hybridArea({
        tiers: { [disk]: tierOf(disk, diskStore), [cloud]: tierOf(cloud, cloudStore) },
        first: cloud,
        digests,
        warn: assert.fail,
      })
      writeFileSync(join(root, 'index'), 'the database, which is none of our business')
      const attachment = file()
      await place({ [disk]: diskStore, [cloud]: cloudStore }, disk, attachment)
      const { uuid } = attachment
      assert.ok(existsSync(join(root, uuid.slice(0, 2), uuid.slice(2, 4), uuid)))
      assert.deepEqual(await area.locate(attachment, never), {
        [disk]: { key: keyOn(disk, attachment), size: bytes.byteLength },
      })
      assert.deepEqual(await read(area, attachment), bytes)
      await area.move(attachment, cloud, move, never)
      assert.deepEqual(readdirSync(root), ['index'])
      assert.deepEqual(Object.keys(await area.locate(attachment, never)), [cloud])
      await area.move(attachment, disk, move, never)
      await area.remove(attachment, never)
      assert.deepEqual(readdirSync(root), ['index'])
    } finally {
      rmSync(root, { recursive: true })
    }
  })

  it('a file that is moved between the looks at its two places is looked for again, not lost', async () => {
    const attachment = file()
    const moved = Promise.withResolvers<void>()
    const before = (store: Store): Store => ({
      ...store,
      async stat(key, signal) {
        const seen = await store.stat(key, signal)
        await place(stores, disk, attachment)
        await stores[cloud].remove(keyOn(cloud, attachment), never)
        moved.resolve()
        return seen
      },
    })
    const after = (store: Store): Store => ({
      ...store,
      stat: async (key, signal) => moved.promise.then(() => store.stat(key, signal)),
    })
    const { area, stores } = make(cloud, { [disk]: before, [cloud]: after })
    await place(stores, cloud, attachment)
    assert.deepEqual(Object.keys(await area.locate(attachment, never)), [disk])
  })
})

async function* flipped(body: AsyncIterable<Uint8Array>) {
  for await (const chunk of body) yield chunk.map(byte => byte ^ 1)
}
