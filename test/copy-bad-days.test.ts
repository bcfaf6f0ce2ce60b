/** Stores that fail in the middle, runs that are cut off and go on, and what may be removed at the target. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { sourceOf } from '../src/bytes.ts'
import { refuseOnePlace } from '../src/copy/apart.ts'
import { type Removed, refuseRemoval, removeExtra } from '../src/copy/extra.ts'
import type { Side } from '../src/copy/side.ts'
import { newTally } from '../src/copy/tally.ts'
import { typesOf } from '../src/copy/types.ts'
import { Fault, isCode } from '../src/fault.ts'
import type { Stat } from '../src/stores/store.ts'
import { withRateLimit } from '../src/stores/wrappers/rate-limit.ts'
import { changed, copy, keysIn, makeSide, never, newState, read, write } from './support/copy-stage.ts'
import { memoryStore } from './support/memory-store.ts'
import { md5Of } from './support/verify-stage.ts'

async function filled(count: number, from = makeSide()): Promise<Side> {
  for (let i = 0; i < count; i++) await write(from)
  return from
}

/** Tells MD5s, as S3 does; `told`: in their place. */
const telling = (told?: string) =>
  changed(memoryStore('store'), store => {
    const sums = new Map<string, string>()
    const md5 = (stat: Stat): Stat => ({ ...stat, md5: told ?? sums.get(stat.key) })
    return {
      async put(key, body, signal) {
        const chunks: Uint8Array[] = []
        for await (const chunk of body.open()) chunks.push(chunk)
        sums.set(key, md5Of(Buffer.concat(chunks)))
        await store.put(key, body, signal)
      },
      async *list(prefix, signal) {
        for await (const stat of store.list(prefix, signal)) yield md5(stat)
      },
    }
  })

