import { unlink } from 'node:fs/promises'
import { isErrno } from '../../fault.ts'
import type { Disk } from './disk.ts'
import { ifThere } from './faults.ts'

/** Above so many, the oldest stay where they are. */
const MOST = 10_000

/**
 * Temporary files of writes that failed. A disk that hangs, or that was unmounted, does not let them be removed at
 * once. They are remembered, and removed after a later write has succeeded.
 */
export class Leftovers {
  readonly #disk: Disk
  readonly #files = new Set<string>()
  #retrying = false

  constructor(disk: Disk) {
    this.#disk = disk
  }

  /** `exists`: the file is there for certain, so "no such file" means only that it is out of reach now. */
  async remove(file: string, exists: boolean): Promise<void> {
    const removed = this.#disk
      .run(() => unlink(file))
      .catch(error => {
        if (exists || !isErrno(error, 'ENOENT')) this.#remember(file)
      })
    if (!this.#disk.hangs) await removed
  }

  /** Only when a write has just succeeded: then the folder is the right one, and "no such file" is an absence. */
  async retry(): Promise<void> {
    if (this.#retrying || this.#disk.hangs) return
    this.#retrying = true
    try {
      for (const file of this.#files) {
        await ifThere(this.#disk.run(() => unlink(file)))
        this.#files.delete(file)
      }
    } catch {
      // Still out of reach. The next write tries again.
    }
    this.#retrying = false
  }

  #remember(file: string): void {
    this.#files.add(file)
    for (const oldest of this.#files) {
      if (this.#files.size <= MOST) return
      this.#files.delete(oldest)
    }
  }
}
