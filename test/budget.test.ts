import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Fault } from '../src/fault.ts'
import { Budget, type Release } from '../src/seal/budget.ts'

const never = new AbortController().signal
const MB = 1024 * 1024

describe('a budget of bytes', () => {
  it('hands out what is free, and the rest when something comes back', async () => {
    const budget = new Budget(100)
    const first = await budget.take(60, never)
    let second: Release | undefined
    const waiting = budget.take(60, never).then(release => {
      second = release
    })
    await turn()
    assert.equal(second, undefined)
    first()
    first() // does nothing
    await waiting
    assert.equal(budget.tryTake(41), undefined)
    assert.ok(budget.tryTake(40))
  })

  it('lets an object larger than itself pass alone', async () => {
    const budget = new Budget(100)
    const small = await budget.take(1, never)
    let passed = false
    const large = budget.take(5000 * MB, never).then(release => {
      passed = true
      return release
    })
    await turn()
    assert.equal(passed, false)
    small()
    const release = await large
    assert.equal(budget.tryTake(1), undefined)
    release()
    assert.ok(budget.tryTake(100))
  })

  it('passes nobody over', async () => {
    const budget = new Budget(100)
    const held = await budget.take(50, never)
    const order: string[] = []
    const large = budget.take(100, never).then(release => {
      order.push('large')
      return release
    })
    const small = budget.take(10, never).then(() => order.push('small'))
    await turn()
    assert.deepEqual(order, [])
    held()
    ;(await large)()
    await small
    assert.deepEqual(order, ['large', 'small'])
  })

  it('holds budgets of more than 4 GiB', async () => {
    const budget = new Budget(5000 * MB)
    await budget.take(4500 * MB, never)
    assert.equal(budget.tryTake(501 * MB), undefined)
    assert.ok(budget.tryTake(500 * MB))
  })

  it('ends the wait of a caller that gives up, and lets those behind pass', async () => {
    const budget = new Budget(100)
    const held = await budget.take(50, never)
    const abort = new AbortController()
    const gaveUp = assert.rejects(budget.take(100, abort.signal), { code: 'Timeout' })
    const behind = budget.take(50, never)
    abort.abort(new Fault('Timeout', 'too late'))
    await gaveUp
    ;(await behind)()
    held()
    assert.ok(budget.tryTake(100))
  })
})
