import { checkedRange, collect, contentOf, sourceOf } from '../bytes.ts'
import { Fault } from '../fault.ts'
import type { Stat, Store } from './store.ts'

/** Objects in this process's memory: for tests, and the shortest reading of the Store contract. */
export function memoryStore(name = 'memory'): Store {
  const objects = new Map<string, { bytes: Buffer; modified: Date }>()
  const statOf = (key: string): Stat | undefined => {
    const object = objects.get(key)
    return object && { key, size: object.bytes.byteLength, modified: object.modified }
  }
  return {
    name,
    async put(key, body, signal) {
      signal.throwIfAborted()
      const bytes = await collect({ size: body.size, body: body.open() })
      signal.throwIfAborted()
      objects.set(key, { bytes, modified: new Date() })
    },
    async get(key, range, signal) {
      signal.throwIfAborted()
      const object = objects.get(key)
      if (!object) throw new Fault('NotFound', 'no such object')
      const source = sourceOf(object.bytes)
      if (!range) return contentOf(source.size, source.open())
      return contentOf(range.end - range.start, source.open(checkedRange(range, source.size)))
    },
    async stat(key, signal) {
      signal.throwIfAborted()
      return statOf(key)
    },
    async remove(key, signal) {
      signal.throwIfAborted()
      objects.delete(key)
    },
    async *list(prefix, signal) {
      const keys = [...objects.keys()].filter(key => key.startsWith(prefix))
      for (const key of keys.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
        signal.throwIfAborted()
        const stat = statOf(key)
        if (stat) yield stat
      }
    },
    async check(signal) {
      signal.throwIfAborted()
    },
    async close() {},
  }
}
