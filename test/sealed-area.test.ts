/** A storage area with encryption: what is written, what is still read, and with how many requests. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Attachment } from '../src/area/area.ts'
import { keysOf } from '../src/area/naming.ts'
import { objectArea } from '../src/area/object-area.ts'
import { VerifiedCache } from '../src/area/verified-cache.ts'
import { collect, collectSource, type Range, sourceOf } from '../src/bytes.ts'
import { a1 } from '../src/seal/a1.ts'
import { Budget } from '../src/seal/budget.ts'
import { unsealIfSealed } from '../src/seal/detect.ts'
import { type Envelope, plain } from '../src/seal/envelope.ts'
import { keyring, masterKey } from '../src/seal/keyring.ts'
import type { Store } from '../src/stores/store.ts'
import { attempt } from '../src/stores/wrappers/retry.ts'
import { memoryStore } from './support/memory-store.ts'
import { noise } from './support/store.suite.ts'

const never = new AbortController().signal
const uuidOf = (n: number) => `0a1b2c3d-4e5f-4a6b-8c7d-${String(n).padStart(12, '0')}`
const image = (n: number): Attachment => ({ uuid: uuidOf(n), type: 'dicom' })
const keys = keyring(masterKey(1, Buffer.alloc(32, 1).toString('base64')), [])
const sealed = a1(keys)

interface Setup {
  readonly envelopes: readonly [Envelope, ...Envelope[]]
  readonly structure?: 'flat' | 'legacy'
  readonly budget?: number
  readonly cache?: VerifiedCache
}

/** The area, its store, and the requests made to it since they were last asked for. */
function make({ envelopes, structure = 'flat', budget = 1e9, cache = new VerifiedCache(1000, 500) }: Setup) {
  const inner = memoryStore()
  const requests: string[] = []
  const store: Store = {
    ...inner,
    get: (key, range, signal) => {
      requests.push(`GET ${key}`)
      return inner.get(key, range, signal)
    },
    remove: (key, signal) => {
      requests.push(`DELETE ${key}`)
      return at.onRemove(key, signal)
    },
  }
  const naming = { rootPath: '', structure, legacyUnknownFiles: false }
  const area = objectArea({
    store,
    keysOf: (attachment, suffix) => keysOf(naming, suffix, attachment),
    envelopes,
    unsealIfSealed: (get, { type }) => unsealIfSealed(get, sealed, keys, type === 'unknown'),
    budget: new Budget(budget),
    cache,
  })
  const at = {
    store: inner,
    area,
    /** How the store removes. */
    onRemove: inner.remove,
    requests: () => requests.splice(0),
    put: (key: string, bytes: Buffer) => inner.put(key, sourceOf(bytes), never),
    seal: (bytes: Buffer) => collectSource(sealed.seal(sourceOf(bytes))),
    create: (n: number, bytes: Buffer) => area.create(image(n), sourceOf(bytes), never),
    read: async (attachment: Attachment, range?: Range) => collect(await area.read(attachment, range, never)),
    keys: async () => {
      const found: string[] = []
      for await (const { key } of inner.list('', never)) found.push(key)
      return found
    },
  }
  return at
}

