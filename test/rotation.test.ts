/** Rotation over a store in memory, with the accidents that a real store cannot be made to have at the right moment. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'
import type { ContentType } from '../src/area/area.ts'
import { keysOf, trashKeyOf } from '../src/area/naming.ts'
import { shardOf } from '../src/bulk/shards.ts'
import type { Shard } from '../src/bulk/work.ts'
import { collect, collectSource, sourceOf } from '../src/bytes.ts'
import { Fault } from '../src/fault.ts'
import { sealedNames } from '../src/rotate/names.ts'
import { Rotation } from '../src/rotate/rotation.ts'
import { emptyTally } from '../src/rotate/tally.ts'
import { keyring } from '../src/seal/keyring.ts'
import type { Stat, Store } from '../src/stores/store.ts'
import { attempt, withRetry } from '../src/stores/wrappers/retry.ts'
import { flaky } from './support/flaky.ts'
import { memoryStore } from './support/memory-store.ts'
import {
  current,
  filled,
  idOf,
  keyOf,
  naming,
  never,
  newState,
  old,
  read,
  rotate,
  sealedBy,
  stranger,
} from './support/rotation.ts'
import { noise } from './support/store.suite.ts'

describe('rotation', () => {
  it('knows every name that a sealed object may have, and no other', () => {
    const types: ContentType[] = ['dicom', 'dicom-as-json', 'dicom-until-pixel-data', 'unknown']
    const uuid = randomUUID()
    for (const structure of ['flat', 'legacy'] as const)
      for (const rootPath of ['', 'a/b']) {
        const names = sealedNames({ ...naming, structure, rootPath })
        for (const type of types) {
          const [key] = keysOf({ ...naming, structure, rootPath }, '.enc', { uuid, type })
          assert.ok(names.mayBeSealed(key), key)
          assert.ok(key.startsWith(names.prefix))
          assert.ok(!names.mayBeSealed(`elsewhere/${key}`))
        }
        const [plain] = keysOf({ ...naming, structure, rootPath }, '', { uuid, type: 'dicom' })
        assert.equal(names.mayBeSealed(plain), structure === 'legacy')
        assert.equal(names.mayBePlain, structure === 'legacy')
        const [key] = keysOf({ ...naming, structure, rootPath }, '.enc', { uuid, type: 'dicom' })
        const aside = trashKeyOf({ ...naming, rootPath }, key)
        const shards = Array.from({ length: 256 }, (_, shard) => shard)
        const listing = (at: string) => shards.filter(shard => names.prefixes(shard).some(one => at.startsWith(one)))
        assert.deepEqual([listing(key), key.startsWith(names.trash)], [[shardOf(uuid)], false])
        assert.deepEqual([listing(aside), aside.startsWith(names.trash)], [[], true])
      }
  })

  it('moves what is under an old key, with a new data key, and nothing else', async () => {
    const { store, files } = await filled(20)
    const done = keyOf()
    await store.put(done, sealedBy(current, Buffer.from('done')), never)
    const before = await collect(await store.get(done, undefined, never))
    const run = await rotate(store)
    for (const [key, bytes] of files) assert.deepEqual(await read(store, key), bytes)
    assert.deepEqual(await collect(await store.get(done, undefined, never)), before)
    assert.deepEqual(run.tally.keys, { 2: 21 })
    assert.equal(run.tally.moved, 20)
    assert.deepEqual([run.tally.shards, run.error], [256, undefined])
  })

  it('survives a store that fails every third call', async () => {
    const { store, files } = await filled(30)
    const run = await rotate(withRetry({ maxRetries: 10, firstDelayMs: 1 }, () => {})(flaky(store)))
    assert.deepEqual(run.faults, [])
    for (const [key, bytes] of files) assert.deepEqual(await read(store, key), bytes)
  })

  it('leaves an object that Orthanc removes in the meantime removed', async () => {
    for (const moment of ['get', 'stat', 'put', 'after'] as const) {
      const { store, sorted } = await filled(1)
      const [key = ''] = sorted
      let gets = 0
      const run = await rotate({
        ...store,
        get: async (k, range, signal) => {
          if (moment === 'get' && ++gets === 2) await store.remove(k, signal)
          return store.get(k, range, signal)
        },
        stat: async (k, signal) => {
          if (moment === 'stat') await store.remove(k, signal)
          return store.stat(k, signal)
        },
        put: async (k, body, signal) => {
          if (moment === 'put') await store.remove(k, signal)
          await store.put(k, body, signal)
          if (moment === 'after') await store.remove(k, signal)
        },
      })
      assert.equal(await store.stat(key, never), undefined, moment)
      assert.equal(run.tally.vanished, 1, moment)
      assert.deepEqual(run.faults, [], moment)
    }
  })

  it('says so when what was written reads back as something else', async () => {
    const { store } = await filled(1)
    const run = await rotate({
      ...store,
      put: (key, _body, signal) => store.put(key, sealedBy(current, Buffer.from('something else')), signal),
    })
    assert.match(run.faults[0]?.message ?? '', /reads back as something else/)
    assert.deepEqual([run.tally.failures, run.tally.keys, run.tally.unknown], [1, { 1: 1 }, 0])
  })

  it('goes on after a failed object, remembers it, and verifies it to its end the next time', async () => {
    const { store, files, sorted } = await filled(10)
    const [bad = '', foreign = ''] = [sorted[2], sorted[5]]
    const original = await collect(await store.get(bad, undefined, never))
    const damaged = Buffer.from(original)
    damaged[damaged.length - 1] = (damaged.at(-1) as number) ^ 1
    await store.put(bad, sourceOf(damaged), never)
    await store.put(foreign, sealedBy(stranger, files.get(foreign) as Buffer), never)
    const state = newState()
    const first = await rotate(store, { state })
    assert.deepEqual(first.faults.map(({ where }) => where.key).sort(), [bad, foreign].sort())
    assert.deepEqual([first.tally.keys, first.tally.failures], [{ 1: 1, 2: 8, 3: 1 }, 2])

    // Orthanc's backup brings the damaged one back; the other was written in the meantime, but badly.
    await store.put(bad, sourceOf(original), never)
    const broken = await collectSource(sealedBy(current, noise(50)))
    await store.put(foreign, sourceOf(broken.fill(0, 80, 90)), never)
    const looked = new Set<string>()
    const second = await rotate(
      {
        ...store,
        get(key, range, signal) {
          looked.add(key)
          return store.get(key, range, signal)
        },
      },
      { state },
    )
    assert.deepEqual([...looked].sort(), [bad, foreign].sort())
    assert.deepEqual([second.tally.keys, second.tally.moved], [{ 2: 10 }, 9])
    assert.deepEqual(
      second.faults.map(({ where }) => where.key),
      [foreign],
    )
  })

  it('verifies to its end what failed, also where it has to look at the whole shard again', async () => {
    const { store, sorted } = await filled(1)
    const [key = ''] = sorted
    const others = Array.from({ length: 40 }, () => keyOf(`${key.slice(5, 7)}${randomUUID().slice(2)}`))
    for (const other of others) await store.put(other, sealedBy(old, noise(10)), never)
    const damaged = await collectSource(sealedBy(current, noise(50)))
    const state = newState()
    const listed = (order: readonly string[]): Store => ({
      ...store,
      async *list(prefix, signal) {
        for (const one of order) if (one.startsWith(prefix)) yield (await store.stat(one, signal)) as Stat
      },
    })
    /** Ends after one object under its old key. What is written under `key` is damaged. */
    const begun = (order: readonly string[]) => {
      const stop = new AbortController()
      const put: Store['put'] = async (at, body, signal) => {
        if (at !== key) stop.abort()
        await store.put(at, at === key ? sourceOf(damaged.fill(0, 80, 90)) : body, signal)
      }
      return rotate({ ...listed(order), put }, { state, stop: stop.signal, concurrency: 1 })
    }
    await begun([key, ...others])
    assert.equal(await idOf(store, key), 2)
    await begun([...others, key])
    const second = await rotate(listed([...others, key]), { state })
    assert.deepEqual(
      second.faults.map(({ where }) => where.key),
      [key],
    )
    assert.deepEqual([second.tally.keys, second.tally.moved], [{ 2: 41 }, 40])
  })

  it('re-encrypts what is in the trash, and counts it', async () => {
    const { store, files } = await filled(1)
    const aside = trashKeyOf(naming, keyOf())
    await store.put(aside, sealedBy(old, Buffer.from('aside')), never)
    const run = await rotate(store)
    assert.deepEqual((await read(store, aside)).toString(), 'aside')
    assert.deepEqual([run.tally.keys, run.tally.moved], [{ 2: files.size + 1 }, 2])
  })

  it('re-encrypts what is put aside while it works', async () => {
    const { store, sorted } = await filled(20)
    const [first, last] = [sorted.at(0) as string, sorted.at(-1) as string]
    const aside = trashKeyOf(naming, last)
    let moved = false
    const moving: Store = {
      ...store,
      async get(key, range, signal) {
        if (key === first && !moved) {
          moved = true
          await store.put(aside, sealedBy(old, Buffer.from('aside')), never)
          await store.remove(last, never)
        }
        return await store.get(key, range, signal)
      },
    }
    const run = await rotate(moving, { concurrency: 1 })
    assert.equal((await read(store, aside)).toString(), 'aside')
    assert.deepEqual([run.tally.vanished, run.tally.failures], [1, 0])
  })

  it('does all places in one work, and says which had nothing', async () => {
    const [one, other, nothing] = [await filled(5), await filled(6), memoryStore()]
    const places = [one.store, { ...other.store, name: 'other' }, { ...nothing, name: 'nothing' }].map(store => ({
      ...{ store, names: sealedNames(naming) },
    }))
    const run = await rotate(one.store, { places })
    for (const { store, files } of [one, other])
      for (const [key, bytes] of files) assert.deepEqual(await read(store, key), bytes)
    assert.deepEqual([run.tally.keys, Object.keys(run.tally.empty)], [{ 2: 11 }, ['nothing']])
  })

  it('goes on in a store that does not list in the order of keys', async () => {
    const { store, files, sorted } = await filled(60)
    const shuffled = [...sorted].sort((a, b) => (a.slice(-8) < b.slice(-8) ? -1 : 1))
    const unordered: Store = {
      ...store,
      async *list(prefix, signal) {
        for (const key of shuffled) if (key.startsWith(prefix)) yield (await store.stat(key, signal)) as Stat
      },
    }
    const [state, stop] = [newState(), new AbortController()]
    let puts = 0
    const put: Store['put'] = async (key, body, signal) => {
      if (++puts === 20) stop.abort()
      await store.put(key, body, signal)
    }
    const first = await rotate({ ...unordered, put }, { state, stop: stop.signal })
    assert.equal(first.error?.code, 'Canceled')
    const second = await rotate(unordered, { state })
    for (const [key, bytes] of files) assert.deepEqual(await read(store, key), bytes)
    assert.deepEqual([second.tally.keys, second.tally.moved], [{ 2: files.size }, files.size])
  })

  it('refuses to go on with what names objects of others', async () => {
    const { store } = await filled(1)
    const shard: Shard = {
      number: 0,
      ...{ remember() {}, line() {}, failed() {}, async *given() {} },
      remembered: { whole: true, settled: emptyTally, failed: [{ place: 0, key: `elsewhere/${keyOf()}` }] },
    }
    const places = [{ store, names: sealedNames(naming) }]
    const keys = keyring(current, [old])
    const options = { places, keys, from: undefined, dryRun: false, concurrency: 1, identity: {} }
    await assert.rejects(new Rotation(options).shard(shard, never), { code: 'BadConfig' })
  })

  it('counts an object once that a listing has twice', async () => {
    const { store, files } = await filled(3)
    const run = await rotate({
      ...store,
      async *list(prefix, signal) {
        for await (const stat of store.list(prefix, signal)) yield* [stat, stat]
      },
    })
    assert.deepEqual(run.tally.keys, { 2: files.size })
  })

  it('reads again what the way to the store has changed', async () => {
    const { store, files } = await filled(4)
    let flips = 5
    const run = await rotate(
      {
        ...store,
        async get(key, range, signal) {
          const bytes = Buffer.from(await collect(await store.get(key, range, signal)))
          if (!range && flips-- > 0) bytes[90] = (bytes[90] ?? 0) ^ 1
          return { size: bytes.byteLength, body: sourceOf(bytes).open() }
        },
      },
      { again: (work, signal) => attempt(work, { maxRetries: 9, firstDelayMs: 1 }, signal, () => {}) },
    )
    assert.deepEqual(run.faults, [])
    for (const [key, bytes] of files) assert.deepEqual(await read(store, key), bytes)
  })

  it('stops taking objects when it is told to, finishes those under way, and goes on', async () => {
    const { store, files } = await filled(40)
    const [state, stop] = [newState(), new AbortController()]
    let puts = 0
    const run = await rotate(
      {
        ...store,
        async put(key, body, signal) {
          if (++puts === 10) stop.abort()
          await store.put(key, body, signal)
        },
      },
      { state, stop: stop.signal },
    )
    assert.ok(puts >= 10 && puts <= 12, `${puts} objects were written`)
    assert.deepEqual([run.error?.code, run.tally.moved, run.faults], ['Canceled', puts, []])
    const rest = await rotate(store, { state })
    assert.deepEqual([rest.tally.keys, rest.tally.moved, rest.tally.shards], [{ 2: files.size }, files.size, 256])
  })

  it('gives up a store that fails one object after the other', async () => {
    const { store } = await filled(100)
    const run = await rotate({ ...store, put: () => Promise.reject(new Fault('Denied', 'AccessDenied: no')) })
    assert.equal(run.error?.code, 'Denied')
    assert.match(run.error?.message ?? '', /20 files could not be/)
    assert.ok(run.faults.length >= 20 && run.faults.length <= 22)
    assert.ok(run.tally.shards < 256)
  })

  it('rejects when the store cannot be listed', async () => {
    const { store } = await filled(1)
    const list: Store['list'] = async function* (prefix, signal) {
      if (prefix !== 'pacs/') throw new Fault('Denied', 'AccessDenied')
      yield* store.list(prefix, signal)
    }
    assert.equal((await rotate({ ...store, list })).error?.code, 'Denied')
  })

  it('does not remember without bound what failed', async () => {
    const store = memoryStore()
    const keys = Array.from({ length: 1100 }, () => keyOf(`ab${randomUUID().slice(2)}`)).sort()
    for (const key of keys) await store.put(key, sealedBy(stranger, Buffer.alloc(0)), never)
    const state = newState()
    const first = await rotate(store, { state })
    assert.deepEqual([first.tally.failures, first.tally.keys], [1100, { 3: 1100 }])
    const second = await rotate(store, { state, keys: keyring(current, [stranger]) })
    assert.deepEqual([second.tally.failures, second.tally.keys], [0, { 2: 1100 }])
  })
})
