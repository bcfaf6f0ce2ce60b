/** How a request to Google is authorised: by a service account's key, by application default credentials, or not at all. */
import { readFile, stat } from 'node:fs/promises'
import { type Dispatcher, fetch } from 'undici'
import { Fault } from '../fault.ts'
import { cachedToken, type Token } from './token.ts'

const SCOPE = 'https://www.googleapis.com/auth/devstorage.read_write'
/** A key file that an operator replaces is taken from the next request on, but not looked at more often than this. */
const LOOK_MS = 2_000
/** What google-auth-library gives the tokens that it signs itself. */
const SELF_SIGNED_MS = 3600_000

/** The value of the Authorization header. `file` undefined = application default credentials. */
export function googleToken(file: string | undefined, dispatcher: Dispatcher): () => Promise<string> {
  const fromDefaults = () => clientOf(undefined, dispatcher)
  if (file === undefined) return renewing(fromDefaults)

  let current: { readonly stamp: string; readonly token: () => Promise<string> } | undefined
  let lookedAt = 0
  return async () => {
    if (!current || Date.now() - lookedAt > LOOK_MS) {
      lookedAt = Date.now()
      // While somebody replaces the file it may be missing or cut off for a moment: what worked goes on working.
      current = await read(file, current?.stamp, dispatcher)
        .catch(error => {
          if (current) return undefined
          throw error
        })
        .then(fresh => fresh ?? current)
    }
    return (current as NonNullable<typeof current>).token()
  }
}

async function read(file: string, known: string | undefined, dispatcher: Dispatcher) {
  try {
    const { mtimeMs, size, ino } = await stat(file)
    const stamp = `${mtimeMs} ${size} ${ino}`
    if (stamp === known) return undefined
    const credentials: object = JSON.parse(await readFile(file, 'utf8'))
    await clientOf(credentials, dispatcher) // complains of what is no credential
    return { stamp, token: renewing(() => clientOf(credentials, dispatcher)) }
  } catch (cause) {
    if (cause instanceof Fault) throw cause
    // A message of JSON.parse would quote the file, which holds a secret.
    const said =
      cause instanceof SyntaxError ? 'it is not JSON' : cause instanceof Error ? cause.message : String(cause)
    throw new Fault('BadConfig', `ServiceAccountFile ${file} cannot be used: ${said}`, {
      remedy:
        'It must be the JSON key of a service account, as Google made it, and readable by the user that runs Orthanc.',
    })
  }
}

/** Loaded only when it is needed. */
async function clientOf(credentials: object | undefined, dispatcher: Dispatcher) {
  const { GoogleAuth, JWT } = await import('google-auth-library')
  // Requests for tokens go where all requests go: through Orthanc's HttpProxy, trusting its HttpsCACertificates.
  const through = (url: unknown, init: object) => fetch(url as string, { ...init, dispatcher })
  const clientOptions = { transporterOptions: { fetchImplementation: through as unknown as typeof globalThis.fetch } }
  const auth = new GoogleAuth({ scopes: SCOPE, clientOptions, ...(credentials ? { credentials } : {}) })
  const client = await auth.getClient()
  const selfSigned = client instanceof JWT
  // Google takes a token that the account's own key has signed: no request to fetch one, and none that could fail.
  if (selfSigned) client.useJWTAccessWithScope = true
  return { client, selfSigned }
}

function renewing(make: () => ReturnType<typeof clientOf>): () => Promise<string> {
  let made: ReturnType<typeof clientOf> | undefined
  return cachedToken(async (): Promise<Token> => {
    try {
      made ??= make()
      const { client, selfSigned } = await made
      const value = (await client.getRequestHeaders()).get('authorization')
      if (!value) throw new Error('there is no token')
      const expiresAt = selfSigned
        ? Date.now() + SELF_SIGNED_MS
        : (client.credentials.expiry_date ?? Date.now() + 60_000)
      return { value, expiresAt }
    } catch (cause) {
      made = undefined
      if (cause instanceof Fault) throw cause
      const said = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
      throw new Fault('Denied', `no credentials: ${said}`, {
        cause,
        remedy:
          'Give ServiceAccountFile, or application default credentials (workload identity, GOOGLE_APPLICATION_CREDENTIALS, metadata server).',
      })
    }
  })
}
