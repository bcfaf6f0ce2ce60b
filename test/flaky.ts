import type { Bytes } from '../src/bytes.ts'
import { Fault } from '../src/fault.ts'
import type { Store } from '../src/stores/store.ts'

/** A store whose every third call fails, before, after, or in the middle of its work: what a bad day looks like. */
export function flaky(store: Store): Store {
  let calls = 0
  const broken = () => new Fault('Unavailable', 'broken on purpose')
  const sometimes = async <T>(work: () => Promise<T>): Promise<T> => {
    const turn = calls++ % 6
    if (turn === 1) throw broken()
    const result = await work()
    if (turn === 4) throw broken() // it was done, but nobody heard of it
    return result
  }
  async function* cut(body: Bytes): Bytes {
    let chunks = 0
    for await (const chunk of body) {
      yield chunk.subarray(0, Math.ceil(chunk.byteLength / 2))
      if (++chunks % 2 === 1) throw broken()
      yield chunk.subarray(Math.ceil(chunk.byteLength / 2))
    }
  }
  return {
    ...store,
    put: (key, body, signal) => sometimes(() => store.put(key, body, signal)),
    async get(key, range, signal) {
      if (calls++ % 3 === 1) throw broken()
      const content = await store.get(key, range, signal)
      return { size: content.size, body: content.size > 1 && calls % 2 === 0 ? cut(content.body) : content.body }
    },
    stat: (key, signal) => sometimes(() => store.stat(key, signal)),
    remove: (key, signal) => sometimes(() => store.remove(key, signal)),
  }
}
