/** What authorises requests for a while: a token, or a pair of keys. */
export interface Token<T = string> {
  readonly value: T
  /** Milliseconds since 1970. */
  readonly expiresAt: number
  /** When to look for a newer one; default: some time before its end. */
  readonly renewAt?: number
}

/** A new one is fetched this long before the old one ends, or at half its life if that is short. */
const EARLY_MS = 5 * 60_000

/**
 * One token for everybody, fetched once however many ask. While the old one is still good, a failure to fetch the next
 * is not yet a failure: it is tried again with the next request.
 */
export function cachedToken<T>(fetch: () => Promise<Token<T>>): () => Promise<T> {
  let token: Token<T> | undefined
  let renewAt = 0
  let coming: Promise<Token<T>> | undefined

  async function renewed(): Promise<Token<T>> {
    coming ??= fetch().finally(() => {
      coming = undefined
    })
    const fresh = await coming
    if (fresh !== token) {
      const now = Date.now()
      token = fresh
      renewAt = fresh.renewAt ?? Math.max(fresh.expiresAt - EARLY_MS, now + (fresh.expiresAt - now) / 2)
    }
    return fresh
  }

  return async () => {
    const now = Date.now()
    if (token && now < renewAt) return token.value
    if (!token || now >= token.expiresAt) return (await renewed()).value
    const old = token
    return renewed().then(
      fresh => fresh.value,
      () => old.value,
    )
  }
}
