/** The first promise of src/stores/store.ts: nothing but Faults, whatever aborts a verb, and in its own time. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { it } from 'node:test'
import { type Bytes, type Source, sourceOf } from '../../src/bytes.ts'
import { Fault } from '../../src/fault.ts'
import type { Store } from '../../src/stores/store.ts'
import { noise } from './noise.ts'

const never = new AbortController().signal
const ABORT_MS = 40

interface Abort {
  readonly signal: AbortSignal
  /** Resolves when the signal is aborted. */
  now(): Promise<void>
}

function byHand(reason?: Fault): Abort {
  const controller = new AbortController()
  return { signal: controller.signal, now: async () => controller.abort(reason) }
}

function byTime(): Abort {
  const signal = AbortSignal.timeout(ABORT_MS)
  return {
    signal,
    async now() {
      // The timer of such a signal keeps no process alive.
      const alive = setTimeout(() => {}, 60_000)
      if (!signal.aborted) await once(signal, 'abort')
      clearTimeout(alive)
    },
  }
}

const ways = [
  ['abort()', () => byHand(), 'Canceled'],
  ['AbortSignal.timeout()', byTime, 'Timeout'],
  ['a Fault', () => byHand(new Fault('TooLarge', 'on purpose')), 'TooLarge'],
] as const

/** The fault that `verb` rejects with; it may not throw. */
async function faultOf(verb: string, ask: () => Promise<unknown>): Promise<Fault> {
  let asked: Promise<unknown> | undefined
  assert.doesNotThrow(() => {
    asked = ask()
  }, `${verb} throws`)
  const error = await asked?.then(
    () => assert.fail(`${verb} succeeds`),
    reason => reason,
  )
  assert.ok(error instanceof Fault, `${verb} rejects with ${error}`)
  return error
}

async function consume(items: AsyncIterable<unknown>, meanwhile?: () => Promise<void>): Promise<void> {
  for await (const _ of items) await meanwhile?.()
}

/** Of a test of a store: `open` gives the store, which is made before the first of them runs. */
export function testAborts(open: () => Store): void {
  for (const [what, begin, code] of ways) {
    it(`rejects every verb with a Fault that ${what} has aborted before`, async () => {
      const store = open()
      await store.put('aborts/there', sourceOf(noise(10)), never)
      const { signal, now } = begin()
      await now()
      const body = sourceOf(noise(10))
      const leftover = { key: 'aborts/new', id: 'id', what: 'unfinished upload', started: new Date() } as const
      const verbs = {
        put: () => store.put('aborts/new', body, signal),
        get: async () => consume((await store.get('aborts/there', undefined, signal)).body),
        getRange: async () => consume((await store.get('aborts/there', { start: 1, end: 2 }, signal)).body),
        stat: () => store.stat('aborts/there', signal),
        statOfNothing: () => store.stat('aborts/new', signal),
        remove: () => store.remove('aborts/there', signal),
        list: () => consume(store.list('aborts/', signal)),
        leftovers: () => consume(store.leftovers('aborts/', signal)),
        removeLeftover: () => store.removeLeftover(leftover, signal),
        check: () => store.check(signal),
        status: () => store.check(signal, { purpose: 'status' }),
        ...(store.holds && { holds: () => Promise.resolve(store.holds?.('aborts/there', body, signal)) }),
      }
      for (const [verb, ask] of Object.entries(verbs)) assert.equal((await faultOf(verb, ask)).code, code, verb)
      assert.ok(await store.stat('aborts/there', never))
      assert.equal(await store.stat('aborts/new', never), undefined)
    })

    it(`rejects with a Fault what ${what} aborts in the middle`, async () => {
      const store = open()
      const bytes = noise(8_000_000)
      for (const name of ['a', 'b']) await store.put(`aborts/long/${name}`, sourceOf(bytes), never)
      for (const size of [1_000, bytes.byteLength]) {
        const { signal, now } = begin()
        const slow: Source = {
          size,
          async *open({ start, end } = { start: 0, end: size }): Bytes {
            const middle = Math.floor((start + end) / 2)
            yield bytes.subarray(start, middle)
            await now()
            yield bytes.subarray(middle, end)
          },
        }
        assert.equal((await faultOf('put', () => store.put('aborts/cut', slow, signal))).code, code, `put ${size}`)
        assert.equal(await store.stat('aborts/cut', never), undefined)
      }
      const reading = begin()
      const get = async () => consume((await store.get('aborts/long/a', undefined, reading.signal)).body, reading.now)
      assert.equal((await faultOf('get', get)).code, code, 'get')
      const listing = begin()
      const list = () => consume(store.list('aborts/long/', listing.signal), listing.now)
      assert.equal((await faultOf('list', list)).code, code, 'list')
    })
  }

  it('rejects with a Fault when a source breaks with something else', async () => {
    const store = open()
    for (const size of [1_000, 8_000_000]) {
      const breaking: Source = {
        size,
        async *open(range = { start: 0, end: size }): Bytes {
          yield noise(Math.floor((range.end - range.start) / 2))
          throw new RangeError('broken on purpose')
        },
      }
      await faultOf('put', () => store.put('aborts/broken', breaking, never))
      assert.equal(await store.stat('aborts/broken', never), undefined)
    }
  })
}
