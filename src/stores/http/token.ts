import { Fault } from '../../fault.ts'
import { unlessAborted } from '../unless-aborted.ts'

/** What authorises requests for a while: a token, or a pair of keys. */
export interface Token<T = string> {
  readonly value: T
  /** Milliseconds since 1970. */
  readonly expiresAt: number
  /** When to look for a newer one; default: some time before its end. */
  readonly renewAt?: number
}

export interface Tokens<T> {
  /** Waits only while there is no valid one, and not beyond `signal`. */
  get(signal: AbortSignal): Promise<T>
  /** Called when the server did not accept `value`. True = another one may be accepted, which get() then fetches. */
  refused(value: T): boolean
}

/** A new one is fetched this long before the old one ends, or at half its life if that is short. */
const EARLY_MS = 5 * 60_000
/** A token is used for at least so long: by this machine's clock, which may be wrong, it may have ended already. */
const SHORTEST_MS = 30_000
/** The longest that fetching one may take, with whatever the libraries repeat. */
const FETCH_MS = 60_000
/** The pause after a refusal, and after a failure while the old token is still valid. */
const PAUSE_MS = 30_000

/**
 * One token for all requests, fetched once even if many wait for it. While the old one is valid, the next is fetched in
 * the background: no request waits for it, and a failure is only a warning.
 * `forget`: called after a refusal, for a library that has a cache of its own.
 */
export function cachedToken<T>(
  fetch: () => Promise<Token<T>>,
  warn: (line: string) => void,
  forget = () => {},
): Tokens<T> {
  let token: Token<T> | undefined
  let renewAt = 0
  let coming: Promise<Token<T>> | undefined
  let warned = false
  let quietUntil = 0

  function renewed(): Promise<Token<T>> {
    if (coming !== undefined) return coming
    const fetched = bounded(fetch()).then(fresh => {
      const now = Date.now()
      // An expiry that is not a time must not make the token last for ever.
      const expiresAt = Math.max(fresh.expiresAt || now, now + SHORTEST_MS)
      token = { ...fresh, expiresAt }
      renewAt = fresh.renewAt ?? Math.max(expiresAt - EARLY_MS, now + (expiresAt - now) / 2)
      warned = false
      return token
    })
    coming = fetched.finally(() => {
      coming = undefined
    })
    coming.catch(() => {}) // if no request waits any more, a failure must not end the process
    return coming
  }

  async function renewInBackground(): Promise<void> {
    try {
      await renewed()
    } catch (error) {
      renewAt = Date.now() + PAUSE_MS
      if (warned) return
      warned = true
      warn(`the credentials are still valid, but they could not be renewed: ${Fault.from(error).describe()}`)
    }
  }

  return {
    async get(signal) {
      const now = Date.now()
      if (!token || now >= token.expiresAt) return (await unlessAborted(renewed(), signal)).value
      if (now >= renewAt && coming === undefined) void renewInBackground()
      return token.value
    },
    refused(value) {
      // If not, another request was refused before, and a newer one is there or is being fetched.
      const isCurrent = token?.value === value
      if (isCurrent && Date.now() < quietUntil) return false
      forget()
      if (!isCurrent) return true
      quietUntil = Date.now() + PAUSE_MS
      token = undefined
      return true
    },
  }
}

async function bounded<T>(work: Promise<T>): Promise<T> {
  const late = AbortSignal.timeout(FETCH_MS)
  try {
    return await unlessAborted(work, late)
  } catch (error) {
    if (!late.aborted) throw error
    throw new Fault('Unavailable', `no credentials came within ${FETCH_MS / 1000} s`, { cause: error })
  }
}
