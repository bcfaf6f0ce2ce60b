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
import type { Store } from '../src/stores/store.ts'
import { memoryStore } from './support/memory-store.ts'
import {
  digests,
  failing,
  fileBytes,
  fileSystem,
  isOn,
  keyOn,
  makeHybrid,
  moveKnownByMd5,
  moveOptions,
  never,
  newFile,
  objectStorage,
  readWhole,
  storeOn,
  tierOf,
  tiersHolding,
} from './support/tiers.ts'

for (const primary of [fileSystem, objectStorage] as const)
  describe(`a hybrid area that writes to the ${primary}`, () => {
    const secondary = otherTier[primary]

    it('writes there only', async () => {
      const { area, stores } = makeHybrid(primary)
      const attachment = newFile()
      await area.create(attachment, sourceOf(fileBytes), never)
      assert.deepEqual(
        [await isOn(stores, primary, attachment), await isOn(stores, secondary, attachment)],
        [true, false],
      )
    })

    it('reads from either, whole and by range, without a word', async () => {
      for (const tier of [primary, secondary]) {
        const { area, stores, warnings } = makeHybrid(primary)
        const attachment = newFile()
        await storeOn(stores, tier, attachment)
        assert.deepEqual(await readWhole(area, attachment), fileBytes)
        assert.deepEqual(
          await collect(await area.read(attachment, { start: 4, end: 9 }, never)),
          fileBytes.subarray(4, 9),
        )
        assert.deepEqual(warnings, [])
      }
    })

    it('asks the second tier nothing when the first has the file', async () => {
      const { area, stores } = makeHybrid(primary, { [secondary]: failing('Internal', 'get', 'stat') })
      const attachment = newFile()
      await storeOn(stores, primary, attachment)
      assert.deepEqual(await readWhole(area, attachment), fileBytes)
    })

    it('reads from the second when the first fails, and says so once', async () => {
      const { area, stores, warnings } = makeHybrid(primary, { [primary]: failing('Unavailable', 'get') })
      const attachment = newFile()
      await storeOn(stores, secondary, attachment)
      assert.deepEqual(await readWhole(area, attachment), fileBytes)
      assert.equal(warnings.length, 1)
      assert.match(warnings[0] ?? '', /is bad \[Unavailable\]; it was read from (disk|cloud) instead/)
    })

    it('reports an absence only when both are absent', async () => {
      await assert.rejects(makeHybrid(primary).area.read(newFile(), undefined, never), { code: 'NotFound' })
      for (const tier of [primary, secondary])
        await assert.rejects(
          makeHybrid(primary, { [tier]: failing('Unavailable', 'get') }).area.read(newFile(), undefined, never),
          { code: 'Unavailable' },
        )
    })

    it('reports both reasons, and the graver code, when both fail', async () => {
      const { area } = makeHybrid(primary, {
        [primary]: failing('Unavailable', 'get'),
        [secondary]: failing('Denied', 'get'),
      })
      await assert.rejects(area.read(newFile(), undefined, never), (fault: Fault) => {
        assert.equal(fault.code, 'Denied')
        assert.match(fault.describe(), /disk is bad/)
        assert.match(fault.describe(), /cloud is bad/)
        return true
      })
    })

    it('does not go on to the second tier for somebody who has gone away', async () => {
      const { area, stores } = makeHybrid(primary, { [primary]: failing('Canceled', 'get') })
      const attachment = newFile()
      await storeOn(stores, secondary, attachment)
      await assert.rejects(area.read(attachment, undefined, never), { code: 'Canceled' })
    })

    it('removes from both, also when one fails', async () => {
      const both = makeHybrid(primary)
      const attachment = newFile()
      for (const tier of [fileSystem, objectStorage] as const) await storeOn(both.stores, tier, attachment)
      await both.area.remove(attachment, never)
      assert.deepEqual(await tiersHolding(both.stores, attachment), [])
      await both.area.remove(attachment, never)
      for (const tier of [fileSystem, objectStorage] as const) {
        const { area, stores } = makeHybrid(primary, { [tier]: failing('Unavailable', 'remove') })
        await storeOn(stores, otherTier[tier], attachment)
        await assert.rejects(area.remove(attachment, never), { code: 'Unavailable' })
        assert.deepEqual(await tiersHolding(stores, attachment), [])
      }
    })

    it('finds a file that was moved between the two looks', async () => {
      const attachment = newFile()
      const { area: calm, stores } = makeHybrid(primary)
      await storeOn(stores, secondary, attachment)
      const racing = hybridArea({
        tiers: {
          ...calm.tiers,
          [secondary]: {
            ...calm.tiers[secondary],
            area: {
              ...calm.tiers[secondary].area,
              async read(...all: Parameters<HybridArea['read']>) {
                await calm.move(attachment, primary, moveOptions, never)
                return calm.tiers[secondary].area.read(...all)
              },
            },
          },
        } as Record<TierName, Tier>,
        primary,
        digests,
        warn: () => {},
      })
      assert.deepEqual(await readWhole(racing, attachment), fileBytes)
    })
  })

