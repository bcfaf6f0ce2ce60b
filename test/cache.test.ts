/** The cache on disk over a store in memory: what it serves, what it keeps, and what it must never serve. */
import assert from 'node:assert/strict'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { type Bytes, type Content, collect, sourceOf } from '../src/bytes.ts'
import { Fault } from '../src/fault.ts'
import { cacheIn, cacheSetting, copiesIn, MB, startedCache } from './support/cache-folder.ts'
import { memoryStore } from './support/memory-store.ts'
import { describeStore, never, noise } from './support/store.suite.ts'

for (const onWrite of [false, true])
  describeStore(`cache(memory), OnWrite ${onWrite}`, async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'ocs-cache-')), 'cache')
    const cache = cacheIn(path, { onWrite })
    await cache.start()
    return {
      store: cache.around(memoryStore()),
      async dispose() {
        await cache.close()
        rmSync(dirname(path), { recursive: true })
      },
    }
  })

describe('a copy', () => {
  for (const size of [0, 1, 1000, 256 * 1024, 256 * 1024 + 1, MB, 3 * MB + 5])
    it(`of ${size} bytes serves the second reading, and ranges`, async () => {
      const { asked, cache, read, write } = await cacheSetting()
      const bytes = noise(size)
      await write('k', bytes)
      assert.ok((await read('k')).equals(bytes))
      await cache.settled()
      assert.ok((await read('k')).equals(bytes))
      for (const [start, end] of [
        [0, size],
        [0, 1],
        [size - 1, size],
        [Math.floor(size / 3), Math.floor((2 * size) / 3) + 1],
      ] as const)
        if (size > 0) assert.ok((await read('k', { start, end })).equals(bytes.subarray(start, end)))
      assert.equal(asked.length, 1)
      assert.equal(cache.figures().misses, 1)
    })

  it('is the object as the store has it, in a file with mode 0600', async () => {
    const { path, cache, read, write } = await cacheSetting()
    await write('k', noise(5000))
    await read('k')
    await cache.settled()
    const [file = ''] = copiesIn(path)
    assert.ok(readFileSync(file).includes(noise(5000)))
    assert.equal(statSync(file).mode & 0o777, 0o600)
  })

  it('is made of a range only if the range is the whole object', async () => {
    const { store, cache } = await cacheSetting()
    await store.put('k', sourceOf(noise(1000)), never)
    const whole = cache.around({
      ...store,
      get: async (key, range, signal) => ({ ...(await store.get(key, range, signal)), whole: true }),
    })
    await collect(await cache.around(store).get('k', { start: 0, end: 999 }, never))
    await cache.settled()
    assert.equal(cache.figures().files, 0)
    await collect(await whole.get('k', { start: 0, end: 1000 }, never))
    await cache.settled()
    assert.equal(cache.figures().files, 1)
  })

  it('is not made of a body that broke, or that the reader left', async () => {
    const { store, cache } = await cacheSetting()
    await store.put('k', sourceOf(noise(3 * MB)), never)
    const breaking = cache.around({
      ...store,
      async get(key, range, signal): Promise<Content> {
        const { size, body } = await store.get(key, range, signal)
        async function* broken(): Bytes {
          yield* body
          throw new Fault('Corrupt', 'another digest')
        }
        return { size, body: broken() }
      },
    })
    await assert.rejects(collect(await breaking.get('k', undefined, never)))
    for await (const _ of (await cache.around(store).get('k', undefined, never)).body) break
    await cache.settled()
    assert.equal(cache.figures().files, 0)
  })

  it('outlives a restart, and a crash', async () => {
    const { path, store, asked, cache, read, write } = await cacheSetting()
    await write('k', noise(1000))
    await read('k')
    await cache.settled()
    const next = await startedCache(path)
    assert.deepEqual(await collect(await next.around(store).get('k', undefined, never)), noise(1000))
    assert.equal(next.figures().hits, 1)
    await next.settled()
    assert.equal(next.figures().files, 1)
    assert.equal(asked.length, 1)
  })

  it('of one store is never taken for that of another', async () => {
    const { path, cache, read, write } = await cacheSetting()
    await write('k', noise(1000))
    await read('k')
    await cache.settled()
    const other = memoryStore()
    await other.put('k', sourceOf(noise(500)), never)
    const next = await startedCache(path, { storeId: 'another store' })
    assert.deepEqual(await collect(await next.around(other).get('k', undefined, never)), noise(500))
  })

  it('that does not open is dropped, and the store is asked', async () => {
    let key = 1
    const { cache, asked, read, write } = await cacheSetting({ opens: start => start[0] === key })
    await write('k', Buffer.from([1, 2, 3]))
    await read('k')
    await cache.settled()
    key = 2
    await write('k', Buffer.from([2, 2, 3]))
    assert.deepEqual(await read('k'), Buffer.from([2, 2, 3]))
    await cache.settled()
    assert.deepEqual(await read('k'), Buffer.from([2, 2, 3]))
    assert.equal(asked.length, 2)
    assert.equal(cache.figures().dropped, 1)
  })

  it('is dropped by a reader who finds that it is not right', async () => {
    const { cache, cached, asked, read, write } = await cacheSetting()
    await write('k', noise(10))
    await read('k')
    await cache.settled()
    const content = await cached.get('k', undefined, never)
    await collect(content)
    content.dropCopy?.()
    await read('k')
    assert.equal(asked.length, 2)
  })
})

