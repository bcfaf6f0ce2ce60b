import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { checkedContent, collect, type Range, sourceOf } from '../src/bytes.ts'
import { Fault, type FaultOptions } from '../src/fault.ts'
import { attempt, withRetry } from '../src/stores/wrappers/retry.ts'
import { memoryStore } from './support/memory-store.ts'
import { never, noise } from './support/store.suite.ts'

const policy = { maxRetries: 3, firstDelayMs: 1 }
const silent = () => {}

/** Fails `times` times, then succeeds; counts the calls. */
function failing(times: number, options: FaultOptions = {}) {
  const work = async () => {
    work.calls++
    if (work.calls <= times) throw new Fault('Unavailable', 'down', options)
    return work.calls
  }
  work.calls = 0
  return work
}

describe('attempt', () => {
  it('repeats until it works', async () => assert.equal(await attempt(failing(3), policy, never, silent), 4))

  it('gives up after the last retry, with a fault that nobody repeats', async () => {
    const work = failing(9)
    await assert.rejects(attempt(work, policy, never, silent), {
      code: 'Unavailable',
      retryable: false,
      message: /after 4 attempts/,
    })
    assert.equal(work.calls, 4)
  })

  it('does not repeat what cannot get better', async () => {
    const work = failing(1, { retryable: false })
    await assert.rejects(attempt(work, policy, never, silent), { message: 'down' })
    assert.equal(work.calls, 1)
  })

  it('does not repeat a defect', async () => {
    let calls = 0
    const work = async () => {
      calls++
      throw new TypeError('a defect')
    }
    await assert.rejects(attempt(work, policy, never, silent), { code: 'Internal' })
    assert.equal(calls, 1)
  })

  it('ends at once when it is aborted while it waits', async () => {
    const abort = new AbortController()
    const work = failing(9, { retryAfterMs: 20_000 })
    const attempted = attempt(work, policy, abort.signal, () => abort.abort(new Fault('Canceled', 'gone')))
    await assert.rejects(attempted, { code: 'Canceled', message: 'gone' })
    assert.equal(work.calls, 1)
  })

  it('says each repetition in one line', async () => {
    const lines: string[] = []
    await attempt(failing(2), policy, never, line => lines.push(line))
    assert.deepEqual(
      lines,
      [1, 2].map(n => `attempt ${n} failed and is repeated: down [Unavailable]`),
    )
  })
})

describe('withRetry', () => {
  const bytes = noise(1000)

  /** Breaks each body after `chunk` bytes. */
  function breaking(chunk: number) {
    const asked: (Range | undefined)[] = []
    const store = {
      ...memoryStore(),
      async get(_key: string, range: Range | undefined) {
        asked.push(range)
        const { start, end } = range ?? { start: 0, end: bytes.byteLength }
        return checkedContent(end - start, cut(bytes.subarray(start, end), chunk))
      },
    }
    return { store, asked }
  }
  async function* cut(part: Buffer, chunk: number) {
    yield part.subarray(0, chunk)
    if (part.byteLength > chunk) throw new Fault('Unavailable', 'connection reset')
  }

  it('resumes a broken body at the byte it reached', async () => {
    const { store, asked } = breaking(400)
    assert.deepEqual(await collect(await withRetry(policy, silent)(store).get('x', undefined, never)), bytes)
    assert.deepEqual(asked, [undefined, { start: 400, end: 1000 }, { start: 800, end: 1000 }])
  })

  it('resumes a range inside the range', async () => {
    const { store, asked } = breaking(50)
    const range = { start: 100, end: 230 }
    assert.deepEqual(
      await collect(await withRetry(policy, silent)(store).get('x', range, never)),
      bytes.subarray(100, 230),
    )
    assert.deepEqual(asked, [range, { start: 150, end: 230 }, { start: 200, end: 230 }])
  })

  it('says of an answer that announced more than there is that it is damaged, so that it is read again', async () => {
    const inner = memoryStore()
    await inner.put('x', sourceOf(bytes), never)
    const store = {
      ...inner,
      async get(key: string, range: Range | undefined, signal: AbortSignal) {
        const { body } = await inner.get(key, range, signal)
        return checkedContent(bytes.byteLength + 10, body)
      },
    }
    await assert.rejects(async () => collect(await withRetry(policy, silent)(store).get('x', undefined, never)), {
      code: 'Corrupt',
      retryable: true,
    })
  })

  it('gives a body up that breaks too often', async () => {
    const { store } = breaking(10)
    await assert.rejects(async () => collect(await withRetry(policy, silent)(store).get('x', undefined, never)), {
      code: 'Unavailable',
    })
  })

  it('hands over what opens after it was given up, at first or in the middle, so that somebody lets go of it', async () => {
    for (const late of [1, 2]) {
      const abort = new AbortController()
      let opened = 0
      let held = 0
      /** As an open file: held from the start on, let go of at the end of its body. */
      async function* body(from: number) {
        try {
          yield bytes.subarray(from, from + 400)
          throw new Fault('Unavailable', 'broke')
        } finally {
          held--
        }
      }
      const get = async (_key: string, range: Range | undefined) => {
        held++
        if (++opened === late) abort.abort(new Fault('Canceled', 'gone'))
        const start = range?.start ?? 0
        return { size: bytes.byteLength - start, body: body(start) }
      }
      const store = withRetry(policy, silent)({ ...memoryStore(), get })
      const reading = async () => collect(await store.get('key', undefined, abort.signal))
      await assert.rejects(reading(), Fault)
      assert.deepEqual([opened, held], [late, 0])
    }
  })

  it('calls a write a success that has happened when it was given up', async () => {
    const abort = new AbortController()
    const store = memoryStore()
    const put: typeof store.put = async (key, body, signal) => {
      await store.put(key, body, signal)
      abort.abort(new Fault('Timeout', 'too late'))
    }
    await withRetry(policy, silent)({ ...store, put }).put('key', sourceOf(bytes), abort.signal)
    assert.ok(await store.stat('key', never))
  })

  it('asks once only whether the store lets us in', async () => {
    const check = failing(9)
    await assert.rejects(
      withRetry(policy, silent)({ ...memoryStore(), check: async () => void (await check()) }).check(never),
    )
    assert.equal(check.calls, 1)
  })
})