describe('a copy on a bad day', () => {
  it('ends when the store is away, and goes on from its state file: what was copied is not copied again', async () => {
    const from = await filled(200)
    const away = new Fault('Unavailable', 'the store is away', { retryable: false })
    for (const verb of ['put', 'list'] as const) {
      let left = verb === 'put' ? 60 : 70
      const inner = memoryStore('target')
      const to = makeSide({
        store: changed(inner, store => ({
          put: async (...args) => {
            if (verb === 'put' && --left < 0) throw away
            await store.put(...args)
          },
          async *list(...args) {
            if (verb === 'list' && --left < 0) throw away
            yield* store.list(...args)
          },
        })),
      })
      const state = newState()
      const first = await copy(from, to, { state })
      assert.ok(isCode(first.error, 'Unavailable'), verb)
      assert.ok(!first.complete)
      const there = await keysIn({ ...to, store: inner })
      assert.ok(there.length > 0 && there.length < 200, `${verb}: ${there.length}`)
      left = Number.POSITIVE_INFINITY
      let puts = 0
      const counting = changed(to.store, store => ({
        put: async (...args) => {
          puts++
          await store.put(...args)
        },
      }))
      const second = await copy(from, { ...to, store: counting }, { state })
      assert.deepEqual([second.error, second.failures, second.complete], [undefined, [], true])
      assert.equal(puts, 200 - there.length)
      assert.deepEqual(await keysIn(to), await keysIn(from))
      assert.deepEqual([second.tally.source.objects, second.tally.missing], [200, 0])
    }
  })

  it('believes its state file only as far as both sides are still as they were', async () => {
    for (const mostListed of [10_000, 1]) {
      const from = await filled(200)
      let left = 60
      const inner = memoryStore('target')
      const failing = changed(inner, store => ({
        put: async (...args) => {
          if (--left < 0) throw new Fault('Unavailable', 'the store is away', { retryable: false })
          await store.put(...args)
        },
      }))
      const to = makeSide({ store: failing })
      const state = newState()
      assert.ok((await copy(from, to, { state, mostListed })).error)
      // Another, empty disk is there now, or somebody has removed them.
      for (const key of await keysIn(to)) await inner.remove(key, never)
      left = Number.POSITIVE_INFINITY
      const { tally, complete, failures } = await copy(from, to, { state, mostListed })
      assert.deepEqual([failures, complete], [[], true])
      assert.deepEqual([tally.source.objects, tally.target.objects, tally.copied.objects], [200, 200, 200])
      assert.deepEqual(await keysIn(to), await keysIn(from))
    }
  })

  it('ends when the credentials are refused, or the disk of the target is full, and not after a million lines', async () => {
    const from = await filled(300)
    for (const code of ['Denied', 'TooLarge'] as const) {
      let left = 50
      const to = makeSide({
        store: changed(memoryStore('target'), store => ({
          put: async (...args) => {
            if (--left < 0) throw new Fault(code, 'no more', { where: { verb: 'write' } })
            await store.put(...args)
          },
        })),
      })
      const { error, failures } = await copy(from, to)
      assert.ok(error)
      assert.ok(failures.length >= 20 && failures.length < 60, `${failures.length}`)
    }
  })

  it('ends with Ctrl-C, after all that was under way', async () => {
    const from = await filled(100)
    const stop = new AbortController()
    let running = 0
    let puts = 0
    const to = makeSide({
      store: changed(memoryStore('target'), store => ({
        put: async (key, body, signal) => {
          running++
          if (++puts === 20) stop.abort(new Fault('Canceled', 'interrupted by SIGINT'))
          await store.put(key, body, signal).finally(() => running--)
        },
      })),
    })
    const { error } = await copy(from, to, {}, stop.signal)
    assert.ok(isCode(error, 'Canceled'))
    assert.equal(running, 0)
    assert.ok(puts < 100)
  })

  it('proves by what the target lists: an acknowledged object that is not there is a failure', async () => {
    const from = await filled(20)
    const [lost = ''] = await keysIn(from)
    const to = makeSide({
      store: changed(memoryStore('target'), store => ({
        put: async (key, ...rest) => {
          if (key !== lost) await store.put(key, ...rest)
        },
      })),
    })
    const { failures, tally, complete } = await copy(from, to)
    assert.deepEqual([failures.length, tally.failures, tally.equal.written, complete], [1, 1, 19, false])
    assert.match(failures[0]?.describe() ?? '', /acknowledged the object, but does not list it/)
  })

  it('says on what equality rests, and does not believe a digest that is none', async () => {
    for (const [told, other] of [
      [undefined, 'md5'],
      ['0'.repeat(32), 'written'],
    ] as const) {
      const [from, to] = [makeSide({ store: telling() }), makeSide({ store: telling(told) })]
      await filled(30, from)
      const { tally, failures } = await copy(from, to)
      assert.deepEqual(failures, [])
      assert.ok(tally.equal[other] >= 20, JSON.stringify(tally.equal))
      assert.equal(tally.equal.md5 + tally.equal.bytes + tally.equal.written, 30)
    }
    const [from, to] = [makeSide({ store: telling() }), makeSide({ store: telling() })]
    const file = await write(from)
    await to.store.put(file.key, sourceOf(Buffer.from(file.bytes).fill(1)), never)
    const { failures } = await copy(from, to)
    assert.match(failures[0]?.describe() ?? '', /has another object under this name/)
  })

  it('takes the same file under another data key for the same file', async () => {
    const [from, to] = [
      makeSide({ encryption: 'on', store: telling() }),
      makeSide({ encryption: 'on', store: telling() }),
    ]
    const file = await write(from)
    await copy(from, to)
    await write(from, file)
    const { tally, failures } = await copy(from, to)
    assert.deepEqual([failures, tally.equal.bytes, tally.copied.objects], [[], 1, 0])
    assert.ok((await read(to, file)).equals(file.bytes))
  })
})