for (const to of [fileSystem, objectStorage] as const)
  describe(`a move to the ${to}`, () => {
    const from = otherTier[to]
    const sizes = [0, 1, fileBytes.byteLength, 3_000_000]

    for (const size of sizes)
      it(`takes ${size} bytes there and leaves nothing behind`, async () => {
        const { area, stores } = makeHybrid(from)
        const attachment = newFile()
        const content = Buffer.alloc(size, 'content')
        await storeOn(stores, from, attachment, content)
        assert.equal(await area.move(attachment, to, moveOptions, never), 'moved')
        assert.deepEqual(await readWhole(area, attachment), content)
        assert.deepEqual([await isOn(stores, to, attachment), await isOn(stores, from, attachment)], [true, false])
        assert.equal(await area.move(attachment, to, moveOptions, never), 'already-there')
      })

    it('knows the file by its size and MD5, and lets a damaged one lie', async () => {
      const md5 = createHash('md5').update(fileBytes).digest('hex')
      const known = { size: fileBytes.byteLength, md5 }
      for (const [given, ok] of [
        [known, true],
        [{ size: fileBytes.byteLength }, true],
        [{ ...known, size: 1 }, false],
        [{ ...known, md5: md5.replace(/./, 'x') }, false],
      ] as const) {
        const { area, stores } = makeHybrid(from)
        const attachment = newFile()
        await storeOn(stores, from, attachment)
        const moving = area.move(attachment, to, { keepSource: false, known: given }, never)
        if (ok) assert.equal(await moving, 'moved')
        else await assert.rejects(moving, { code: 'Corrupt', message: /not what Orthanc stored/ })
        assert.deepEqual([await isOn(stores, from, attachment), await isOn(stores, to, attachment)], [!ok, ok])
        if (!ok) continue
        assert.equal(await area.move(attachment, to, { keepSource: false, known: given }, never), 'already-there')
        assert.equal(await area.move(newFile(), to, { keepSource: false, known: given }, never), 'missing')
      }
    })

    it('says what is on neither side', async () => {
      assert.equal(await makeHybrid(from).area.move(newFile(), to, moveOptions, never), 'missing')
    })

    it('keeps the source when told so', async () => {
      const { area, stores } = makeHybrid(from)
      const attachment = newFile()
      await storeOn(stores, from, attachment)
      assert.equal(await area.move(attachment, to, { keepSource: true }, never), 'moved')
      assert.equal(await area.move(attachment, to, { keepSource: true }, never), 'already-there')
      assert.deepEqual(await tiersHolding(stores, attachment), [fileSystem, objectStorage])
    })

    it('ends what a crash left between copy and removal', async () => {
      const { area, stores } = makeHybrid(from)
      const attachment = newFile()
      for (const tier of [fileSystem, objectStorage] as const) await storeOn(stores, tier, attachment)
      assert.equal(await area.move(attachment, to, moveOptions, never), 'moved')
      assert.equal(await isOn(stores, from, attachment), false)
    })

    it('overwrites nothing, and keeps both when they differ', async () => {
      const { area, stores } = makeHybrid(from)
      const attachment = newFile()
      await storeOn(stores, from, attachment)
      await storeOn(stores, to, attachment, Buffer.from('other bytes entirely'))
      await assert.rejects(area.move(attachment, to, moveOptions, never), { code: 'Corrupt' })
      assert.deepEqual(await tiersHolding(stores, attachment), [fileSystem, objectStorage])
    })

    for (const removes of [true, false])
      it(`${removes ? 'removes' : 'names'} a copy that is not what was sent${removes ? '' : ' and cannot be removed'}, and keeps the source`, async () => {
        const { area, stores } = makeHybrid(from, {
          [to]: (store: Store): Store => ({
            ...(removes ? store : failing('Denied', 'remove')(store)),
            put: (key, body, signal) => store.put(key, { ...body, open: () => flipped(body.open()) }, signal),
          }),
        })
        const attachment = newFile()
        await storeOn(stores, from, attachment)
        await assert.rejects(area.move(attachment, to, moveOptions, never), (fault: Fault) => {
          assert.equal(fault.code, 'Corrupt')
          assert.match(
            fault.describe(),
            removes ? /; the file stays there/ : /Both are kept. Find out which one is right/,
          )
          return true
        })
        assert.deepEqual(await tiersHolding(stores, attachment), removes ? [from] : [fileSystem, objectStorage])
      })

    it('takes an outage for an outage, never for an absence', async () => {
      const verbs = ['get', 'stat', 'put'] as const
      for (const [tier, verb] of verbs.flatMap(verb => [[from, verb] as const, [to, verb] as const])) {
        if (tier === from && verb !== 'get') continue // it is only read
        const { area, stores } = makeHybrid(from, { [tier]: failing('Unavailable', verb) })
        const attachment = newFile()
        await storeOn(stores, from, attachment)
        await assert.rejects(area.move(attachment, to, moveOptions, never), { code: 'Unavailable' }, `${tier} ${verb}`)
        assert.equal(await isOn(stores, from, attachment), true)
      }
    })

    it('takes an outage of the target for an outage also when the source has nothing', async () => {
      const { area } = makeHybrid(from, { [to]: failing('Unavailable', 'stat') })
      for (const options of [moveOptions, moveKnownByMd5])
        await assert.rejects(area.move(newFile(), to, options, never), { code: 'Unavailable' })
    })

    for (const [what, options] of [
      ['', moveOptions],
      [', known by its MD5', moveKnownByMd5],
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
            const { area, stores } = makeHybrid(from, { [fileSystem]: breaking, [objectStorage]: breaking })
            const attachment = newFile()
            await storeOn(stores, from, attachment)
            const broken = await area.move(attachment, to, options, never).catch(Fault.from)
            if (!(broken instanceof Fault)) {
              assert.ok(breaksAt > 4, 'it broke nowhere')
              return
            }
            assert.deepEqual(await readWhole(area, attachment), fileBytes)
            assert.ok(['moved', 'already-there'].includes(await area.move(attachment, to, options, never)))
            assert.deepEqual(await readWhole(area, attachment), fileBytes)
            assert.deepEqual(await tiersHolding(stores, attachment), [to])
          }
        }
      })

    it('gives way to a removal, and leaves no copy', async () => {
      const [reached, removing] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      const { area, stores } = makeHybrid(from, {
        [to]: (store: Store): Store => ({
          ...store,
          async put(key, body, signal) {
            await store.put(key, body, signal)
            reached.resolve()
            await removing.promise
          },
        }),
      })
      const attachment = newFile()
      await storeOn(stores, from, attachment)
      const moving = area.move(attachment, to, moveOptions, never)
      await reached.promise
      const later = area.move(attachment, to, moveOptions, never)
      const removed = area.remove(attachment, never)
      removing.resolve()
      await removed
      assert.equal(await moving, 'missing')
      assert.equal(await later, 'missing')
      assert.deepEqual(await tiersHolding(stores, attachment), [])
    })

    it('happens once when it is asked for twice at the same time', async () => {
      const { area, stores } = makeHybrid(from)
      const attachment = newFile()
      await storeOn(stores, from, attachment)
      const twice = [1, 2].map(() => area.move(attachment, to, moveOptions, never))
      assert.deepEqual((await Promise.all(twice)).sort(), ['already-there', 'moved'])
    })
  })

