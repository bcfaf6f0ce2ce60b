/** How often a move reads its file, and what it takes for proof. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import type { TierName } from '../src/area/area.ts'
import { hybridArea } from '../src/area/hybrid.ts'
import type { Tier } from '../src/area/tier.ts'
import { type Content, collect, collectSource, sliceOf, sourceOf } from '../src/bytes.ts'
import { Fault } from '../src/fault.ts'
import { a1 } from '../src/seal/a1.ts'
import { type Envelope, plain } from '../src/seal/envelope.ts'
import { keyring, masterKey } from '../src/seal/keyring.ts'
import type { Store } from '../src/stores/store.ts'
import { memoryStore } from './support/memory-store.ts'
import { noise } from './support/store.suite.ts'
import {
  digests,
  fileBytes,
  fileSystem,
  keyOn,
  makeHybrid,
  moveOptions,
  never,
  newFile,
  objectStorage,
  storeOn,
  tierOf,
  tiersHolding,
} from './support/tiers.ts'

const MiB = 1024 * 1024
const sealed = a1(keyring(masterKey(1, Buffer.alloc(32, 1).toString('base64')), []))

/** Counts what is read of a store. */
function metered(store: Store) {
  let bytesRead = 0
  const counted = async (content: Content): Promise<Content> => ({
    ...content,
    body: (async function* () {
      for await (const chunk of content.body) {
        bytesRead += chunk.byteLength
        yield chunk
      }
    })(),
  })
  const metering: Store = {
    ...store,
    get: async (key, range, signal) => counted(await store.get(key, range, signal)),
  }
  return { metering, bytesRead: () => bytesRead }
}

/** Takes what it is given as an upload in parts does: one after the other, each from the beginning of its range. */
const inParts = (store: Store, partBytes: number): Store => ({
  ...store,
  async put(key, body, signal) {
    const parts: Buffer[] = []
    for (let start = 0; start < body.size; start += partBytes)
      parts.push(await collectSource(sliceOf(body, { start, end: Math.min(start + partBytes, body.size) })))
    await store.put(key, sourceOf(Buffer.concat(parts)), signal)
  },
})

/** Reads twice, as one that must know the MD5 before the first byte leaves. */
const twice = (store: Store): Store => ({
  ...store,
  async put(key, body, signal) {
    await collectSource(body)
    await store.put(key, body, signal)
  },
})

/** A tier whose files are sealed or not, and which can read ranges that nobody verifies. */
function tier(name: TierName, store: Store, envelope: Envelope): Tier {
  const sealedStore: Store = {
    ...store,
    put: (key, body, signal) => store.put(key, envelope.seal(body), signal),
    get: async (key, range, signal) => {
      const content = envelope.unseal(await store.get(key, undefined, signal))
      if (!range) return content
      const whole = await collect(content)
      return { size: range.end - range.start, body: sourceOf(whole).open(range) }
    },
  }
  return {
    ...tierOf(name, sealedStore),
    storedSize: envelope.sealedSize,
    ranges: async (attachment, _size, signal) =>
      envelope.ranges(range => store.get(keyOn(name, attachment), range, signal)),
  }
}

const knownOf = (content: Buffer) => ({
  size: content.byteLength,
  md5: createHash('md5').update(content).digest('hex'),
})

describe('a move of a large sealed file', () => {
  const content = noise(48 * MiB)
  const targets: [string, (store: Store) => Store][] = [
    ['whole', store => store],
    ['whole, after its MD5', twice],
    ['in parts of 8 MiB', store => inParts(store, 8 * MiB)],
    ['in parts of 5 MiB', store => inParts(store, 5 * MiB)],
    ['in parts of 5 MB', store => inParts(store, 5_000_000)],
  ]
  for (const [how, wrap] of targets)
    for (const target of [plain, sealed])
      for (const from of [fileSystem, objectStorage] as const)
        it(`reads it at most twice, whose target takes it ${how}, ${target === plain ? 'plain' : 'sealed'}, from the ${from}`, async () => {
          const to = from === fileSystem ? objectStorage : fileSystem
          const source = memoryStore('source')
          const { metering, bytesRead } = metered(source)
          const arrived = memoryStore('target')
          const attachment = newFile()
          await source.put(keyOn(from, attachment), sealed.seal(sourceOf(content)), never)
          const area = hybridArea({
            tiers: {
              [from]: tier(from, metering, sealed),
              [to]: tier(to, wrap(arrived), target),
            } as Record<TierName, Tier>,
            primary: from,
            digests,
            warn: assert.fail,
          })
          const moved = await area.move(attachment, to, { keepSource: false, known: knownOf(content) }, never)
          assert.equal(moved, 'moved')
          const stored = await collect(target.unseal(await arrived.get(keyOn(to, attachment), undefined, never)))
          assert.ok(stored.equals(content))
          const passes = bytesRead() / content.byteLength
          assert.ok(passes <= 2.15, `${passes} passes`)
        })
})

