import { Fault, throwIfAborted } from '../fault.ts'
import type { Removal, Wrap } from '../stores/store.ts'
import type { Deletions } from './deletions.ts'

/**
 * A store whose removals are noted and sent later. What Orthanc has removed is absent from now on, whatever the store
 * still holds. Only for Orthanc's own calls: a move must see what is really there.
 */
export function withDeferredRemovals(deletions: Deletions): Wrap {
  return store => {
    const refuseRemoved = (key: string) => {
      if (deletions.has(key)) throw new Fault('NotFound', 'Orthanc has removed the object', { where: { key } })
    }
    return {
      name: store.name,
      async put(key, body, signal) {
        await deletions.forget(key, signal)
        await store.put(key, body, signal)
      },
      async get(key, range, signal) {
        refuseRemoved(key)
        return await store.get(key, range, signal)
      },
      async stat(key, signal) {
        return deletions.has(key) ? undefined : await store.stat(key, signal)
      },
      async remove(key, signal) {
        throwIfAborted(signal)
        if (!(await deletions.note(key))) await store.remove(key, signal)
      },
      async removeMany(keys, signal) {
        throwIfAborted(signal)
        const noted = await Promise.all(keys.map(key => deletions.note(key)))
        const removals = new Map<string, Removal>()
        for (const [i, key] of keys.entries()) if (noted[i]) removals.set(key, 'gone')
        const left = keys.filter(key => !removals.has(key))
        return left.length === 0 ? removals : new Map([...removals, ...(await store.removeMany(left, signal))])
      },
      holds: store.holds, // a part of a put, before which the removal is forgotten
      async *list(prefix, signal) {
        for await (const stat of store.list(prefix, signal)) if (!deletions.has(stat.key)) yield stat
      },
      leftovers: store.leftovers, // no objects, so no removal of one says anything of them
      removeLeftover: store.removeLeftover,
      check: store.check,
      close: store.close,
    }
  }
}