describe('two names of one place', () => {
  const noLeft = async (side: Side, count: number) => assert.equal((await keysIn(side)).length, count)

  it('are found by a small object, which does not stay', async () => {
    const from = await filled(2)
    const same = makeSide({ structure: 'legacy', encryption: 'on', store: changed(from.store, () => ({})) })
    await assert.rejects(refuseOnePlace(from, same, 'a name', never), {
      code: 'BadRequest',
      message: /one place under two names/,
    })
    await noLeft(from, 2)
    const below = makeSide({ rootPath: 'pacs/new', store: from.store })
    const other = makeSide()
    for (const to of [below, other]) await refuseOnePlace(from, to, 'a name', never)
    await noLeft(from, 2)
    await noLeft(other, 0)
    const silent = makeSide({
      store: changed(from.store, () => ({
        stat: () => Promise.reject(new Fault('Unavailable', 'away')),
      })),
    })
    await assert.rejects(refuseOnePlace(silent, other, 'a name', never), { code: 'Unavailable' })
    await noLeft(other, 0)
  })
})

describe('what only the target has', () => {
  /** `ago`: the count is so old, in milliseconds. */
  const remove = (from: Side, to: Side, most: number, ago = -1000): Promise<Removed> => {
    const countedAt = performance.now() - ago
    return removeExtra({ from, to, concurrency: 4, most, countedAt, mostListed: 5, onFailure: () => {} }, never)
  }

  it('goes, and nothing else', async () => {
    for (const structure of ['flat', 'legacy'] as const) {
      const [from, to] = [makeSide({ structure }), makeSide({ encryption: 'on' })]
      const files = []
      for (let i = 0; i < 40; i++) files.push(await write(from))
      await copy(from, to, { files })
      const extra = [await write(to), await write(to)]
      const others = ['pacs/cloud-storage-trash/x', 'pacs/abc.txt', 'notes', `other/${extra[0]?.uuid}.dcm`]
      for (const key of others) await to.store.put(key, sourceOf(Buffer.from('mine')), never)
      // Of a file that the source has, under a name that a copy does not write.
      await write({ ...makeSide(), store: to.store }, files[0])
      const { tally, lines } = await copy(from, to, { files })
      assert.deepEqual([tally.extra, tally.otherNames], [2, 1])
      assert.deepEqual(
        lines
          .filter(({ kind }) => kind === 'extra')
          .map(({ key }) => key)
          .sort(),
        extra.map(({ key }) => key).sort(),
      )
      assert.deepEqual(await remove(from, to, tally.extra), { removed: 2, kept: 0, failures: 0 })
      const left = await keysIn(to)
      assert.equal(left.length, 40 + others.length + 1)
      for (const key of others) assert.ok(left.includes(key))
    }
  })

  it('stays when it was written after the count, or when it is of today and nobody has counted', async () => {
    const [from, to] = [makeSide(), makeSide()]
    const file = await write(from)
    await copy(from, to, { files: [file] })
    await write(to)
    assert.deepEqual(await remove(from, to, 1, 60_000), { removed: 0, kept: 1, failures: 0 })
    const { tally } = await copy(from, to, { files: [file] })
    assert.deepEqual([tally.extra, tally.youngExtra], [1, 1])
    const of = { ...tally, target: { ...tally.target, objects: 1000 } }
    assert.throws(() => refuseRemoval(of, true, undefined), /1 of the 1 extra objects were written within the last day/)
    refuseRemoval(of, true, 1)
    refuseRemoval({ ...of, youngExtra: 0 }, true, undefined)
    assert.deepEqual(await remove(from, to, 1), { removed: 1, kept: 0, failures: 0 })
  })

  it('stays when the source has it after all, cannot be asked, or when there is more of it than was counted', async () => {
    const to = makeSide()
    const file = await write(to)
    const hiding = (stat: 'there' | 'fails') =>
      changed(memoryStore('source'), store => ({
        async *list() {},
        stat: async (key, signal) => {
          if (stat === 'fails') throw new Fault('Unavailable', 'away', { retryable: false })
          return key === file.key ? await to.store.stat(key, signal) : await store.stat(key, signal)
        },
      }))
    assert.deepEqual(await remove(makeSide({ store: hiding('there') }), to, 1), { removed: 0, kept: 1, failures: 0 })
    assert.deepEqual(await remove(makeSide({ store: hiding('fails') }), to, 1), { removed: 0, kept: 0, failures: 1 })
    await write(to)
    await assert.rejects(remove(makeSide(), to, 1), /more extra objects now than the 1/)
    assert.ok((await keysIn(to)).length >= 1)
    const broken = changed(memoryStore('source'), () => ({
      // biome-ignore lint/correctness/useYield: it fails first
      async *list() {
        throw new Fault('Denied', 'no')
      },
    }))
    const before = await keysIn(to)
    await assert.rejects(remove(makeSide({ store: broken }), to, 9), { code: 'Denied' })
    assert.deepEqual(await keysIn(to), before)
  })

  it('may go only within bounds', () => {
    const tally = (source: number, target: number, extra: number, missing = 0) => ({
      ...newTally(),
      ...{ extra, missing },
      source: { objects: source, bytes: 1, strangers: 0 },
      target: { objects: target, strangers: 0 },
    })
    refuseRemoval(tally(95, 100, 5), true, undefined)
    refuseRemoval(tally(50, 100, 50), true, 50)
    for (const [given, complete, expect, why] of [
      [tally(0, 100, 5), true, 5, /no file of Orthanc/],
      [tally(94, 100, 6), true, undefined, /more than one in twenty/],
      [tally(50, 100, 50), true, 49, /50 objects would go, not 49/],
      [tally(95, 100, 5), false, 5, /not everything/],
      [tally(95, 100, 5, 1), true, 5, /not everything/],
    ] as const)
      assert.throws(() => refuseRemoval(given, complete, expect), why)
  })
})

