/** `GET /cloud-storage/status` as a readiness probe asks it: often, and of stores that do not answer. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Fault } from '../src/fault.ts'
import { type Status, statusRoute } from '../src/routes/status.ts'

describe('the status', () => {
  function polled(check: (signal: AbortSignal) => Promise<void>, checkMs?: number) {
    const { methods } = statusRoute(() => ({ Version: '1' }) as Status, check, checkMs)
    return async () => {
      const answer = await methods.GET?.({} as never, {} as never, new AbortController().signal)
      assert.ok(answer && 'body' in answer)
      const { Reachable, Problem } = JSON.parse(Buffer.from(answer.body).toString())
      return [Reachable, Problem]
    }
  }

  it('asks the store once for all who ask at once, and again for the next', async () => {
    let asks = 0
    let answer = () => {}
    const poll = polled(() => {
      asks++
      return new Promise<void>(resolve => {
        answer = resolve
      })
    })
    const polls = [poll(), poll(), poll()]
    answer()
    assert.deepEqual(await Promise.all(polls), Array(3).fill([true, undefined]))
    assert.equal(asks, 1)
    const next = poll()
    assert.equal(asks, 2)
    answer()
    assert.deepEqual(await next, [true, undefined])
  })

  it('names the kind of a failure', async () => {
    const poll = polled(() => Promise.reject(new Fault('Denied', 'words')))
    assert.deepEqual(await poll(), [false, 'Denied'])
  })

  it('waits no longer than it may for a store that hangs, and asks it no second time meanwhile', async () => {
    let asks = 0
    const poll = polled(() => {
      asks++
      return new Promise(() => {})
    }, 20)
    assert.deepEqual(await poll(), [false, 'Timeout'])
    assert.deepEqual(await poll(), [false, 'Timeout'])
    assert.equal(asks, 1)
  })
})