describe('a sealed storage area', () => {
  it('writes .enc objects, 86 bytes larger, and reads each with one request', async () => {
    const at = make({ envelopes: [sealed] })
    await at.create(1, noise(1000))
    assert.deepEqual(await at.keys(), [`${uuidOf(1)}.dcm.enc`])
    assert.equal((await at.store.stat(`${uuidOf(1)}.dcm.enc`, never))?.size, 1086)
    assert.deepEqual(await at.read(image(1)), noise(1000))
    assert.deepEqual(at.requests(), [`GET ${uuidOf(1)}.dcm.enc`])
  })

  it('does not read what is not sealed unless it is told to', async () => {
    const at = make({ envelopes: [sealed] })
    await at.put(`${uuidOf(1)}.dcm`, noise(200))
    await assert.rejects(at.read(image(1)), { code: 'NotFound' })
    await at.put(`${uuidOf(2)}.dcm.enc`, noise(200))
    const where = { verb: 'read', store: 'memory', key: `${uuidOf(2)}.dcm.enc` }
    await assert.rejects(at.read(image(2)), { code: 'Corrupt', where })
  })

  it('lets go of an object that is too short to be a sealed one', async () => {
    for (const structure of ['flat', 'legacy'] as const)
      for (const envelopes of [[sealed], [sealed, plain]] as const) {
        const open = new Set<string>()
        const inner = memoryStore()
        const store: Store = {
          ...inner,
          async get(key, range, signal) {
            const { size, body } = await inner.get(key, range, signal)
            open.add(key)
            return {
              size,
              body: (async function* () {
                try {
                  yield* body
                } finally {
                  open.delete(key)
                }
              })(),
            }
          },
        }
        const budget = new Budget(10)
        const naming = { rootPath: '', structure, legacyUnknownFiles: false }
        const area = objectArea({
          store,
          keysOf: (attachment, suffix) => keysOf(naming, suffix, attachment),
          envelopes,
          unsealIfSealed: get => unsealIfSealed(get, sealed, keys, false),
          budget,
          cache: new VerifiedCache(1000, 500),
        })
        const [key] = keysOf(naming, '.enc', image(1))
        await inner.put(key, sourceOf(Buffer.concat([Buffer.from('A1'), Buffer.from([1, 0, 0, 0]), noise(20)])), never)
        for (const range of [undefined, { start: 0, end: 5 }]) {
          await assert.rejects(area.read(image(1), range, never), { code: 'Corrupt', message: /fewer than the 86/ })
          assert.equal(open.size, 0, `${structure} ${envelopes.length}`)
          const share = budget.tryTake(10)
          assert.ok(share, 'its share of the budget is free again')
          share()
        }
      }
  })

  it('says so when it delivers what may be sealed under a key that is not configured', async () => {
    const foreign = a1(keyring(masterKey(9, Buffer.alloc(32, 9).toString('base64')), []))
    const object = await collectSource(foreign.seal(sourceOf(noise(50))))
    const heard: number[] = []
    const get = async () => ({ size: object.byteLength, body: sourceOf(object).open() })
    const told = await unsealIfSealed(get, sealed, keys, true, id => heard.push(id))
    assert.deepEqual([await collect(told), heard], [object, [9]])
  })

  for (const [what, harm] of [
    ['its tag finds wrong', (object: Buffer) => object.fill((object[500] ?? 0) ^ 1, 500, 501)],
    ['is shorter than any sealed object', (object: Buffer) => object.subarray(0, 20)],
  ] as const)
    it(`reads again what ${what}, and nothing of it was a success`, async () => {
      const inner = memoryStore()
      await inner.put(`${uuidOf(1)}.dcm.enc`, sealed.seal(sourceOf(noise(1000))), never)
      let flips = 2
      const area = objectArea({
        store: {
          ...inner,
          async get(key, range, signal) {
            const whole = Buffer.from(await collect(await inner.get(key, range, signal)))
            const object = flips-- > 0 ? harm(whole) : whole
            return { size: object.byteLength, body: sourceOf(object).open() }
          },
        },
        keysOf: (attachment, suffix) =>
          keysOf({ rootPath: '', structure: 'flat', legacyUnknownFiles: false }, suffix, attachment),
        envelopes: [sealed],
        unsealIfSealed: get => get(),
        budget: new Budget(1e9),
        cache: new VerifiedCache(1000, 500),
        again: (work, signal) => attempt(work, { maxRetries: 3, firstDelayMs: 1 }, signal, () => {}),
      })
      for (const range of [undefined, { start: 3, end: 9 }]) {
        flips = 2
        const got = await area.deliver(image(1), range, collect, never)
        assert.deepEqual(got, noise(1000).subarray(range?.start, range?.end))
      }
      flips = 99
      await assert.rejects(area.deliver(image(1), undefined, collect, never), { code: 'Corrupt', retryable: false })
    })

  it('has no .enc and no extension in the legacy structure', async () => {
    const at = make({ envelopes: [sealed], structure: 'legacy' })
    await at.create(1, noise(10))
    assert.deepEqual(await at.keys(), [`0a/1b/${uuidOf(1)}`])
    assert.deepEqual(await at.read(image(1)), noise(10))
  })

  it('works within a budget smaller than its objects, and with many at once', async () => {
    const at = make({ envelopes: [sealed], budget: 100 })
    await Promise.all(Array.from({ length: 20 }, (_, i) => at.create(i, noise(1000, i + 1))))
    const back = await Promise.all(Array.from({ length: 20 }, (_, i) => at.read(image(i))))
    assert.deepEqual(
      back,
      Array.from({ length: 20 }, (_, i) => noise(1000, i + 1)),
    )
  })

  it('gives its share of the budget back when the reader goes away', async () => {
    const at = make({ envelopes: [sealed], budget: 100 })
    await at.create(1, noise(1000))
    const abort = new AbortController()
    await at.area.read(image(1), undefined, abort.signal) // nobody reads the body
    abort.abort()
    for await (const _ of (await at.area.read(image(1), undefined, never)).body) break
    assert.deepEqual(await at.read(image(1)), noise(1000))
  })
})

