import { type Bytes, checkedContent, checkedRange, collectSource } from '../../src/bytes.ts'
import { Fault, throwFault, throwIfAborted } from '../../src/fault.ts'
import type { Stat, Store } from '../../src/stores/store.ts'

const SLICE_BYTES = 1024 * 1024

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
      throwIfAborted(signal)
      const bytes = Buffer.from(await collectSource(body).catch(throwFault))
      throwIfAborted(signal)
      objects.set(key, { bytes, modified: new Date() })
    },
    async get(key, range, signal) {
      throwIfAborted(signal)
      const object = objects.get(key)
      if (!object) throw new Fault('NotFound', 'no such object')
      const { start, end } = range
        ? checkedRange(range, object.bytes.byteLength)
        : { start: 0, end: object.bytes.byteLength }
      return checkedContent(end - start, slices(object.bytes.subarray(start, end), signal))
    },
    async stat(key, signal) {
      throwIfAborted(signal)
      return statOf(key)
    },
    async remove(key, signal) {
      throwIfAborted(signal)
      objects.delete(key)
    },
    async removeMany(keys, signal) {
      throwIfAborted(signal)
      for (const key of keys) objects.delete(key)
      return new Map(keys.map(key => [key, 'gone' as const]))
    },
    async *list(prefix, signal) {
      const keys = [...objects.keys()].filter(key => key.startsWith(prefix))
      for (const key of keys.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
        throwIfAborted(signal)
        const stat = statOf(key)
        if (stat) yield stat
      }
    },
    async *leftovers(_prefix, signal) {
      throwIfAborted(signal)
      yield* [] // a write ends, or never was
    },
    async removeLeftover(_leftover, signal) {
      throwIfAborted(signal)
    },
    async check(signal) {
      throwIfAborted(signal)
    },
    async close() {},
  }
}

async function* slices(bytes: Buffer, signal: AbortSignal): Bytes {
  for (let at = 0; at < bytes.byteLength; at += SLICE_BYTES) {
    throwIfAborted(signal)
    yield bytes.subarray(at, at + SLICE_BYTES)
  }
}
