import type { Bytes } from '../../src/bytes.ts'
import { Fault } from '../../src/fault.ts'
import type { Removal, Store } from '../../src/stores/store.ts'

/** One verb on one key fails so often and no more: ten tries succeed, also with other calls in between. */
const MOST_FAILURES = 9

/** A store whose every third call fails, before, after, or in the middle of its work: what a bad day looks like. */
export function flaky(store: Store): Store {
  let calls = 0
  const failures = new Map<string, number>()
  const breaks = (what: string) => {
    const before = failures.get(what) ?? 0
    failures.set(what, before + 1)
    if (before < MOST_FAILURES) throw new Fault('Unavailable', 'broken on purpose')
  }
  const sometimes = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const turn = calls++ % 6
    if (turn === 1) breaks(what)
    const result = await work()
    if (turn === 4) breaks(what) // it was done, but its answer is lost
    return result
  }
  async function* cut(key: string, body: Bytes): Bytes {
    let chunks = 0
    for await (const chunk of body) {
      yield chunk.subarray(0, Math.ceil(chunk.byteLength / 2))
      if (++chunks % 2 === 1) breaks(`body ${key}`)
      yield chunk.subarray(Math.ceil(chunk.byteLength / 2))
    }
  }
  return {
    ...store,
    put: (key, body, signal) => sometimes(`put ${key}`, () => store.put(key, body, signal)),
    async get(key, range, signal) {
      if (calls++ % 3 === 1) breaks(`get ${key}`)
      const content = await store.get(key, range, signal)
      return { size: content.size, body: content.size > 1 && calls % 2 === 0 ? cut(key, content.body) : content.body }
    },
    stat: (key, signal) => sometimes(`stat ${key}`, () => store.stat(key, signal)),
    // One key of three fails, before or after it is removed.
    async removeMany(keys, signal) {
      const removals = new Map<string, Removal>()
      for (const key of keys)
        await sometimes(`remove ${key}`, () => store.remove(key, signal)).then(
          () => removals.set(key, 'gone'),
          error => removals.set(key, Fault.from(error)),
        )
      return removals
    },
    removeLeftover: (leftover, signal) =>
      sometimes(`removeLeftover ${leftover.id}`, () => store.removeLeftover(leftover, signal)),
    remove: (key, signal) => sometimes(`remove ${key}`, () => store.remove(key, signal)),
  }
}