describe('a store with sealed and plain objects', () => {
  const mixed: [string, readonly [Envelope, ...Envelope[]]][] = [
    ['encryption turned on', [sealed, plain]],
    ['encryption turned off', [plain, sealed]],
  ]
  for (const [what, envelopes] of mixed) {
    it(`${what}: reads both, asking first where the last one was found`, async () => {
      const at = make({ envelopes })
      for (const n of [1, 2]) await at.put(`${uuidOf(n)}.dcm`, noise(300, n))
      for (const n of [3, 4]) await at.put(`${uuidOf(n)}.dcm.enc`, await at.seal(noise(300, n)))
      const counts: number[] = []
      for (const n of [1, 2, 1, 3, 4, 3, 1]) {
        assert.deepEqual(await at.read(image(n)), noise(300, n))
        counts.push(at.requests().length)
      }
      assert.deepEqual(counts.slice(1), [1, 1, 2, 1, 1, 2])
    })

    it(`${what}: removes both`, async () => {
      const at = make({ envelopes })
      await at.put(`${uuidOf(1)}.dcm`, noise(5))
      await at.put(`${uuidOf(1)}.dcm.enc`, noise(5))
      await at.area.remove(image(1), never)
      assert.deepEqual(await at.keys(), [])
    })

    it(`${what}: names the key that would be written when there is neither`, async () => {
      const at = make({ envelopes })
      await at.read(image(1)).catch(() => {})
      const [first] = at.requests()
      assert.equal(first, `GET ${uuidOf(1)}.dcm${envelopes[0].suffix}`)
    })

    it(`${what}: tells them apart by their bytes in the legacy structure`, async () => {
      const at = make({ envelopes, structure: 'legacy' })
      const key = (n: number) => `0a/1b/${uuidOf(n)}`
      const dicom = Buffer.concat([noise(128), Buffer.from('DICM'), noise(500)])
      const lookalike = Buffer.from(dicom)
      Buffer.from('413101000000', 'hex').copy(lookalike) // a preamble that begins like a sealed object
      const cases = [dicom, lookalike, Buffer.from('{"a": 1}'), Buffer.alloc(0), noise(3)]
      for (const [n, bytes] of cases.entries()) {
        await at.put(key(n), bytes)
        assert.deepEqual(await at.read(image(n)), bytes, `plain ${n}`)
        await at.put(key(n), await at.seal(bytes))
        at.requests()
        assert.deepEqual(await at.read(image(n)), bytes, `sealed ${n}`)
        assert.equal(at.requests().length, 1)
      }
      const damaged = await at.seal(dicom)
      damaged[300] = (damaged[300] ?? 0) ^ 1
      await at.put(key(1), damaged)
      await assert.rejects(at.read(image(1)), { code: 'Corrupt' })
      const foreign = await collectSource(
        a1(keyring(masterKey(9, Buffer.alloc(32, 9).toString('base64')), [])).seal(sourceOf(dicom)),
      )
      await at.put(key(1), foreign)
      await assert.rejects(at.read(image(1)), { code: 'BadConfig', message: /master key 9/ })
    })
  }
})

