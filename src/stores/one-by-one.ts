import type { LimitFunction } from 'p-limit'
import { Fault, throwIfAborted } from '../fault.ts'
import type { Removal, Store } from './store.ts'

/** `removeMany` without a request for many objects: one removal each, as many at a time as there are slots. */
export function oneByOne(remove: Store['remove'], slots: LimitFunction): Store['removeMany'] {
  return async (keys, signal) => {
    throwIfAborted(signal)
    const removals = new Map<string, Removal>()
    const work = async (key: string) => {
      if (signal.aborted) return
      await remove(key, signal).then(
        () => removals.set(key, 'gone'),
        error => removals.set(key, Fault.from(error)),
      )
    }
    await Promise.all([...new Set(keys)].map(key => slots(work, key)))
    throwIfAborted(signal)
    return removals
  }
}
