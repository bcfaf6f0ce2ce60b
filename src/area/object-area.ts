import { Fault } from '../fault.ts'
import type { Store } from '../stores/store.ts'
import type { Attachment, StorageArea } from './area.ts'

/** A storage area whose files are the objects of one store. `keysOf`: the key to write, then older ones to try. */
export function objectArea(
  store: Store,
  keysOf: (attachment: Attachment) => readonly [string, ...string[]],
): StorageArea {
  return {
    name: store.name,

    create: (attachment, body, signal) => store.put(keysOf(attachment)[0], body, signal),

    async read(attachment, range, signal) {
      const [key, ...older] = keysOf(attachment)
      try {
        return await store.get(key, range, signal)
      } catch (missing) {
        if (!isNotFound(missing)) throw missing
        for (const candidate of older) {
          try {
            return await store.get(candidate, range, signal)
          } catch (error) {
            if (!isNotFound(error)) throw error
          }
        }
        throw missing // the key that should be there, not the last guess
      }
    },

    async remove(attachment, signal) {
      await Promise.all(keysOf(attachment).map(key => store.remove(key, signal)))
    },
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof Fault && error.code === 'NotFound'
}
