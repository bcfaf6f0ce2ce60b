/** How a request to Azure is authorised: by the account's key, by a shared access signature, or by a token. */
import { messageOf } from '../../fault.ts'
import { Clock } from '../http/clock.ts'
import type { Dialect, Draft, HttpRefusal } from '../http/dialect.ts'
import { machineMaker } from '../http/machine.ts'
import { cachedToken, type Tokens } from '../http/token.ts'
import { TokenServices } from '../http/token-service.ts'
import type { HttpClient } from '../network/client.ts'
import { type SharedKey, sharedKeySigner } from './shared-key.ts'

export type AzureCredentials =
  | ({ readonly kind: 'key' } & SharedKey)
  /** Without its question mark. */
  | { readonly kind: 'sas'; readonly sas: string }
  /** The default chain of Azure: environment, workload identity, managed identity, command line. */
  | { readonly kind: 'chain' }

/** Of 2021, which AccessTier Cold needs. Later ones bring nothing for us, and emulators and appliances lag behind. */
const API_VERSION = '2021-12-02'
const SCOPE = 'https://storage.azure.com/.default'

export function azureAuthorizer(
  credentials: AzureCredentials,
  dispatcher: HttpClient,
  warn: (line: string) => void,
): Dialect['authorize'] {
  const clock = new Clock(warn)
  const headersOf = (draft: Draft): Record<string, string> => ({
    ...draft.headers,
    ...(draft.within ? {} : { 'x-ms-version': API_VERSION }), // a request within another one has that of the other
    'x-ms-date': new Date(clock.now()).toUTCString(),
  })
  /** A shared access signature has its own times, which the server compares with its own clock only. */
  const skewed = ({ headers, text }: HttpRefusal) =>
    [headers['x-ms-error-code'], /<Code>([^<]*)</.exec(text)?.[1]].includes('AuthenticationFailed') &&
    clock.learn(headers)
  if (credentials.kind === 'sas')
    return draft => Promise.resolve({ headers: headersOf(draft), query: credentials.sas, again: skewed })
  if (credentials.kind === 'key') {
    const sign = sharedKeySigner(credentials)
    return async (draft, length) => {
      const { method, path, query = [] } = draft
      const headers = headersOf(draft)
      headers['authorization'] = sign({ method, path, query, headers, length })
      return { headers, query: '', again: skewed }
    }
  }
  const tokens = chainOf(dispatcher, warn)
  return async (draft, _length, _streamed, signal) => {
    const token = await tokens.get(signal)
    const headers = { ...headersOf(draft), authorization: `Bearer ${token}` }
    return { headers, query: '', again: answer => skewed(answer) || (answer.status === 401 && tokens.refused(token)) }
  }
}

function chainOf(dispatcher: HttpClient, warn: (line: string) => void): Tokens<string> {
  const services = new TokenServices(dispatcher, expectsMetadata)
  const credential = async () => {
    const { DefaultAzureCredential } = await import('@azure/identity')
    return new DefaultAzureCredential({ httpClient: clientOf(services) } as object)
  }
  let current: ReturnType<typeof credential> | undefined
  return cachedToken(
    () =>
      services.credentials(
        async () => {
          current ??= credential()
          const opened = current
          current = undefined // after a failure a new one is made: this one would keep the failure in its cache
          const { token, expiresOnTimestamp } = await (await opened).getToken(SCOPE)
          current = opened
          return { value: token, expiresAt: expiresOnTimestamp }
        },
        saidBy,
        () =>
          'Set ConnectionString, or provide an identity where the default chain of Azure finds it (managed or workload identity, AZURE_CLIENT_ID and related variables).',
      ),
    warn,
    () => {
      current = undefined
    },
  )
}

function expectsMetadata(): boolean {
  const named = ['IDENTITY_ENDPOINT', 'MSI_ENDPOINT', 'AZURE_POD_IDENTITY_AUTHORITY_HOST']
  return named.some(name => process.env[name]) || /microsoft/i.test(machineMaker())
}

/** The chain's own message says only that it failed. The messages of its members say why. */
function saidBy(error: unknown): string {
  const { errors } = error as { errors?: unknown }
  const all: readonly unknown[] = Array.isArray(errors) && errors.length > 0 ? errors : [error]
  return all.map(one => messageOf(one).split('\n')[0]).join('; ')
}

/** What @azure/identity passes to its `httpClient` option. */
interface SdkRequest {
  readonly url: string
  readonly method: string
  readonly headers: Iterable<[string, string]>
  readonly body?: unknown
  readonly abortSignal?: AbortSignal
}

function clientOf(services: TokenServices) {
  return {
    async sendRequest(request: SdkRequest) {
      const { createHttpHeaders } = await import('@azure/core-rest-pipeline')
      const { status, headers, body } = await services.ask({
        url: new URL(request.url),
        method: request.method,
        headers: Object.fromEntries(request.headers),
        body: typeof request.body === 'string' ? request.body : undefined,
        signal: request.abortSignal,
      })
      return { request, status, headers: createHttpHeaders(headers), bodyAsText: body.toString('utf8') }
    },
  }
}
