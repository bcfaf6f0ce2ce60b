/**
 * The contract of src/stores/store.ts as one suite, for every store and every wrapper. It asserts codes, not messages.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Bytes, collect, type Range, type Source, sourceOf } from '../../src/bytes.ts'
import { Fault } from '../../src/fault.ts'
import type { Stat, Store } from '../../src/stores/store.ts'
import { testAborts } from './aborts.suite.ts'
import { noise } from './noise.ts'
import { sha256 } from './sha256.ts'

export interface Made {
  readonly store: Store
  dispose(): Promise<void>
}

const never = new AbortController().signal

/** In chunks, as the plugin's slices come. */
function chunked(bytes: Buffer, chunk = 100_000): Source {
  return {
    size: bytes.byteLength,
    async *open(range = { start: 0, end: bytes.byteLength }) {
      for (let at = range.start; at < range.end; at += chunk) yield bytes.subarray(at, Math.min(at + chunk, range.end))
    },
  }
}

/** More than one page of every provider: S3 and Google give 1 000 keys at a time, Azure 5 000. */
export const MANY = 5_001

/**
 * `listed`: how many objects the test of long listings makes; a wrapper over a store that was tested with MANY needs
 * fewer. `storageClass`: of new objects, where the store tells it.
 */
export function describeStore(
  name: string,
  make: () => Promise<Made>,
  { listed = 1_001, storageClass }: { listed?: number; storageClass?: string } = {},
): void {
  describe(name, () => {
    let made: Made
    let store: Store

    before(async () => {
      made = await make()
      store = made.store
    })
    after(() => made?.dispose())

    const put = (key: string, bytes: Buffer, signal = never) => store.put(key, chunked(bytes), signal)
    const putAll = async (all: readonly string[]) => {
      const waiting = all.values()
      const worker = async () => {
        for (const key of waiting) await put(key, noise(1))
      }
      await Promise.all(Array.from({ length: 25 }, worker))
    }
    const get = async (key: string, range?: Range) => collect(await store.get(key, range, never))
    const keys = async (prefix: string) => {
      const found: Stat[] = []
      for await (const stat of store.list(prefix, never)) found.push(stat)
      return found.map(stat => stat.key)
    }

    it('lets us in', () => store.check(never))

    for (const size of [0, 1, 65_535, 65_536, 65_537, 1_048_583, 6_291_457])
      it(`gives back ${size} bytes, whole and in ranges`, async () => {
        const bytes = noise(size, size)
        await put(`sizes/${size}`, bytes)
        assert.equal(sha256(await get(`sizes/${size}`)), sha256(bytes))
        assert.equal((await store.stat(`sizes/${size}`, never))?.size, size)
        if (size === 0) return
        const ranges = [
          [0, 1],
          [size - 1, size],
          [0, size],
          [Math.floor(size / 3), Math.ceil((size * 2) / 3)],
        ] as const
        for (const [start, end] of ranges)
          assert.equal(sha256(await get(`sizes/${size}`, { start, end })), sha256(bytes.subarray(start, end)))
      })

    it('takes the same bytes again under the same key', async () => {
      await put('again', noise(1000))
      await put('again', noise(1000))
      assert.deepEqual(await get('again'), noise(1000))
    })

    it('says NotFound before the body, never in it', async () => {
      await assert.rejects(store.get('absent', undefined, never), { code: 'NotFound' })
      await assert.rejects(store.get('absent', { start: 0, end: 10 }, never), { code: 'NotFound' })
      await assert.rejects(store.get('absent/below', undefined, never), { code: 'NotFound' })
    })

    it('says BadRequest to a range that is not wholly inside', async () => {
      await put('ranges', noise(100))
      for (const [start, end] of [
        [0, 101],
        [99, 101],
        [100, 101],
        [500, 600],
      ] as const)
        await assert.rejects(store.get('ranges', { start, end }, never), { code: 'BadRequest' }, `${start}-${end}`)
    })

    it('tells what is there, and that something is not', async () => {
      const start = Date.now()
      await put('stat', noise(77))
      const stat = await store.stat('stat', never)
      assert.equal(stat?.key, 'stat')
      assert.equal(stat?.size, 77)
      const modified = stat?.modified.getTime() ?? 0
      assert.ok(modified > start - 60_000 && modified < Date.now() + 60_000)
      assert.equal(await store.stat('absent', never), undefined)
      if (storageClass !== undefined)
        for await (const listed of store.list('stat', never)) assert.equal(listed.storageClass, storageClass)
    })

    it('removes what is there, and succeeds when nothing is', async () => {
      await put('remove/me', noise(10))
      await store.remove('remove/me', never)
      assert.equal(await store.stat('remove/me', never), undefined)
      await store.remove('remove/me', never)
      await store.remove('never/was', never)
    })

    it('removes many at once, what is there and what is not, and says so of each', async () => {
      const there = Array.from({ length: 300 }, (_, i) => `remove-many/${i}.dcm`)
      const odd = [
        'a b',
        'a+b',
        'a%20b',
        'a&b=<c>',
        `it's "here"!*`,
        'ü/日本/\u{1f600}',
        ' spaces ',
        'tab\there',
        'q?r#s',
      ]
      const all = [...there, ...odd.map(key => `remove-many/odd/${key}`)]
      await putAll([...all, 'remove-many/stays', 'remove-many/odd/spaces'])
      const absent = ['remove-many/absent', 'remove-many/absent/below', 'remove-many/1']
      const removals = await store.removeMany([...all, ...absent, ...all.slice(0, 5)], never)
      assert.deepEqual([...removals.keys()].sort(), [...all, ...absent].sort())
      assert.deepEqual(
        [...removals].filter(([, removal]) => removal !== 'gone'),
        [],
      )
      assert.deepEqual(await keys('remove-many/'), ['remove-many/odd/spaces', 'remove-many/stays'])
      assert.deepEqual([...(await store.removeMany([], never))], [])
    })

    it('judges each key of a removal of many by itself', async () => {
      await put('remove-some/1', noise(3))
      const removals = await store.removeMany(['remove-some/1', 'remove-some/..', 'remove-some/2'], never)
      const impossible = removals.get('remove-some/..')
      if (impossible !== 'gone') assert.equal(impossible?.code, 'BadRequest') // any name will do for memory
      assert.deepEqual([removals.get('remove-some/1'), removals.get('remove-some/2')], ['gone', 'gone'])
      assert.deepEqual(await keys('remove-some/'), [])
    })

    it('removes nothing of many when it was aborted before', async () => {
      await put('remove-none', noise(3))
      const before = AbortSignal.abort(new Fault('Canceled', 'gone'))
      await assert.rejects(store.removeMany(['remove-none'], before), { code: 'Canceled' })
      assert.ok(await store.stat('remove-none', never))
    })

    it('lists in the order of bytes, exactly what has the prefix', async () => {
      const wanted = [
        'list/a',
        'list/a.dcm',
        'list/a.dcm.enc',
        'list/a/b',
        'list/a/b/c.d',
        'list/ab',
        'list/z',
        'list/\u{e4}',
        'list/\u{1f600}',
      ]
      const files = wanted.filter(key => key !== 'list/a' && key !== 'list/a/b') // a folder cannot be a file, too
      for (const key of [...files].reverse()) await put(key, noise(3))
      await put('lisu', noise(3))
      const ordered = (some: string[]) => some.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      assert.deepEqual(await keys('list/'), ordered([...files]))
      assert.deepEqual(await keys('list/a.'), ['list/a.dcm', 'list/a.dcm.enc'])
      assert.deepEqual(await keys('list/a/'), ['list/a/b/c.d'])
      assert.deepEqual(await keys('nothing'), [])
    })

    it('keeps odd keys apart', async () => {
      const odd = [
        'a b',
        'a+b',
        'a%20b',
        'a&b=c',
        "it's (here)!*",
        'ü/日本/\u{1f600}',
        'x~y_z-0',
        'q?r#s',
        'semi;colon:@,$',
      ]
      for (const [i, key] of odd.entries()) await put(`odd/${key}`, noise(50, i))
      for (const [i, key] of odd.entries()) assert.deepEqual(await get(`odd/${key}`), noise(50, i), key)
      assert.equal((await keys('odd/')).length, odd.length)
      for (const key of odd) await store.remove(`odd/${key}`, never)
      assert.deepEqual(await keys('odd/'), [])
    })

    for (const size of [5_000, 2_500_000, 8_000_000])
      for (const [what, open] of [
        ['ends early', () => chunked(noise(size - 1)).open()],
        ['goes on too long', () => chunked(noise(size + 1)).open()],
        [
          'breaks',
          async function* (): Bytes {
            yield noise(size / 2)
            throw new Fault('Canceled', 'broken on purpose')
          },
        ],
      ] as const)
        it(`shows nothing of ${size} bytes whose source ${what}`, async () => {
          const body: Source = { size, open: range => (range ? chunked(noise(size)).open(range) : open()) }
          const sliced: Source = {
            size,
            open: range => (!range || range.end === size ? breakAt(open(), range) : body.open(range)),
          }
          await assert.rejects(store.put('partial', sliced, never), (error: unknown) => error instanceof Fault)
          assert.equal(await store.stat('partial', never), undefined)
          assert.deepEqual(await keys('partial'), [])
        })

    for (const size of [1_000, 9_000_000])
      it(`leaves nothing of ${size} bytes when it is aborted`, async () => {
        const before = AbortSignal.abort(new Fault('Canceled', 'gone'))
        await assert.rejects(put('aborted', noise(size), before), { code: 'Canceled' })
        await assert.rejects(store.get('aborted', undefined, before), { code: 'Canceled' })
        const during = new AbortController()
        const slow: Source = {
          size,
          async *open(range) {
            for await (const chunk of chunked(noise(size), Math.ceil(size / 10)).open(range)) {
              yield chunk
              during.abort(new Fault('Timeout', 'too late'))
              await new Promise(resolve => setTimeout(resolve, 1))
            }
          },
        }
        await assert.rejects(store.put('aborted', slow, during.signal), { code: 'Timeout' })
        assert.equal(await store.stat('aborted', never), undefined)
      })

    testAborts(() => store)

    it('stops a body that is being read when it is aborted', async () => {
      await put('long', noise(8_000_000))
      const abort = new AbortController()
      const { body } = await store.get('long', undefined, abort.signal)
      await assert.rejects(
        async () => {
          for await (const _ of body) abort.abort(new Fault('Canceled', 'enough'))
        },
        { code: 'Canceled' },
      )
    })

    it('can be left in the middle of a body', async () => {
      await put('left', noise(8_000_000))
      for (let i = 0; i < 5; i++)
        for await (const chunk of (await store.get('left', undefined, never)).body) {
          assert.ok(chunk.byteLength > 0)
          break
        }
      assert.equal(sha256(await get('left')), sha256(noise(8_000_000)))
    })

    it('does twenty things at a time', async () => {
      const all = Array.from({ length: 20 }, (_, i) => noise(300_000 + i, i))
      await Promise.all(all.map((bytes, i) => put(`many/${i}`, bytes)))
      const back = await Promise.all(all.map((_, i) => get(`many/${i}`)))
      assert.deepEqual(back.map(sha256), all.map(sha256))
      await Promise.all(all.map((_, i) => store.remove(`many/${i}`, never)))
      assert.deepEqual(await keys('many/'), [])
    })

    it('does a hundred different things at a time', async () => {
      const bytes = noise(20_000)
      const [there, doomed] = ['hundred/there', 'hundred/doomed']
      await Promise.all([put(there, bytes), put(doomed, bytes)])
      const things = [
        (i: number) => put(`hundred/new/${i}`, bytes),
        async () => assert.deepEqual(await get(there), bytes),
        async (i: number) => assert.deepEqual(await get(there, { start: i, end: i + 9 }), bytes.subarray(i, i + 9)),
        async () => assert.equal((await store.stat(there, never))?.size, bytes.byteLength),
        async () => assert.equal(await store.stat('hundred/absent', never), undefined),
        () => assert.rejects(store.get('hundred/absent', undefined, never), { code: 'NotFound' }),
        () => store.remove(doomed, never), // all but one come too late, which is no failure
        () => store.remove('hundred/absent', never),
        () => put(there, bytes),
        async () => assert.deepEqual(await keys(there), [there]),
      ] as const
      await Promise.all(Array.from({ length: 100 }, (_, i) => (things[i % things.length] as (i: number) => unknown)(i)))
      assert.equal((await keys('hundred/new/')).length, 10)
      assert.equal(await store.stat(doomed, never), undefined)
    })

    it('keeps keys below several folders, and folders that begin alike apart', async () => {
      const root = 'hospital/radiology/orthanc-1/files'
      const names = ['0a1b2c3d-0000-4000-8000-00000000000a.dcm', '0a1b2c3d-0000-4000-8000-00000000000a.dcm.head']
      for (const name of names) await put(`${root}/${name}`, noise(100, name.length))
      await put(`${root}2/${names[0]}`, noise(7))
      for (const name of names) {
        assert.deepEqual(await get(`${root}/${name}`), noise(100, name.length))
        assert.equal((await store.stat(`${root}/${name}`, never))?.key, `${root}/${name}`)
      }
      const whole = names.map(name => `${root}/${name}`)
      assert.deepEqual(await keys(`${root}/`), whole)
      assert.deepEqual(await keys('hospital/radiology/'), [...whole, `${root}2/${names[0]}`])
      assert.equal(await store.stat(root, never), undefined)
      await store.remove(`${root}/${names[0]}`, never)
      assert.deepEqual(await keys(`${root}/`), whole.slice(1))
    })

    it(`lists ${listed} objects, each once and in order`, async () => {
      const wanted = Array.from({ length: listed }, (_, i) => `listing/${String(i).padStart(5, '0')}`)
      await putAll(wanted)
      assert.deepEqual(await keys('listing/'), wanted)
    })
  })
}

/** For stores that open slices: only the slice at the end shows the fault of the whole. */
async function* breakAt(whole: Bytes, range: Range | undefined): Bytes {
  if (!range) return yield* whole
  let at = 0
  for await (const chunk of whole) {
    const from = Math.max(range.start - at, 0)
    at += chunk.byteLength
    if (from < chunk.byteLength) yield chunk.subarray(from)
  }
}

export { chunked, never, noise, sourceOf }