describe('a removal', () => {
  it('drops the copy at once', async () => {
    const { path, cache, cached, read, write } = await cacheSetting()
    await write('k', noise(1000))
    await read('k')
    await cache.settled()
    await cached.remove('k', never)
    assert.deepEqual(copiesIn(path), [])
    await assert.rejects(read('k'), { code: 'NotFound' })
  })

  it('drops a copy that is being made, also when the reader goes on later', async () => {
    const { path, cache, cached, write } = await cacheSetting()
    const bytes = noise(3 * MB)
    await write('k', bytes)
    const { body, size } = await cached.get('k', undefined, never)
    const chunks = body[Symbol.asyncIterator]()
    const first = await chunks.next()
    await cached.remove('k', never)
    const seen: Uint8Array[] = [first.value]
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) seen.push(next.value)
    assert.equal(Buffer.concat(seen).byteLength, size)
    await cache.settled()
    assert.deepEqual(copiesIn(path), [])
    assert.equal(cache.figures().files, 0)
  })

  it('lets no read put back what it removes, whichever of the two ends first', async () => {
    const { path, store, cache } = await cacheSetting()
    await store.put('k', sourceOf(noise(1000)), never)
    const gate = Promise.withResolvers<void>()
    const slow = cache.around({
      ...store,
      async get(key, range, signal) {
        const content = await store.get(key, range, signal)
        await gate.promise
        return content
      },
      async remove() {
        await gate.promise
      },
    })
    const before = slow.get('k', undefined, never)
    const removal = slow.remove('k', never)
    const during = slow.get('k', undefined, never)
    gate.resolve()
    await Promise.all([collect(await before), collect(await during), removal])
    await cache.settled()
    assert.deepEqual(copiesIn(path), [])
  })

  it('that fails has dropped the copy all the same', async () => {
    const { path, store, cache, read, write } = await cacheSetting()
    await write('k', noise(1000))
    await read('k')
    await cache.settled()
    const failing = cache.around({ ...store, remove: () => Promise.reject(new Fault('Denied', 'no')) })
    await assert.rejects(failing.remove('k', never), { code: 'Denied' })
    assert.deepEqual(copiesIn(path), [])
  })
})

describe('a write', () => {
  it('with OnWrite is kept, and read without the store', async () => {
    const { asked, cache, cached, read } = await cacheSetting({ onWrite: true })
    await cached.put('k', sourceOf(noise(2 * MB)), never)
    await cache.settled()
    assert.ok((await read('k')).equals(noise(2 * MB)))
    assert.equal(asked.length, 0)
  })

  it('without OnWrite is not kept', async () => {
    const { cache, cached } = await cacheSetting()
    await cached.put('k', sourceOf(noise(1000)), never)
    await cache.settled()
    assert.equal(cache.figures().files, 0)
  })

  for (const onWrite of [true, false])
    it(`replaces the copy, OnWrite ${onWrite}`, async () => {
      const { cache, cached, read, write } = await cacheSetting({ onWrite })
      await write('k', noise(1000))
      await read('k')
      await cache.settled()
      await cached.put('k', sourceOf(noise(500)), never)
      await cache.settled()
      assert.ok((await read('k')).equals(noise(500)))
    })

  it('that the store did not acknowledge is not kept', async () => {
    const { path, store, cache } = await cacheSetting({ onWrite: true })
    const failing = cache.around({
      ...store,
      async put(_key, body) {
        for await (const _ of body.open());
        throw new Fault('Unavailable', 'the answer was lost')
      },
    })
    await assert.rejects(failing.put('k', sourceOf(noise(1000)), never))
    await cache.settled()
    assert.deepEqual(copiesIn(path), [])
  })

  it('whose first pass broke, and that the store repeated, is right or not kept', async () => {
    const { store, cache, read } = await cacheSetting({ onWrite: true })
    let passes = 0
    const source = {
      size: 2000,
      async *open(): Bytes {
        yield noise(2000).subarray(0, 1000)
        if (passes++ === 0) throw new Fault('Unavailable', 'the pull broke')
        yield noise(2000).subarray(1000)
      },
    }
    const retrying = cache.around({
      ...store,
      put: (key, body, signal) => store.put(key, body, signal).catch(() => store.put(key, body, signal)),
    })
    await retrying.put('k', source, never)
    await cache.settled()
    assert.ok((await read('k')).equals(noise(2000)))
  })
})

