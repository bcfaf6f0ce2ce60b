/** What a store tells of writes that did not come to their end: a part of the contract of every store. */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { sourceOf } from '../../src/bytes.ts'
import type { Leftover, Store } from '../../src/stores/store.ts'
import { noise } from './noise.ts'

const never = new AbortController().signal

export interface Unfinished {
  /** Begins a write, sends some bytes, and abandons it as a process that dies. Absent: nothing of it can be seen. */
  begin?: ((key: string) => Promise<void>) | undefined
  /** Whether the store removes leftovers; if not, the provider does. */
  readonly removes: boolean
}

export async function leftoversOf(store: Store, prefix: string): Promise<Leftover[]> {
  const found: Leftover[] = []
  for await (const leftover of store.leftovers(prefix, never)) found.push(leftover)
  return found
}

const keysOf = (leftovers: readonly Leftover[]) => leftovers.map(({ key }) => key).sort()

/** Of a test of a store: `open` gives the store, which is made before the first of them runs. */
export function testLeftovers(open: () => { readonly store: Store; readonly unfinished?: Unfinished }): void {
  it('tells what unfinished writes left behind, and removes it', async () => {
    const { store, unfinished } = open()
    await store.put('over/object', sourceOf(noise(3)), never)
    assert.deepEqual(await leftoversOf(store, 'over/'), [])
    if (!unfinished?.begin) return
    const start = Date.now()
    const mine = [
      'over/a.dcm',
      'over/ab/cd/abcd.dcm.head',
      'over/odd/a b+c&d=<e>',
      'over/odd/ü/日本/\u{1f600}',
      "over/odd/it's (1)!*%20;~",
    ].sort()
    const strangers = ['ove/a.dcm', 'over.dcm', 'oves/a.dcm']
    for (const key of [...mine, ...strangers]) await unfinished.begin(key)

    const found = await leftoversOf(store, 'over/')
    assert.deepEqual(keysOf(found), mine)
    for (const { started, id } of found) {
      assert.ok(id !== '')
      assert.ok(started.getTime() > start - 60_000 && started.getTime() < Date.now() + 60_000, String(started))
    }
    const [first = ''] = mine
    assert.deepEqual(keysOf(await leftoversOf(store, first)), [first])
    assert.deepEqual(keysOf(await leftoversOf(store, 'over/odd/it')), mine.slice(-2, -1))
    const all = keysOf(await leftoversOf(store, '')).filter(key => key.startsWith('ove'))
    assert.deepEqual(all, [...mine, ...strangers].sort())
    const keys = []
    for await (const { key } of store.list('over/', never)) keys.push(key)
    assert.deepEqual(keys, ['over/object'])

    for (const [i, leftover] of found.entries()) {
      if (!unfinished.removes) {
        await assert.rejects(store.removeLeftover(leftover, never), { code: 'BadRequest' })
        continue
      }
      await store.removeLeftover(leftover, never)
      await store.removeLeftover(leftover, never)
      const left = found.slice(i + 1)
      assert.deepEqual(keysOf(await leftoversOf(store, 'over/')), keysOf(left))
    }
    assert.equal((await store.stat('over/object', never))?.size, 3)
  })

  it('removes no object as a leftover', async () => {
    const { store } = open()
    await store.put('kept', sourceOf(noise(3)), never)
    for (const id of ['', 'kept', '.kept', 'kept.tmp', '../kept']) {
      const forged = { key: 'kept', id, what: 'unfinished upload', started: new Date() } as const
      await store.removeLeftover(forged, never).catch(() => {})
    }
    assert.equal((await store.stat('kept', never))?.size, 3)
  })
}
