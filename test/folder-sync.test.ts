import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { folderSync } from '../src/stores/directory/sync.ts'

/** Syncs that end when the test says so. */
function byHand() {
  const begun: { folder: string; end: () => void; fail: (error: Error) => void }[] = []
  const sync = folderSync(
    folder =>
      new Promise((resolve, reject) => {
        begun.push({ folder, end: resolve, fail: reject })
      }),
  )
  return { sync, begun }
}

describe('syncing a folder', () => {
  it('begins a sync for the first, and one more for all who come while it is under way', async () => {
    const { sync, begun } = byHand()
    const first = sync('/a')
    await turn()
    const others = [sync('/a'), sync('/a'), sync('/a')]
    await turn()
    assert.equal(begun.length, 1)
    begun[0]?.end()
    await first
    await turn()
    assert.equal(begun.length, 2)
    let done = false
    void Promise.all(others).then(() => {
      done = true
    })
    await turn()
    assert.equal(done, false)
    begun[1]?.end()
    await Promise.all(others)
    assert.equal(begun.length, 2)
  })

  it('begins again after a pause', async () => {
    const { sync, begun } = byHand()
    for (const i of [0, 1]) {
      const synced = sync('/a')
      await turn()
      begun[i]?.end()
      await synced
    }
    assert.equal(begun.length, 2)
  })

  it('keeps folders apart', async () => {
    const { sync, begun } = byHand()
    const both = [sync('/a'), sync('/b')]
    await turn()
    assert.deepEqual(
      begun.map(({ folder }) => folder),
      ['/a', '/b'],
    )
    for (const { end } of begun) end()
    await Promise.all(both)
  })

  it('tells a failure to all who shared it, and to nobody else', async () => {
    const { sync, begun } = byHand()
    const first = sync('/a')
    await turn()
    const [second, third] = [sync('/a'), sync('/a')]
    begun[0]?.fail(new Error('EIO'))
    await assert.rejects(first, /EIO/)
    await turn()
    begun[1]?.end()
    await Promise.all([second, third])
  })
})