describe('room', () => {
  const file = 200 * 1024

  it('never takes more than MaxSize, and what was used last stays', async () => {
    const { path, cache, read, write } = await cacheSetting({ maxBytes: MB })
    for (const key of ['a', 'b', 'c', 'd']) {
      await write(key, noise(file))
      await read(key)
      await cache.settled()
    }
    await read('a')
    for (const key of ['e', 'f']) {
      await write(key, noise(file))
      await read(key)
      await cache.settled()
      assert.ok(cache.figures().bytes <= MB)
    }
    assert.equal(copiesIn(path).length, 5)
    assert.equal(cache.figures().evictions, 1)
    const { hits } = cache.figures()
    await read('a')
    assert.equal(cache.figures().hits, hits + 1)
  })

  it('the order of use outlives a restart', async () => {
    const { path, store, cache, read, write } = await cacheSetting({ maxBytes: MB })
    const known = new Set<string>()
    for (const [i, key] of ['a', 'b', 'c', 'd', 'e'].entries()) {
      await write(key, noise(file))
      await read(key)
      await cache.settled()
      const used = Date.now() / 1000 - 60 + i // a second apart: two files of one moment have no order
      for (const made of copiesIn(path)) if (!known.has(made)) utimesSync(made, used, used)
      for (const made of copiesIn(path)) known.add(made)
    }
    await read('a')
    await cache.close()
    const next = await startedCache(path, { maxBytes: MB })
    const cached = next.around(store)
    await write('f', noise(file))
    await collect(await cached.get('f', undefined, never))
    await next.settled()
    const { hits } = next.figures()
    await collect(await cached.get('a', undefined, never))
    assert.equal(next.figures().hits, hits + 1, 'a was used last')
    await collect(await cached.get('b', undefined, never))
    assert.equal(next.figures().hits, hits + 1, 'b had to go')
  })

  it('an object larger than half of it is not kept', async () => {
    const { cache, read, write } = await cacheSetting({ maxBytes: MB })
    await write('k', noise(600 * 1024))
    await read('k')
    await cache.settled()
    assert.equal(cache.figures().files, 0)
  })

  it('a copy that nobody used for MaxDays goes', async () => {
    const { path, cache, read, write } = await cacheSetting()
    for (const key of ['old', 'new']) {
      await write(key, noise(1000))
      await read(key)
      await cache.settled()
      for (const copy of key === 'old' ? copiesIn(path) : []) utimesSync(copy, 1, 1)
    }
    const next = await startedCache(path)
    await next.tidy()
    assert.equal(copiesIn(path).length, 1)
    assert.equal(next.figures().evictions, 1)
  })

  it('what a crash has left unfinished is removed, and nothing that is not of the cache', async () => {
    const { path, cache, read, write } = await cacheSetting()
    await write('k', noise(1000))
    await read('k')
    await cache.settled()
    const [copy = ''] = copiesIn(path)
    const folder = dirname(copy)
    writeFileSync(join(folder, '.0123456789abcdef.x1.tmp'), 'half a copy')
    const others = ['note.txt', '.0123.tmp', 'ab'].map(name => join(folder, name))
    for (const other of [...others, join(path, 'note.txt')]) writeFileSync(other, 'not ours')
    const next = await startedCache(path, { maxBytes: MB, maxAgeMs: 0 })
    await next.settled()
    await next.tidy()
    assert.deepEqual(copiesIn(path), [])
    assert.deepEqual(readdirSync(folder).sort(), ['.0123.tmp', 'ab', 'note.txt'])
    assert.ok(existsSync(join(path, 'note.txt')))
  })
})
