import { Fault } from '../fault.ts'

/**
 * What `work` resolves to, unless `signal` is aborted first. `late`: closes a result that comes after that.
 */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal, late?: (result: T) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    let givenUp = false
    const giveUp = () => {
      givenUp = true
      reject(Fault.ofAbort(signal))
    }
    if (signal.aborted) giveUp()
    signal.addEventListener('abort', giveUp, { once: true })
    work
      .then(result => (givenUp ? late?.(result) : resolve(result)), reject)
      .finally(() => signal.removeEventListener('abort', giveUp))
  })
}
