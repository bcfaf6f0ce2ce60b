import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Attachment } from '../src/area/area.ts'
import { findIn } from '../src/area/find.ts'
import { keysOf } from '../src/area/naming.ts'
import { objectArea } from '../src/area/object-area.ts'
import { VerifiedCache } from '../src/area/verified-cache.ts'
import { collect, sourceOf } from '../src/bytes.ts'
import { Fault } from '../src/fault.ts'
import { Budget } from '../src/seal/budget.ts'
import { plain } from '../src/seal/envelope.ts'
import { withLog } from '../src/stores/wrappers/log.ts'
import { memoryStore } from './support/memory-store.ts'

const never = new AbortController().signal
const uuid = '0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d'
const header: Attachment = { uuid, type: 'dicom-until-pixel-data' }
const naming = { rootPath: '', structure: 'flat', legacyUnknownFiles: true } as const

describe('a storage area of objects', () => {
  const make = (store = memoryStore()) => ({
    store,
    area: objectArea({
      store,
      keysOf: (attachment, suffix) => keysOf(naming, suffix, attachment),
      envelopes: [plain],
      unsealIfSealed: get => get(),
      budget: new Budget(0),
      cache: new VerifiedCache(0, 0),
    }),
  })
  const bytes = Buffer.from('header')

  it('writes under the first key only', async () => {
    const { store, area } = make()
    await area.create(header, sourceOf(bytes), never)
    assert.ok(await store.stat(`${uuid}.dcm.head`, never))
    assert.equal(await store.stat(`${uuid}.unk`, never), undefined)
  })

  it('reads under the older key when the first is absent', async () => {
    const { store, area } = make()
    await store.put(`${uuid}.unk`, sourceOf(bytes), never)
    assert.deepEqual(await collect(await area.read(header, undefined, never)), bytes)
    assert.deepEqual(await collect(await area.read(header, { start: 1, end: 3 }, never)), bytes.subarray(1, 3))
  })

  it('removes every key', async () => {
    const { store, area } = make()
    for (const key of [`${uuid}.dcm.head`, `${uuid}.unk`]) await store.put(key, sourceOf(bytes), never)
    await area.remove(header, never)
    for await (const stat of store.list('', never)) assert.fail(stat.key)
  })

  it('names the key that should be there when none is', async () => {
    const { area } = make(withLog(() => {})(memoryStore()))
    await assert.rejects(area.read(header, undefined, never), {
      code: 'NotFound',
      where: { verb: 'read', store: 'memory', key: `${uuid}.dcm.head` },
    })
  })

  it('does not take an outage for an absence', async () => {
    const down = { ...memoryStore(), get: () => Promise.reject(new Fault('Unavailable', 'down')) }
    await assert.rejects(make(down).area.read(header, undefined, never), { code: 'Unavailable' })
  })

  describe('where the store forbids what is absent to somebody who may not list', () => {
    const denied = () => Promise.reject(new Fault('Denied', 'AccessDenied', { perhapsAbsent: true }))
    const forbidding = (store = memoryStore()) => ({
      ...store,
      get: async (...[key, range, signal]: Parameters<typeof store.get>) =>
        (await store.stat(key, signal)) ? store.get(key, range, signal) : denied(),
    })

    it('reads under the older key', async () => {
      const store = forbidding()
      await store.put(`${uuid}.unk`, sourceOf(bytes), never)
      assert.deepEqual(await collect(await make(store).area.read(header, undefined, never)), bytes)
    })

    it('reports no absence when there is none of the keys', async () => {
      await assert.rejects(make(forbidding()).area.read(header, undefined, never), { code: 'Denied' })
    })

    it('asks no other key after a permission that is missing for good', async () => {
      let asked = 0
      const store = { ...memoryStore(), get: () => Promise.reject(new Fault('Denied', `key ${++asked}`)) }
      await assert.rejects(make(store).area.read(header, undefined, never), { code: 'Denied', message: 'key 1' })
    })

    it('finds what is there under the older key, and takes nothing for absent', async () => {
      const there = memoryStore()
      await there.put(`${uuid}.unk`, sourceOf(bytes), never)
      const store = {
        ...there,
        stat: async (...all: Parameters<typeof there.stat>) => (await there.stat(...all)) ?? denied(),
      }
      const find = findIn(store, attachment => keysOf(naming, '', attachment))
      assert.equal((await find(header, never))?.key, `${uuid}.unk`)
      await assert.rejects(find({ ...header, uuid: uuid.replace('0a', 'ff') }, never), { code: 'Denied' })
    })
  })
})