describe('what a copy is made of', () => {
  it('finds the type of every file of a shard', () => {
    const uuid = (n: number) => `00${n.toString(16).padStart(6, '0')}-0000-4000-8000-000000000000`
    const types = ['dicom', 'dicom-as-json', 'dicom-until-pixel-data', 'unknown'] as const
    const group = (n: number) => {
      const type = types[n % 4] as (typeof types)[number]
      return { uuid: uuid(n), seen: [], file: { uuid: uuid(n), type, size: 1, md5: undefined } }
    }
    const capital = { ...group(1), uuid: '00ABCDEF-0000-4000-8000-000000000000' }
    const typeOf = typesOf({ groups: () => [capital, ...Array.from({ length: 5000 }, (_, n) => group(2 * n))] }, 0)
    for (let n = 0; n < 5000; n++) {
      assert.equal(typeOf(uuid(2 * n)), types[(2 * n) % 4])
      assert.equal(typeOf(uuid(2 * n + 1)), undefined)
    }
    assert.equal(typeOf(capital.uuid), 'dicom-as-json')
  })

  it('goes no faster than it is told', async context => {
    context.mock.timers.enable({ apis: ['setTimeout'] })
    let now = 0
    context.mock.method(performance, 'now', () => now)
    const store = withRateLimit({ objects: 10, bytes: 1000 })(memoryStore())
    let done = 0
    const puts = Array.from({ length: 5 }, (_, i) =>
      store.put(`a${i}`, sourceOf(Buffer.alloc(500)), never).then(() => done++),
    )
    const counts: number[] = []
    for (let step = 0; step < 40; step++) {
      for (let turn = 0; turn < 50; turn++) await null
      counts.push(done)
      now += 100
      context.mock.timers.tick(100)
    }
    await Promise.all(puts)
    assert.equal(counts.indexOf(5) >= 25, true, counts.join(' '))
    const stop = new AbortController()
    const waits = withRateLimit({ bytes: 1 })(memoryStore()).put('b', sourceOf(Buffer.alloc(9)), stop.signal)
    stop.abort(new Fault('Canceled', 'enough'))
    await assert.rejects(waits, { code: 'Canceled' })
  })
})