describe('ranges of a sealed object', () => {
  const range = (start: number, end: number) => ({ start, end })

  it('cost one request together, for as long as the object is kept', async () => {
    const at = make({ envelopes: [sealed] })
    await at.create(1, noise(400))
    assert.deepEqual(await at.read(image(1), range(0, 10)), noise(400).subarray(0, 10))
    assert.deepEqual(await at.read(image(1), range(390, 400)), noise(400).subarray(390))
    assert.equal(at.requests().length, 1)
    await assert.rejects(at.read(image(1), range(390, 401)), { code: 'BadRequest' })
    await at.area.remove(image(1), never)
    await assert.rejects(at.read(image(1), range(0, 10)), { code: 'NotFound' })
  })

  it('are those of the object that is there now, also when it was written or removed again while they were read', async () => {
    const at = make({ envelopes: [sealed] })
    await at.create(1, noise(400))
    await at.read(image(1), range(0, 10))
    await at.create(1, noise(300, 2))
    assert.deepEqual(await at.read(image(1), range(0, 10)), noise(300, 2).subarray(0, 10))
    // The store still has it when it is read again, and has removed it when it is asked the next time.
    const { remove } = at.store
    at.onRemove = async (key, signal) => {
      await at.read(image(1), range(0, 10))
      await remove(key, signal)
    }
    await at.area.remove(image(1), never)
    await assert.rejects(at.read(image(1), range(0, 10)), { code: 'NotFound' })
  })

  it('wait for one load when they come at once', async () => {
    const at = make({ envelopes: [sealed] })
    await at.create(1, noise(400))
    await Promise.all(Array.from({ length: 10 }, (_, i) => at.read(image(1), range(i, i + 5))))
    assert.equal(at.requests().length, 1)
  })

  it('are not a success when another part of the object is damaged', async () => {
    for (const size of [400, 5000]) {
      const at = make({ envelopes: [sealed] })
      const object = await at.seal(noise(size))
      object[object.byteLength - 20] = (object[object.byteLength - 20] ?? 0) ^ 1
      await at.put(`${uuidOf(1)}.dcm.enc`, object)
      await assert.rejects(at.read(image(1), range(0, 10)), { code: 'Corrupt' })
    }
  })

  it('of a large object are cut out of the whole, which is not kept', async () => {
    const at = make({ envelopes: [sealed] })
    await at.create(1, noise(5000))
    for (const [start, end] of [
      [0, 1],
      [1234, 2345],
      [0, 5000],
    ] as const)
      assert.deepEqual(await at.read(image(1), range(start, end)), noise(5000).subarray(start, end))
    assert.equal(at.requests().length, 3)
    await assert.rejects(at.read(image(1), range(4000, 5001)), { code: 'BadRequest' })
  })

  it('of a large object that are asked at once are each cut out of an object of their own', async () => {
    const at = make({ envelopes: [sealed] })
    await at.create(1, noise(5000))
    const ranges = Array.from({ length: 4 }, (_, i) => range(i * 1000, i * 1000 + 700))
    const parts = await Promise.all(ranges.map(asked => at.read(image(1), asked)))
    assert.deepEqual(
      parts,
      ranges.map(({ start, end }) => noise(5000).subarray(start, end)),
    )
    assert.equal(at.requests().length, 4)
  })

  it('survive that another reader of the same object gives up', async () => {
    const at = make({ envelopes: [sealed], budget: 1 })
    await at.create(1, noise(400))
    const hold = await at.area.read(image(1), undefined, never) // has the whole budget
    const abort = new AbortController()
    const first = at.area.read(image(1), range(0, 5), abort.signal)
    const second = at.read(image(1), range(5, 10))
    await turn()
    abort.abort()
    await assert.rejects(first, { code: 'Canceled' })
    for await (const _ of hold.body);
    assert.deepEqual(await second, noise(400).subarray(5, 10))
  })

  it('keep no more than the bound, the latest used', async () => {
    const cache = new VerifiedCache(1000, 500)
    const open = (fill: number) => async () => ({ size: 400, body: sourceOf(Buffer.alloc(400, fill)).open() })
    for (const n of [1, 2]) await cache.getOrLoad(String(n), open(n))
    cache.get('1')
    await cache.getOrLoad('3', open(3))
    assert.deepEqual(
      ['1', '2', '3'].map(key => cache.get(key) !== undefined),
      [true, false, true],
    )
  })
})
