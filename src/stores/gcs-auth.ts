/** How a request to Google is authorised: by a service account's key, or by application default credentials. */
import { readFile, stat } from 'node:fs/promises'
import type { AuthClient } from 'google-auth-library'
import { type Dispatcher, fetch } from 'undici'
import { Fault } from '../fault.ts'
import { cachedToken, type Token } from './token.ts'

const SCOPE = 'https://www.googleapis.com/auth/devstorage.read_write'
/** A credential file that an operator replaces is taken from the next request on, but not looked at more often than this. */
const LOOK_MS = 2_000
/** How long google-auth-library makes the tokens good that it signs itself. */
const SELF_SIGNED_MS = 3600_000

type Authorization = () => Promise<string>

/** The value of the Authorization header. `file` undefined = application default credentials. */
export function googleToken(file: string | undefined, dispatcher: Dispatcher): Authorization {
  const defaults = () => renewing(() => defaultClient(dispatcher))
  if (file !== undefined) return following(file, async () => renewing(await accountClient(file)))
  const named = process.env['GOOGLE_APPLICATION_CREDENTIALS']
  return named ? following(named, () => Promise.resolve(defaults())) : defaults()
}

/** Opens `file` anew whenever it has changed. */
function following(file: string, open: () => Promise<Authorization>): Authorization {
  let current: { readonly stamp: string; readonly authorization: Authorization } | undefined
  let lookedAt = 0

  async function latest() {
    lookedAt = Date.now()
    const { mtimeMs, size, ino } = await stat(file)
    const stamp = `${mtimeMs} ${size} ${ino}`
    return stamp === current?.stamp ? current : { stamp, authorization: await open() }
  }

  return async () => {
    if (!current) current = await latest().catch(error => unusable(file, error))
    else if (Date.now() - lookedAt > LOOK_MS)
      // While somebody replaces the file it may be missing or cut off for a moment: what worked goes on working.
      current = await latest().catch(() => current as NonNullable<typeof current>)
    return current.authorization()
  }
}

function unusable(file: string, cause: unknown): never {
  // A message of JSON.parse would quote the file, which holds a secret.
  const said = cause instanceof SyntaxError ? 'it is not JSON' : cause instanceof Error ? cause.message : String(cause)
  throw new Fault('BadConfig', `the credential file ${file} cannot be used: ${said}`, {
    remedy: 'It must be the JSON key as Google made it, readable by the user that runs Orthanc.',
  })
}

/** Resolves when the file is that of a service account. */
async function accountClient(file: string): Promise<() => Promise<AuthClient>> {
  const account: { [name: string]: unknown } = JSON.parse(await readFile(file, 'utf8'))
  const { type, client_email: email, private_key: key, private_key_id: keyId, universe_domain: universe } = account
  if (type !== 'service_account' || typeof email !== 'string' || typeof key !== 'string')
    throw new Error('it is not the key of a service account; name others in GOOGLE_APPLICATION_CREDENTIALS')
  return async () => {
    const { JWT } = await import('google-auth-library')
    return new JWT({
      email,
      key,
      scopes: SCOPE,
      ...(typeof keyId === 'string' ? { keyId } : {}),
      ...(typeof universe === 'string' ? { universeDomain: universe } : {}),
    })
  }
}

async function defaultClient(dispatcher: Dispatcher): Promise<AuthClient> {
  const { GoogleAuth } = await import('google-auth-library')
  // Requests for tokens go where all requests go: through Orthanc's HttpProxy, trusting its HttpsCACertificates.
  const through = (url: unknown, init: object) => fetch(url as string, { ...init, dispatcher })
  const clientOptions = { transporterOptions: { fetchImplementation: through as unknown as typeof globalThis.fetch } }
  return new GoogleAuth({ scopes: SCOPE, clientOptions }).getClient()
}

function renewing(make: () => Promise<AuthClient>): Authorization {
  let client: AuthClient | undefined
  return cachedToken(async (): Promise<Token> => {
    try {
      const { JWT } = await import('google-auth-library')
      client ??= await make()
      const selfSigned = client instanceof JWT
      // Google takes a token that the account's own key has signed: no request to fetch one, and none that could fail.
      if (client instanceof JWT) client.useJWTAccessWithScope = true
      const value = (await client.getRequestHeaders()).get('authorization')
      if (!value) throw new Error('there is no token')
      const expiresAt = selfSigned
        ? Date.now() + SELF_SIGNED_MS
        : (client.credentials.expiry_date ?? Date.now() + 60_000)
      return { value, expiresAt }
    } catch (cause) {
      const said = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
      throw new Fault('Denied', `no credentials: ${said}`, {
        cause,
        remedy:
          'Give ServiceAccountFile, or application default credentials (workload identity, GOOGLE_APPLICATION_CREDENTIALS, metadata server).',
      })
    }
  })
}
