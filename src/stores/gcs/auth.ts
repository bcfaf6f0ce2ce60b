/** How a request to Google is authorised: by a service account's key, or by application default credentials. */
import { createPrivateKey, sign } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import type { AuthClient } from 'google-auth-library'
import { Fault, messageOf, oneLine } from '../../fault.ts'
import { Clock } from '../http/clock.ts'
import type { Dialect, HttpRefusal } from '../http/dialect.ts'
import { machineMaker } from '../http/machine.ts'
import { cachedToken, type Token, type Tokens } from '../http/token.ts'
import { TokenServices } from '../http/token-service.ts'
import type { HttpClient } from '../network/client.ts'

const SCOPE = 'https://www.googleapis.com/auth/devstorage.read_write'
/** How often we look whether an operator has replaced the credential file. The next request uses the new one. */
const LOOK_MS = 2_000
const SELF_SIGNED_MS = 3600_000
const LONGEST_NAME = 100

/** What goes with each request: the token, and which project pays where the credentials name one. */
type Headers = Readonly<Record<string, string>>

interface Place {
  readonly dispatcher: HttpClient
  readonly warn: (line: string) => void
  readonly clock: Clock
}

/** `file` undefined = application default credentials. */
export function googleAuthorizer(
  file: string | undefined,
  dispatcher: HttpClient,
  warn: (line: string) => void,
): Dialect['authorize'] {
  const place = { dispatcher, warn, clock: new Clock(warn) }
  const tokens = tokensOf(file, place)
  return async (draft, _length, _streamed, signal) => {
    const current = await tokens()
    const headers = await current.get(signal)
    const again = (answer: HttpRefusal) => {
      if (answer.status !== 401) return false
      // Only Google itself answers in JSON or XML; a proxy does not.
      if (/^\s*(\{|<\?xml)/.test(answer.text)) place.clock.learn(answer.headers)
      return current.refused(headers)
    }
    return { headers: { ...draft.headers, ...headers }, query: '', again }
  }
}

function tokensOf(file: string | undefined, place: Place): () => Promise<Tokens<Headers>> {
  if (file !== undefined) return following(file, async () => selfSigned(await accountOf(file), place))
  const named = process.env['GOOGLE_APPLICATION_CREDENTIALS']
  if (named) return following(named, async () => (await selfSignedIn(named, place)) ?? fetched(place))
  const tokens = fetched(place)
  return () => Promise.resolve(tokens)
}

/** Opens `file` again whenever it has changed, once for all requests that wait. */
function following<T>(file: string, open: () => Promise<T>): () => Promise<T> {
  let current: { readonly stamp: string; readonly opened: T } | undefined
  let looking: Promise<T> | undefined
  let lookedAt = 0

  async function look(): Promise<T> {
    lookedAt = Date.now()
    try {
      const { mtimeMs, size, ino } = await stat(file)
      const stamp = `${mtimeMs} ${size} ${ino}`
      if (stamp !== current?.stamp) current = { stamp, opened: await open() }
    } catch (error) {
      // While somebody replaces the file it may be missing or cut off for a moment: what worked goes on working.
      if (!current) unusable(file, error)
    }
    return current.opened
  }

  return () => {
    if (current && Date.now() - lookedAt <= LOOK_MS) return Promise.resolve(current.opened)
    looking ??= look().finally(() => {
      looking = undefined
    })
    return looking
  }
}

function unusable(file: string, cause: unknown): never {
  // A message of JSON.parse would quote the file, which holds a secret.
  const said = cause instanceof SyntaxError ? 'it is not JSON' : messageOf(cause)
  throw new Fault('BadConfig', `the credential file ${file} cannot be used: ${said}`, {
    remedy: 'It must be the JSON key as Google made it, readable by the user that runs Orthanc.',
  })
}

interface Account {
  readonly email: string
  readonly key: string
  readonly keyId: string | undefined
  readonly quotaProject: string | undefined
}

/** Rejects unless the file is that of a service account. */
async function accountOf(file: string): Promise<Account> {
  const account: { [name: string]: unknown } = JSON.parse(await readFile(file, 'utf8'))
  const { type, client_email: email, private_key: key, private_key_id: keyId, quota_project_id: project } = account
  if (type !== 'service_account' || typeof email !== 'string' || typeof key !== 'string')
    throw new Error('it is not the key of a service account; for other credentials use GOOGLE_APPLICATION_CREDENTIALS')
  const optional = (value: unknown) => (typeof value === 'string' ? value : undefined)
  return { email, key, keyId: optional(keyId), quotaProject: optional(project) }
}

async function selfSignedIn(file: string, place: Place): Promise<Tokens<Headers> | undefined> {
  const { type } = JSON.parse(await readFile(file, 'utf8'))
  return type === 'service_account' ? selfSigned(await accountOf(file), place) : undefined
}

/** Google accepts a token that is signed with the account's key, so no request is needed that could fail. */
function selfSigned({ email, key, keyId, quotaProject }: Account, { clock, warn }: Place): Tokens<Headers> {
  return cachedToken(async (): Promise<Token<Headers>> => {
    const iat = Math.floor(clock.now() / 1000)
    const head = { alg: 'RS256', typ: 'JWT', ...(keyId === undefined ? {} : { kid: keyId }) }
    const claims = { iss: email, sub: email, scope: SCOPE, iat, exp: iat + SELF_SIGNED_MS / 1000 }
    const text = [head, claims].map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
    try {
      const signature = sign('RSA-SHA256', Buffer.from(text), createPrivateKey(key)).toString('base64url')
      const value = headersOf(`Bearer ${text}.${signature}`, quotaProject)
      return { value, expiresAt: Date.now() + SELF_SIGNED_MS }
    } catch {
      throw new Fault('Denied', `no credentials: the private key of ${oneLine(email, LONGEST_NAME)} cannot be used`, {
        remedy: 'ServiceAccountFile must be the JSON key as Google made it.',
      })
    }
  }, warn)
}

function headersOf(authorization: string, quotaProject: string | null | undefined): Headers {
  return quotaProject ? { authorization, 'x-goog-user-project': quotaProject } : { authorization }
}

/** What application default credentials find: a user's, a workload's, or the metadata service's. */
function fetched({ dispatcher, warn }: Place): Tokens<Headers> {
  const services = new TokenServices(dispatcher, expectsMetadata)
  let client: AuthClient | undefined
  return cachedToken(
    (): Promise<Token<Headers>> =>
      services.credentials(
        async () => {
          client ??= await clientOf(services)
          const headers = await client.getRequestHeaders()
          const authorization = headers.get('authorization')
          if (!authorization) throw new Error('there is no token')
          const expiresAt = client.credentials.expiry_date ?? Date.now() + 60_000
          return { value: headersOf(authorization, headers.get('x-goog-user-project')), expiresAt }
        },
        error => messageOf(error).split('\n')[0] ?? '',
        () =>
          'Set ServiceAccountFile, or provide application default credentials (workload identity, GOOGLE_APPLICATION_CREDENTIALS, metadata server).',
      ),
    warn,
    () => {
      client = undefined
    },
  )
}

async function clientOf(services: TokenServices): Promise<AuthClient> {
  const { GoogleAuth, gaxios, gcpMetadata } = await import('google-auth-library')
  const through = throughOurs(services) as unknown as typeof globalThis.fetch
  gaxios.instance.defaults.fetchImplementation = through // for the metadata client, which has no option
  gcpMetadata.resetIsAvailableCache() // it keeps a "no" for ever, though the service may only be late
  return new GoogleAuth({
    scopes: SCOPE,
    clientOptions: { transporterOptions: { fetchImplementation: through } },
  }).getClient()
}

function throughOurs(services: TokenServices) {
  return async (input: URL | string, init: RequestInit = {}): Promise<Response> => {
    const request = new Request(input, init)
    const { status, headers, body } = await services.ask({
      url: new URL(request.url),
      method: request.method,
      headers: Object.fromEntries(request.headers),
      body: (await request.text()) || undefined,
      signal: init.signal ?? undefined,
    })
    // The library writes the error text of a metadata service to stderr, which may hold anything.
    const content = status >= 300 && request.url.includes('/computeMetadata/') ? `HTTP ${status}` : new Uint8Array(body)
    return new Response([204, 304].includes(status) ? null : content, { status, headers })
  }
}

function expectsMetadata(): boolean {
  const named = ['GCE_METADATA_HOST', 'GCE_METADATA_IP']
  return named.some(name => process.env[name]) || /google/i.test(machineMaker())
}
