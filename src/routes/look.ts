import { Fault } from '../fault.ts'

/**
 * Asks a store whether it serves us, with one question for all who ask at once. Resolves with why it does not. Nobody
 * waits longer than `ms`. A disk that hangs does not heed signals: while it hangs, it is asked no second time.
 */
export function sharedLook(check: (signal: AbortSignal) => Promise<void>, ms: number) {
  let asked: Promise<Fault | undefined> | undefined

  function ask(): Promise<Fault | undefined> {
    asked ??= check(AbortSignal.timeout(ms))
      .then(() => undefined, Fault.from)
      .finally(() => {
        asked = undefined
      })
    return asked
  }

  return async (): Promise<Fault | undefined> => {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<Fault>(resolve => {
      timer = setTimeout(() => resolve(new Fault('Timeout', `the store does not answer within ${ms / 1000} s`)), ms)
    })
    return Promise.race([ask(), late]).finally(() => clearTimeout(timer))
  }
}
