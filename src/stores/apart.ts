import { randomUUID } from 'node:crypto'
import { sourceOf } from '../bytes.ts'
import { Fault } from '../fault.ts'
import type { Store } from './store.ts'

export interface ApartOptions {
  readonly disk: Store
  readonly store: Store
  /** Where the store's keys begin; a store may be seen by the disk from its root, or from there. */
  readonly rootPath: string
  /** For the fault: what to change, by the names of the options. */
  readonly remedy: string
}

/**
 * Rejects unless two stores are proven to be two places. Paths prove nothing: links, bind mounts, two mounts of one export
 * and buckets that are mounted as a folder all lead to one place by different ways. So a file is written in one and looked
 * for in the other. Proven once, it is not asked again.
 */
export function apart({ disk, store, rootPath, remedy }: ApartOptions): (signal: AbortSignal) => Promise<void> {
  let proven = false
  return async signal => {
    if (proven) return
    const name = `.orthanc-cloud-storage-${randomUUID()}`
    await disk.put(name, sourceOf(Buffer.from('This file may be removed.\n')), signal)
    try {
      for (const key of new Set([name, rootPath === '' ? name : `${rootPath}/${name}`])) {
        const seen = await store.stat(key, signal).catch(error => {
          if (error instanceof Fault && error.perhapsAbsent) return undefined // who may read it would be told that it is there
          throw error
        })
        if (!seen) continue
        throw new Fault('BadConfig', `${disk.name} and ${store.name} are one and the same place`, {
          remedy: `A move would remove the only copy. ${remedy}`,
        })
      }
    } finally {
      await disk.remove(name, new AbortController().signal) // also when nobody waits for the answer any more
    }
    proven = true
  }
}