describe("the file system in Orthanc's own layout", () => {
  it('reads, moves and removes what Orthanc itself wrote, and prunes its folders', async () => {
    const root = mkdtempSync(join(tmpdir(), 'ocs-hybrid-'))
    try {
      const cloudStore = memoryStore()
      const diskStore = directoryStore(root, { sync: false, marked: false })
      const area = hybridArea({
        tiers: { [fileSystem]: tierOf(fileSystem, diskStore), [objectStorage]: tierOf(objectStorage, cloudStore) },
        primary: objectStorage,
        digests,
        warn: assert.fail,
      })
      writeFileSync(join(root, 'index'), 'the database, which is none of our business')
      const attachment = newFile()
      await storeOn({ [fileSystem]: diskStore, [objectStorage]: cloudStore }, fileSystem, attachment)
      const { uuid } = attachment
      assert.ok(existsSync(join(root, uuid.slice(0, 2), uuid.slice(2, 4), uuid)))
      assert.deepEqual(await area.locate(attachment, never), {
        [fileSystem]: { key: keyOn(fileSystem, attachment), size: fileBytes.byteLength },
      })
      assert.deepEqual(await readWhole(area, attachment), fileBytes)
      await area.move(attachment, objectStorage, moveOptions, never)
      assert.deepEqual(readdirSync(root), ['index'])
      assert.deepEqual(Object.keys(await area.locate(attachment, never)), [objectStorage])
      await area.move(attachment, fileSystem, moveOptions, never)
      await area.remove(attachment, never)
      assert.deepEqual(readdirSync(root), ['index'])
    } finally {
      rmSync(root, { recursive: true })
    }
  })

  it('a file that is moved between the looks at its two places is looked for again, not lost', async () => {
    const attachment = newFile()
    const moved = Promise.withResolvers<void>()
    const before = (store: Store): Store => ({
      ...store,
      async stat(key, signal) {
        const seen = await store.stat(key, signal)
        await storeOn(stores, fileSystem, attachment)
        await stores[objectStorage].remove(keyOn(objectStorage, attachment), never)
        moved.resolve()
        return seen
      },
    })
    const after = (store: Store): Store => ({
      ...store,
      stat: async (key, signal) => moved.promise.then(() => store.stat(key, signal)),
    })
    const { area, stores } = makeHybrid(objectStorage, { [fileSystem]: before, [objectStorage]: after })
    await storeOn(stores, objectStorage, attachment)
    assert.deepEqual(Object.keys(await area.locate(attachment, never)), [fileSystem])
  })
})

async function* flipped(body: AsyncIterable<Uint8Array>) {
  for await (const chunk of body) yield chunk.map(byte => byte ^ 1)
}
