import { Fault } from '../../fault.ts'
import { until } from '../until.ts'

/** What authorises requests for a while: a token, or a pair of keys. */
export interface Token<T = string> {
  readonly value: T
  /** Milliseconds since 1970. */
  readonly expiresAt: number
  /** When to look for a newer one; default: some time before its end. */
  readonly renewAt?: number
}

export interface Tokens<T> {
  /** Waits only while there is none that is good, and not beyond `signal`. */
  get(signal: AbortSignal): Promise<T>
  /** The server did not take `value`: whether another may be better, for which get() asks then. */
  refused(value: T): boolean
}

/** A new one is fetched this long before the old one ends, or at half its life if that is short. */
const EARLY_MS = 5 * 60_000
/** However early it ends by this machine's clock, which may be wrong, a token is used for so long. */
const SHORTEST_MS = 30_000
/** The longest that fetching one may take, with whatever the libraries repeat. */
const FETCH_MS = 60_000
/** After a failure with a good token at hand, and after a refusal, nobody is asked again for so long. */
const PAUSE_MS = 30_000

/**
 * One token for everybody, fetched once however many ask. While the old one is good, the next is fetched behind the
 * scenes: nobody waits for it, and a failure is no more than a warning.
 */
export function cachedToken<T>(fetch: () => Promise<Token<T>>, warn: (line: string) => void): Tokens<T> {
  let token: Token<T> | undefined
  let renewAt = 0
  let coming: Promise<Token<T>> | undefined
  let warned = false
  let quietUntil = 0

  function renewed(): Promise<Token<T>> {
    if (coming !== undefined) return coming
    const fetched = bounded(fetch()).then(fresh => {
      const now = Date.now()
      // An end that is no time must not make it last for ever.
      const expiresAt = Math.max(fresh.expiresAt || now, now + SHORTEST_MS)
      token = { ...fresh, expiresAt }
      renewAt = fresh.renewAt ?? Math.max(expiresAt - EARLY_MS, now + (expiresAt - now) / 2)
      warned = false
      return token
    })
    coming = fetched.finally(() => {
      coming = undefined
    })
    coming.catch(() => {}) // whoever waits may have given up
    return coming
  }

  async function renewInBackground(): Promise<void> {
    try {
      await renewed()
    } catch (error) {
      renewAt = Date.now() + PAUSE_MS
      if (warned) return
      warned = true
      warn(`the credentials are still good, but new ones cannot be had: ${Fault.from(error).describe()}`)
    }
  }

  return {
    async get(signal) {
      const now = Date.now()
      if (!token || now >= token.expiresAt) return (await until(renewed(), signal)).value
      if (now >= renewAt && coming === undefined) void renewInBackground()
      return token.value
    },
    refused(value) {
      if (token?.value !== value) return true // another request was refused before: a newer one is there or comes
      if (Date.now() < quietUntil) return false
      quietUntil = Date.now() + PAUSE_MS
      token = undefined
      return true
    },
  }
}

async function bounded<T>(work: Promise<T>): Promise<T> {
  const late = AbortSignal.timeout(FETCH_MS)
  try {
    return await until(work, late)
  } catch (error) {
    if (!late.aborted) throw error
    throw new Fault('Unavailable', `no credentials came within ${FETCH_MS / 1000} s`, { cause: error })
  }
}
