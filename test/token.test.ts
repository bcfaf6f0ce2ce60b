import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Fault } from '../src/fault.ts'
import { cachedToken, type Token } from '../src/stores/http/token.ts'
import { attempt } from '../src/stores/wrappers/retry.ts'
import { never } from './support/store.suite.ts'

const MINUTE = 60_000
const unreachable = () => new Fault('Unavailable', 'no credentials: nobody answers')

/** A token service whose answers the test gives, one after the other. */
function service() {
  const asked: { give(value: string, minutes: number): void; fail(error: unknown): void }[] = []
  const warnings: string[] = []
  const tokens = cachedToken(
    () =>
      new Promise<Token>((resolve, reject) => {
        asked.push({
          give: (value, minutes) => resolve({ value, expiresAt: Date.now() + minutes * MINUTE }),
          fail: reject,
        })
      }),
    line => warnings.push(line),
  )
  return { tokens, asked, warnings }
}

async function first(minutes: number) {
  const all = service()
  const got = all.tokens.get(never)
  all.asked[0]?.give('old', minutes)
  assert.equal(await got, 'old')
  return all
}

describe('a token', () => {
  it('is fetched once, however many ask', async () => {
    const { tokens, asked } = service()
    const all = Promise.all([1, 2, 3].map(() => tokens.get(never)))
    asked[0]?.give('t', 60)
    assert.deepEqual(await all, ['t', 't', 't'])
    assert.equal(asked.length, 1)
  })

  it('is renewed behind the scenes: while the old one is good nobody waits, however slow the service is', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: 0 })
    const { tokens, asked, warnings } = await first(60)
    t.mock.timers.tick(54 * MINUTE)
    assert.equal(await tokens.get(never), 'old')
    assert.equal(asked.length, 1)
    t.mock.timers.tick(2 * MINUTE)
    for (let i = 0; i < 5; i++) assert.equal(await tokens.get(never), 'old')
    assert.equal(asked.length, 2, 'one at a time')
    asked[1]?.give('new', 60)
    await turn()
    assert.equal(await tokens.get(never), 'new')
    assert.deepEqual(warnings, [])
  })

  it('that cannot be renewed is a WARNING, once, and not asked for with every request', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: 0 })
    const { tokens, asked, warnings } = await first(60)
    t.mock.timers.tick(56 * MINUTE)
    for (let failures = 1; failures <= 3; failures++) {
      assert.equal(await tokens.get(never), 'old')
      asked[failures]?.fail(unreachable())
      await turn()
      assert.equal(await tokens.get(never), 'old')
      assert.equal(asked.length, failures + 1)
      t.mock.timers.tick(MINUTE)
    }
    assert.equal(warnings.length, 1)
    assert.match(warnings[0] ?? '', /still valid, but they could not be renewed: .*nobody answers/)
    t.mock.timers.tick(2 * MINUTE)
    const waiting = tokens.get(never)
    asked[4]?.fail(unreachable())
    await assert.rejects(waiting, { code: 'Unavailable' })
  })

  it('is waited for no longer than the call may take, and the next call still gets it', async () => {
    const { tokens, asked } = service()
    const call = new AbortController()
    const given = tokens.get(call.signal)
    call.abort(new Fault('Timeout', 'the deadline has passed'))
    await assert.rejects(given, { code: 'Timeout' })
    await assert.rejects(tokens.get(call.signal), { code: 'Timeout' })
    const next = tokens.get(never)
    asked[0]?.give('t', 60)
    assert.equal(await next, 't')
    assert.equal(asked.length, 1)
  })

  it('whose service fails after everybody has gone harms nobody', async () => {
    const { tokens, asked } = service()
    const call = new AbortController()
    const given = tokens.get(call.signal)
    call.abort(new Fault('Canceled', 'gone'))
    await assert.rejects(given)
    asked[0]?.fail(unreachable())
    await turn() // an unhandled rejection would fail this test
  })

  it('that nobody hands out for a minute is Unavailable', async t => {
    const late = new AbortController()
    t.mock.method(AbortSignal, 'timeout', () => late.signal)
    const { tokens, asked } = service()
    const given = tokens.get(never)
    late.abort()
    await assert.rejects(given, { code: 'Unavailable', retryable: true })
    t.mock.restoreAll()
    const next = tokens.get(never)
    asked[1]?.give('t', 60)
    assert.equal(await next, 't')
  })

  it('that was refused is dropped and asked for once more, by however many it was refused', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: 0 })
    const { tokens, asked } = await first(60)
    assert.deepEqual(
      [1, 2, 3].map(() => tokens.refused('old')),
      [true, true, true],
    )
    const all = Promise.all([1, 2, 3].map(() => tokens.get(never)))
    asked[1]?.give('new', 60)
    assert.deepEqual(await all, ['new', 'new', 'new'])
    assert.equal(asked.length, 2)
    assert.equal(tokens.refused('old'), true, 'there is a newer one already')
    assert.equal(tokens.refused('new'), false, 'it is not the token, then')
    assert.equal(await tokens.get(never), 'new')
    t.mock.timers.tick(MINUTE)
    assert.equal(tokens.refused('new'), true)
  })

  it('that has ended by a clock that is wrong is still not asked for with every request', async t => {
    t.mock.timers.enable({ apis: ['Date'], now: 0 })
    const { tokens, asked } = await first(-120)
    assert.equal(await tokens.get(never), 'old')
    assert.equal(asked.length, 1)
  })

  it('whose service does not answer the first time is asked for again', async () => {
    let asked = 0
    const tokens = cachedToken(
      async () => {
        if (++asked === 1) throw unreachable()
        return { value: 't', expiresAt: Date.now() + MINUTE }
      },
      () => {},
    )
    const policy = { maxRetries: 2, firstDelayMs: 1 }
    assert.equal(
      await attempt(
        () => tokens.get(never),
        policy,
        never,
        () => {},
      ),
      't',
    )
  })
})
