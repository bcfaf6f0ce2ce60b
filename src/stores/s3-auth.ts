/** Where the keys that sign requests to S3 come from. */
import { Fault } from '../fault.ts'
import type { Credentials } from './sigv4.ts'
import { cachedToken, type Token } from './token.ts'

/** Keys without an end, such as those of a profile, are looked for again after this time: an operator may replace them. */
const LOOK_MS = 60_000

/** Static keys, or what AWS's whole default chain finds. */
export function s3Credentials(fixed: Credentials | undefined, region: string): () => Promise<Credentials> {
  if (fixed) return () => Promise.resolve(fixed)
  return cachedToken(async (): Promise<Token<Credentials>> => {
    try {
      const { fromNodeProviderChain } = await import('@aws-sdk/credential-providers')
      const value = await fromNodeProviderChain({ clientConfig: { region }, ignoreCache: true })()
      return value.expiration
        ? { value, expiresAt: value.expiration.getTime() }
        : { value, expiresAt: Number.POSITIVE_INFINITY, renewAt: Date.now() + LOOK_MS }
    } catch (cause) {
      const said = cause instanceof Error ? cause.message : String(cause)
      throw new Fault('Denied', `no credentials: ${said}`, {
        cause,
        remedy:
          'Give AccessKey and SecretKey, or credentials that the default chain of AWS finds (environment, profile, role).',
      })
    }
  })
}
