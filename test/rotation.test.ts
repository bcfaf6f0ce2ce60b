/** Rotation over a store in memory, with the accidents that a real store cannot be made to have at the right moment. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { ContentType } from '../src/area/area.ts'
import { keysOf } from '../src/area/naming.ts'
import { collect, collectSource, type Range, type Source, sourceOf } from '../src/bytes.ts'
import { Fault } from '../src/fault.ts'
import { sealedNames } from '../src/rotate/names.ts'
import { type Remembered, Rotation, type RotationOptions } from '../src/rotate/rotation.ts'
import { a1, keyIdOf } from '../src/seal/a1.ts'
import { keyring, masterKey } from '../src/seal/keyring.ts'
import type { Store } from '../src/stores/store.ts'
import { attempt, withRetry } from '../src/stores/wrappers/retry.ts'
import { flaky } from './support/flaky.ts'
import { memoryStore } from './support/memory-store.ts'
import { noise } from './support/store.suite.ts'

const never = new AbortController().signal
const old = masterKey(1, Buffer.alloc(32, 1).toString('base64'))
const current = masterKey(2, Buffer.alloc(32, 2).toString('base64'))
const stranger = masterKey(3, Buffer.alloc(32, 3).toString('base64'))
const naming = { rootPath: 'pacs', structure: 'flat', legacyUnknownFiles: false } as const
const MB = 1024 * 1024

const keyOf = (uuid = randomUUID() as string) => keysOf(naming, '.enc', { uuid, type: 'dicom' })[0]
const sealedBy = (key: typeof old, bytes: Buffer) => a1(keyring(key, [])).seal(sourceOf(bytes))
const read = async (store: Store, key: string) =>
  collect(a1(keyring(current, [])).unseal(await store.get(key, undefined, never)))
const idOf = async (store: Store, key: string) =>
  keyIdOf(await collect(await store.get(key, { start: 0, end: 6 }, never)))

/** `count` small objects under the old key, and what is in them. */
async function filled(count: number, store = memoryStore()) {
  const files = new Map<string, Buffer>()
  for (let i = 0; i < count; i++) {
    const key = keyOf()
    files.set(key, noise(100 + i, i + 1))
    await store.put(key, sealedBy(old, files.get(key) as Buffer), never)
  }
  return { store, files, sorted: [...files.keys()].sort() }
}

