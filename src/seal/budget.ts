import { Fault } from '../fault.ts'

/** Gives a share back. Calling it again does nothing. */
export type Release = () => void

/**
 * Bytes that may be in work at once (`MaxConcurrentInputSize`). Shares are given in the order of the requests, so that
 * a large object does not wait for ever. An object that is larger than the whole budget passes when it is alone.
 */
export class Budget {
  readonly #total: number
  #free: number
  readonly #waiting: { bytes: number; start: () => void }[] = []

  constructor(bytes: number) {
    this.#total = bytes
    this.#free = bytes
  }

  /** A share, if it is free at once. */
  tryTake(bytes: number): Release | undefined {
    const share = Math.min(bytes, this.#total)
    if (this.#waiting.length > 0 || share > this.#free) return undefined
    return this.#hand(share)
  }

  /** A share, as soon as it is free and all earlier requests have theirs. Rejects when `signal` is aborted first. */
  take(bytes: number, signal: AbortSignal): Promise<Release> {
    const release = this.tryTake(bytes)
    if (release) return Promise.resolve(release)
    const share = Math.min(bytes, this.#total)
    const { promise, resolve, reject } = Promise.withResolvers<Release>()
    const waiting = {
      bytes: share,
      start: () => {
        signal.removeEventListener('abort', giveUp)
        resolve(this.#hand(share))
      },
    }
    const giveUp = () => {
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
      this.#next() // the next that waits may fit
      reject(gaveUp(signal))
    }
    if (signal.aborted) return Promise.reject(gaveUp(signal))
    this.#waiting.push(waiting)
    signal.addEventListener('abort', giveUp, { once: true })
    return promise
  }

  #hand(share: number): Release {
    this.#free -= share
    let held = true
    return () => {
      if (!held) return
      held = false
      this.#free += share
      this.#next()
    }
  }

  #next(): void {
    for (let first = this.#waiting[0]; first && first.bytes <= this.#free; first = this.#waiting[0]) {
      this.#waiting.shift()
      first.start()
    }
  }
}

function gaveUp(signal: AbortSignal): Fault {
  return Fault.ofAbort(signal, 'canceled while waiting for a share of StorageEncryption.MaxConcurrentInputSize')
}
