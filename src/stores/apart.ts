import { randomUUID } from 'node:crypto'
import { sourceOf } from '../bytes.ts'
import { Fault, isCode } from '../fault.ts'
import type { Store } from './store.ts'

export interface ApartOptions {
  readonly disk: Store
  readonly store: Store
  /** Where the store's keys begin. The folder on the disk may be a mount of the bucket's root, or of this path. */
  readonly rootPath: string
  /** For the fault: what to change, by the names of the options. */
  readonly remedy: string
}

const REMOVE_MS = 30_000

/** `byDisk`: only by a file on the disk, so that nothing is written to the store. */
export type Apart = (signal: AbortSignal, byDisk?: boolean) => Promise<void>

/**
 * Rejects unless two stores are proven to be two places. Paths prove nothing: links, bind mounts, two mounts of one
 * export and buckets that are mounted as a folder all lead to one place by different ways. So a file is written to the
 * disk and looked for in the store. A disk that is full or read-only is a usual reason for a move: then the file is
 * written to the store and looked for on the disk. Once it is proven, nothing is written again.
 */
export function apart({ disk, store, rootPath, remedy }: ApartOptions): Apart {
  let proven = false

  /** Resolves with why nothing can be written in `first`. */
  async function prove(first: Store, key: string, other: Store, keys: Iterable<string>, signal: AbortSignal) {
    try {
      await first.put(key, sourceOf(Buffer.from('This file may be removed.\n')), signal)
    } catch (error) {
      return Fault.from(error)
    }
    try {
      for (const one of keys) {
        const seen = await other.stat(one, signal).catch(error => {
          if (error instanceof Fault && error.perhapsAbsent) return undefined // if it were there, we could read it
          throw isCode(error, 'BadConfig') ? saysNothing(error) : error
        })
        if (!seen) continue
        throw new Fault('BadConfig', `${disk.name} and ${store.name} are one and the same place`, {
          remedy: `A move would remove the only copy. ${remedy}`,
        })
      }
    } finally {
      // Also after the caller has gone away.
      await first.remove(key, AbortSignal.timeout(REMOVE_MS)).catch(error => {
        if (!isCode(error, 'Denied')) throw error // it stays, once for each engine
      })
    }
    return undefined
  }

  return async (signal, byDisk = false) => {
    if (proven) return
    const name = `.orthanc-cloud-storage-${randomUUID()}`
    const below = rootPath === '' ? name : `${rootPath}/${name}`
    const keys = new Set([name, below])
    const failure = await prove(disk, name, store, keys, signal)
    if (failure) {
      if (byDisk || !['TooLarge', 'Denied'].includes(failure.code)) throw failure
      const other = await prove(store, below, disk, keys, signal)
      if (other) throw other
    }
    proven = true
  }
}

/** Here `BadConfig` means "one place". A store whose bucket is missing, or still to be made, does not prove that. */
function saysNothing({ message, remedy, where, cause }: Fault): Fault {
  return new Fault('Unavailable', message, { remedy, where, cause })
}