describe('a move', () => {
  it('hands over nothing of a file that is not what Orthanc stored: what the target had before stays', async () => {
    for (const wrap of [(store: Store) => store, twice, (store: Store) => inParts(store, 5)]) {
      const { area, stores } = makeHybrid(fileSystem, { [objectStorage]: wrap })
      const attachment = newFile()
      await storeOn(stores, fileSystem, attachment, Buffer.from('THE bytes of a file'))
      await storeOn(stores, objectStorage, attachment)
      const known = { keepSource: false, known: knownOf(fileBytes) }
      await assert.rejects(area.move(attachment, objectStorage, known, never), {
        code: 'Corrupt',
        message: /its MD5 differs/,
      })
      const kept = await collect(await stores[objectStorage].get(keyOn(objectStorage, attachment), undefined, never))
      assert.deepEqual(kept, fileBytes)
      assert.deepEqual(await tiersHolding(stores, attachment), [fileSystem, objectStorage])
    }
  })

  it('is not told that a file is missing when it is the target that says so', async () => {
    const { area, stores } = makeHybrid(fileSystem, {
      [objectStorage]: store => ({ ...store, put: () => Promise.reject(new Fault('NotFound', 'no such bucket')) }),
    })
    const attachment = newFile()
    await storeOn(stores, fileSystem, attachment)
    await assert.rejects(area.move(attachment, objectStorage, moveOptions, never), { message: /no such bucket/ })
  })

  it('reads again what a wire has changed on its way back', async () => {
    let flips = 2
    const { area, stores } = makeHybrid(fileSystem, {
      [objectStorage]: store => ({
        ...store,
        async get(key, range, signal) {
          const content = await collect(await store.get(key, range, signal))
          if (flips-- > 0) throw new Fault('Corrupt', 'flipped', { retryable: true })
          return { size: content.byteLength, body: sourceOf(content).open() }
        },
      }),
    })
    const attachment = newFile()
    await storeOn(stores, fileSystem, attachment)
    const retried: Tier = { ...area.tiers[objectStorage], area: { ...area.tiers[objectStorage].area } }
    retried.area.deliver = async (...all) => {
      for (let left = 3; ; left--)
        try {
          return await area.tiers[objectStorage].area.deliver(...all)
        } catch (error) {
          if (left === 0) throw error
        }
    }
    const again = hybridArea({
      tiers: { ...area.tiers, [objectStorage]: retried },
      primary: fileSystem,
      digests,
      warn: assert.fail,
    })
    assert.equal(await again.move(attachment, objectStorage, moveOptions, never), 'moved')
  })

  const archiving = (store: Store): Store => ({
    ...store,
    get: () => Promise.reject(new Fault('Archived', 'InvalidObjectState: in the archive')),
  })

  it('into an archive ends when the write was acknowledged and has the right size', async () => {
    const { area, stores } = makeHybrid(fileSystem, { [objectStorage]: archiving })
    const attachment = newFile()
    await storeOn(stores, fileSystem, attachment)
    assert.equal(await area.move(attachment, objectStorage, moveOptions, never), 'moved')
    assert.deepEqual(await tiersHolding(stores, attachment), [objectStorage])
  })

  it('into an archive keeps its source when the size there is another', async () => {
    const { area, stores } = makeHybrid(fileSystem, {
      [objectStorage]: store =>
        archiving({ ...store, put: (key, _body, signal) => store.put(key, sourceOf(Buffer.from('short')), signal) }),
    })
    const attachment = newFile()
    await storeOn(stores, fileSystem, attachment)
    await assert.rejects(area.move(attachment, objectStorage, moveOptions, never), { code: 'Corrupt' })
    assert.deepEqual(await tiersHolding(stores, attachment), [fileSystem])
  })

  it('writes again what is in the archive already, because it cannot be compared', async () => {
    const { area, stores } = makeHybrid(fileSystem, { [objectStorage]: archiving })
    const attachment = newFile()
    await storeOn(stores, fileSystem, attachment)
    await storeOn(stores, objectStorage, attachment, Buffer.from('something else, long ago'))
    assert.equal(await area.move(attachment, objectStorage, moveOptions, never), 'moved')
    assert.deepEqual(
      await collect(await stores[objectStorage].get(keyOn(objectStorage, attachment), undefined, never)),
      fileBytes,
    )
  })

  it('lets the copy settle before it removes the original', async () => {
    for (const there of [false, true]) {
      const order: string[] = []
      const { area, stores } = makeHybrid(objectStorage, {
        [objectStorage]: store => ({
          ...store,
          async remove(key, signal) {
            order.push('removed')
            await store.remove(key, signal)
          },
        }),
      })
      const attachment = newFile()
      for (const tier of there ? ([objectStorage, fileSystem] as const) : ([objectStorage] as const))
        await storeOn(stores, tier, attachment)
      const settling: Tier = {
        ...area.tiers[fileSystem],
        async settle() {
          order.push('settled')
        },
      }
      const careful = hybridArea({
        tiers: { ...area.tiers, [fileSystem]: settling },
        primary: fileSystem,
        digests,
        warn: assert.fail,
      })
      assert.equal(await careful.move(attachment, fileSystem, moveOptions, never), 'moved')
      assert.deepEqual(order, ['settled', 'removed'])
    }
  })

  it('says loudly that the file went with its original', async () => {
    const one = memoryStore('one')
    const both = tierOf(fileSystem, one) // the same keys
    const area = hybridArea({
      tiers: { [fileSystem]: both, [objectStorage]: both },
      primary: fileSystem,
      digests,
      warn: assert.fail,
    })
    const attachment = newFile()
    await one.put(keyOn(fileSystem, attachment), sourceOf(fileBytes), never)
    await assert.rejects(area.move(attachment, objectStorage, moveOptions, never), {
      code: 'Corrupt',
      message: /^the file is gone/,
    })
  })
})