function rotation(store: Store, more: Partial<RotationOptions> = {}) {
  const faults: Fault[] = []
  const made = new Rotation({
    store,
    keys: keyring(current, [old]),
    names: sealedNames(naming),
    from: undefined,
    dryRun: false,
    concurrency: 3,
    resume: undefined,
    onFailure: fault => faults.push(fault),
    ...more,
  })
  return Object.assign(made, { faults })
}

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
        assert.equal(
          names.shareBefore(
            keysOf({ ...naming, structure, rootPath }, '.enc', {
              uuid: `80${uuid.slice(2, 2)}00${uuid.slice(4)}`,
              type: 'dicom',
            })[0],
          ),
          0.5,
        )
      }
  })

  it('moves what is under an old key, with a new data key, and nothing else', async () => {
    const { store, files } = await filled(20)
    const done = keyOf()
    await store.put(done, sealedBy(current, Buffer.from('done')), never)
    const before = await collect(await store.get(done, undefined, never))
    const run = rotation(store)
    await run.run(never)
    for (const [key, bytes] of files) assert.deepEqual(await read(store, key), bytes)
    assert.deepEqual(await collect(await store.get(done, undefined, never)), before)
    assert.deepEqual(run.tally.keys, { 2: 21 })
    assert.equal(run.tally.moved, 20)
    assert.ok(run.complete)
  })

  it('survives a store that fails every third call', async () => {
    const { store, files } = await filled(30)
    const run = rotation(withRetry({ maxRetries: 10, firstDelayMs: 1 }, () => {})(flaky(store)))
    await run.run(never)
    assert.deepEqual(run.faults, [])
    for (const [key, bytes] of files) assert.deepEqual(await read(store, key), bytes)
  })

  it('leaves an object that Orthanc removes in the meantime removed', async () => {
    for (const moment of ['get', 'stat', 'put', 'after'] as const) {
      const { store, sorted } = await filled(1)
      const [key = ''] = sorted
      let gets = 0
      const run = rotation({
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
      await run.run(never)
      assert.equal(await store.stat(key, never), undefined, moment)
      assert.equal(run.tally.vanished, 1, moment)
      assert.deepEqual(run.faults, [], moment)
    }
  })

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
        const run = rotation(wrap(store))
        await run.run(never)
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
      const run = rotation(
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
      await run.run(never)
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
    const run = rotation(
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
    await run.run(never)
    assert.deepEqual([late, run.faults], [false, []])
    assert.ok((await read(store, key)).equals(bytes))
  })

  it('says so when what was written reads back as something else', async () => {
    const { store } = await filled(1)
    const run = rotation({
      ...store,
      put: (key, _body, signal) => store.put(key, sealedBy(current, Buffer.from('something else')), signal),
    })
    await run.run(never)
    assert.match(run.faults[0]?.message ?? '', /reads back as something else/)
    assert.deepEqual([...run.failed.values()], [1])
  })

  it('goes on after a failed object, remembers it, and verifies it to its end the next time', async () => {
    const { store, files, sorted } = await filled(10)
    const [bad = '', foreign = ''] = [sorted[2], sorted[5]]
    const original = await collect(await store.get(bad, undefined, never))
    const damaged = Buffer.from(original)
    damaged[damaged.length - 1] = (damaged.at(-1) as number) ^ 1
    await store.put(bad, sourceOf(damaged), never)
    await store.put(foreign, sealedBy(stranger, files.get(foreign) as Buffer), never)
    const first = rotation(store)
    await first.run(never)
    assert.deepEqual([...first.remembered.failed].sort(), [bad, foreign])
    assert.equal(first.remembered.after, sorted.at(-1))
    assert.deepEqual(first.tally.keys, { 2: 8 })

    // Orthanc's backup brings the damaged one back; the other was written in the meantime, but badly.
    await store.put(bad, sourceOf(original), never)
    const broken = await collectSource(sealedBy(current, noise(50)))
    await store.put(foreign, sourceOf(broken.fill(0, 80, 90)), never)
    const looked = new Set<string>()
    const second = rotation(
      {
        ...store,
        get(key, range, signal) {
          looked.add(key)
          return store.get(key, range, signal)
        },
      },
      { resume: first.remembered },
    )
    await second.run(never)
    assert.deepEqual([...looked].sort(), [bad, foreign])
    assert.deepEqual(second.tally.keys, { 2: 9 })
    assert.deepEqual([...second.failed.keys()], [foreign])
  })

  it('remembers a true state at every moment', async () => {
    const { store, files, sorted } = await filled(40)
    const states: Remembered[] = []
    const run = rotation({
      ...store,
      async put(key, body, signal) {
        // Some are much slower than those after them.
        for (let i = key.charCodeAt(5) % 5; i > 0; i--) await turn()
        await store.put(key, body, signal)
        states.push(run.remembered)
        for (const before of sorted.slice(0, sorted.indexOf(run.remembered.after ?? '') + 1))
          assert.equal(await idOf(store, before), 2)
      },
    })
    await run.run(never)
    for (const state of states)
      assert.equal(
        Object.values(state.tally.keys).reduce((a, b) => a + b, 0),
        sorted.indexOf(state.after ?? '') + 1,
      )
    assert.equal(run.tally.moved, files.size)
  })

  it('takes what it remembers for nothing when the store does not list in the order of keys', async () => {
    const { store, files, sorted } = await filled(20)
    const [first = '', second = ''] = sorted
    const middle = sorted[10] ?? ''
    /** What comes first in order comes last in the listing, behind a key that an earlier run was done with. */
    const shuffled: Store = {
      ...store,
      async *list(prefix, signal) {
        for (const key of [...sorted.slice(2), second, first]) {
          const stat = await store.stat(key, signal)
          if (stat?.key.startsWith(prefix)) yield stat
        }
      },
    }
    const tally = { keys: { 2: 11 }, plain: 0, moved: 11, movedBytes: 1, vanished: 0 }
    const run = rotation(shuffled, { resume: { after: middle, tally, failed: [] } })
    await run.run(never)
    for (const [key, bytes] of files) assert.deepEqual(await read(store, key), bytes)
    assert.deepEqual(run.tally.keys, { 2: files.size })
    assert.ok(run.complete)
    assert.equal(run.remembered.after, undefined)
    const anew = rotation(shuffled, { resume: run.remembered })
    await anew.run(never)
    assert.deepEqual(anew.tally.keys, { 2: files.size })
  })

  it('counts an object once that a listing has twice', async () => {
    const { store, files } = await filled(3)
    const run = rotation({
      ...store,
      async *list(prefix, signal) {
        for await (const stat of store.list(prefix, signal)) yield* [stat, stat]
      },
    })
    await run.run(never)
    assert.deepEqual([run.tally.keys, run.listed], [{ 2: files.size }, files.size])
  })

  it('reads again what the way to the store has changed', async () => {
    const { store, files } = await filled(4)
    let flips = 5
    const run = rotation(
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
    await run.run(never)
    assert.deepEqual(run.faults, [])
    for (const [key, bytes] of files) assert.deepEqual(await read(store, key), bytes)
  })

  it('stops taking objects when it is told to, and finishes those under way', async () => {
    const { store, files } = await filled(40)
    const stop = new AbortController()
    let puts = 0
    const run = rotation({
      ...store,
      async put(key, body, signal) {
        if (++puts === 10) stop.abort()
        await store.put(key, body, signal)
      },
    })
    await run.run(stop.signal)
    assert.ok(!run.complete)
    assert.ok(puts >= 10 && puts <= 12, `${puts} objects were written`)
    assert.equal(run.tally.moved, puts)
    const rest = rotation(store, { resume: run.remembered })
    await rest.run(never)
    assert.equal(rest.tally.moved, files.size)
    assert.ok(rest.complete)
  })

  it('gives up a store that fails one object after the other', async () => {
    const { store } = await filled(100)
    const run = rotation({ ...store, put: () => Promise.reject(new Fault('Denied', 'AccessDenied: no')) })
    await assert.rejects(
      run.run(never),
      (fault: Fault) => fault.code === 'Denied' && /20 objects failed/.test(fault.message),
    )
    assert.ok(run.faults.length >= 20 && run.faults.length <= 22)
    assert.ok(!run.complete)
  })

  it('rejects when the store cannot be listed', async () => {
    const { store } = await filled(1)
    const run = rotation({
      ...store,
      // biome-ignore lint/correctness/useYield: it fails before its first object
      async *list() {
        throw new Fault('Denied', 'AccessDenied')
      },
    })
    await assert.rejects(run.run(never), /AccessDenied/)
  })

  it('does not remember without bound what failed', async () => {
    const store = memoryStore()
    const keys = Array.from({ length: 1100 }, () => keyOf()).sort()
    for (const key of keys) await store.put(key, sealedBy(stranger, Buffer.alloc(0)), never)
    const run = rotation(store)
    await run.run(never)
    assert.equal(run.failed.size, 1100)
    assert.equal(run.remembered.failed.length, 1000)
    assert.equal(run.remembered.after, keys[999])
  })
})
