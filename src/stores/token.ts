export interface Token {
  readonly value: string
  /** Milliseconds since 1970. */
  readonly expiresAt: number
}

/** A new one is fetched this long before the old one ends, or at half its life if that is short. */
const EARLY_MS = 5 * 60_000

/**
 * One token for everybody, fetched once however many ask. While the old one is still good, a failure to fetch the next
 * is not yet a failure: it is tried again with the next request.
 */
export function cachedToken(fetch: () => Promise<Token>): () => Promise<string> {
  let token: Token | undefined
  let renewAt = 0
  let coming: Promise<Token> | undefined

  async function renewed(): Promise<Token> {
    coming ??= fetch().finally(() => {
      coming = undefined
    })
    const fresh = await coming
    if (fresh !== token) {
      const now = Date.now()
      token = fresh
      renewAt = Math.max(fresh.expiresAt - EARLY_MS, now + (fresh.expiresAt - now) / 2)
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
