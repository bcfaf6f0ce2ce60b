/** `GET /cloud-storage/ready`: when it asks the store, what counts as an answer, and what a probe is told. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { sourceOf } from '../src/bytes.ts'
import { Fault, type FaultCode } from '../src/fault.ts'
import { readyRoute } from '../src/routes/ready.ts'
import { newCounts, withMetrics } from '../src/stores/wrappers/metrics.ts'
import { httpReplies } from '../src/wire/http-replies.ts'
import { memoryStore } from './support/memory-store.ts'
import { never } from './support/store.suite.ts'

const S = 1000

/** A store that answers as `reply` says, watched by a clock that the test moves. */
function site(reply: () => Promise<void> = async () => {}, lookMs?: number) {
  let served: number | undefined
  const seen = { clock: 1_000 * S, asked: 0, lines: [] as string[], reply }
  const route = readyRoute(
    {
      store: 's3:b',
      servedAt: () => served,
      async check() {
        seen.asked++
        await seen.reply()
        served = seen.clock
      },
      warn: line => seen.lines.push(line),
    },
    { now: () => seen.clock, ...(lookMs && { lookMs }) },
  )
  return {
    seen,
    work: () => {
      served = seen.clock
    },
    pass: (ms: number) => {
      seen.clock += ms
    },
    async probe() {
      const answer = await route.methods.GET?.({} as never, {} as never, never)
      assert.ok(answer && 'body' in answer)
      return { status: answer.status, ...JSON.parse(Buffer.from(answer.body).toString()) }
    },
  }
}

const away = async () => {
  throw new Fault('Unavailable', 'connect ECONNREFUSED', { remedy: 'Nothing listens there.' })
}

describe('readiness', () => {
  it('asks a store of which it knows nothing, and waits for its answer', async () => {
    const { probe, seen } = site()
    assert.deepEqual(await probe(), { status: 200, Ready: true, Store: 's3:b' })
    assert.equal(seen.asked, 1)
  })

  it('asks once for however many probes, and never sooner than 10 s after the last question', async () => {
    const { probe, pass, seen } = site(away)
    const answers = await Promise.all(Array.from({ length: 100 }, probe))
    assert.ok(answers.every(({ status }) => status === 503))
    pass(9 * S)
    assert.equal((await probe()).status, 503)
    assert.equal(seen.asked, 1)
    pass(1 * S)
    await Promise.all([probe(), probe()])
    assert.equal(seen.asked, 2)
  })

  it('does not ask a store that works', async () => {
    const { probe, pass, work, seen } = site()
    for (let i = 0; i < 100; i++) {
      work()
      pass(9 * S)
      assert.equal((await probe()).status, 200)
    }
    assert.equal(seen.asked, 0)
  })

  it('asks an idle one every 10 s, and does not let the probe wait', async () => {
    const { probe, pass, work, seen } = site(() => new Promise(() => {}))
    work()
    pass(10 * S)
    assert.equal((await probe()).status, 200)
    assert.equal(seen.asked, 1)
  })

  it('is over when the store has not served for 30 s, and begins again with its next answer', async () => {
    const { probe, pass, work, seen } = site(away)
    work()
    for (const _ of [10, 20]) {
      pass(10 * S)
      assert.equal((await probe()).status, 200)
    }
    pass(10 * S)
    const before = Date.now()
    const { Since, ...rest } = await probe()
    assert.deepEqual(rest, {
      status: 503,
      Ready: false,
      Store: 's3:b',
      Problem: 'Unavailable',
      Details: 'cannot use s3:b: connect ECONNREFUSED [Unavailable]. Nothing listens there.',
    })
    const since = Date.parse(Since) + 30 * S
    assert.ok(since >= before && since <= Date.now(), Since)
    work()
    assert.equal((await probe()).status, 200)
    assert.deepEqual(
      seen.lines.map(line => line.replace(/:.*/, '')),
      ['not ready, which readiness probes are told', 'ready again'],
    )
  })

  it('is refused by a store that answers but refuses us', async () => {
    const { probe } = site(() => Promise.reject(new Fault('Denied', 'AccessDenied')))
    const { status, Problem } = await probe()
    assert.deepEqual([status, Problem], [503, 'Denied'])
  })

  it('does not wait for a store that hangs longer than it may, and asks it no second time', async () => {
    const { probe, pass, seen } = site(() => new Promise(() => {}), 20)
    for (let i = 0; i < 3; i++) {
      const { status, Problem } = await probe()
      assert.deepEqual([status, Problem], [503, 'Timeout'])
      pass(20 * S)
    }
    assert.equal(seen.asked, 1)
  })

  it('needs no store where new files go to the disk', async () => {
    const answer = await readyRoute(undefined).methods.GET?.({} as never, {} as never, never)
    assert.ok(answer && 'status' in answer)
    assert.equal(answer.status, 200)
  })
})

describe('what shows that a store serves us', () => {
  const verbs = {
    put: store => store.put('k', sourceOf(Buffer.from('x')), never),
    get: store => store.get('k', undefined, never),
    stat: store => store.stat('k', never),
    remove: store => store.remove('k', never),
    check: store => store.check(never),
  } satisfies Record<string, (store: ReturnType<typeof memoryStore>) => Promise<unknown>>

  it('every success', async () => {
    for (const [verb, use] of Object.entries(verbs)) {
      const counts = newCounts()
      const memory = memoryStore()
      if (verb === 'get') await verbs.put(memory)
      await use(withMetrics(counts)(memory))
      assert.notEqual(counts.servedAt, undefined, verb)
    }
  })

  it('of the failures, only the proof that one object is absent or archived', async () => {
    const serving: readonly FaultCode[] = ['NotFound', 'Archived']
    for (const code of Object.keys(httpReplies) as FaultCode[])
      for (const [verb, use] of Object.entries(verbs)) {
        const counts = newCounts()
        const fail = () => Promise.reject(new Fault(code, 'words'))
        const broken = { ...memoryStore(), put: fail, get: fail, stat: fail, remove: fail, check: fail }
        await assert.rejects(use(withMetrics(counts)(broken)), { code })
        assert.equal(counts.servedAt !== undefined, serving.includes(code), `${verb}: ${code}`)
      }
  })

  it('each piece of a long body', async () => {
    const counts = newCounts()
    const memory = memoryStore()
    await verbs.put(memory)
    const { body } = await withMetrics(counts)(memory).get('k', undefined, never)
    counts.servedAt = undefined
    for await (const _ of body) assert.notEqual(counts.servedAt, undefined)
  })
})
