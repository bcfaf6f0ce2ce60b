/** How a request to Azure is authorised: by the account's key, by a shared access signature, or by a token. */
import { type Dispatcher, getGlobalDispatcher } from 'undici'
import { Fault } from '../fault.ts'
import type { Authorized, Draft } from './dialect.ts'
import { type SharedKey, sharedKeySigner } from './shared-key.ts'
import { cachedToken } from './token.ts'

export type AzureCredentials =
  | ({ readonly kind: 'key' } & SharedKey)
  /** Without its question mark. */
  | { readonly kind: 'sas'; readonly sas: string }
  /** The default chain of Azure: environment, workload identity, managed identity, command line. */
  | { readonly kind: 'chain' }

/** Of 2021; later ones bring nothing that is needed here, and emulators and appliances lag behind. Cold needs this one. */
const API_VERSION = '2021-12-02'
const SCOPE = 'https://storage.azure.com/.default'

type Authorize = (draft: Draft, length: number) => Promise<Authorized>

export function azureAuthorizer(credentials: AzureCredentials, dispatcher: Dispatcher): Authorize {
  const headersOf = (draft: Draft): Record<string, string> => ({
    ...draft.headers,
    'x-ms-version': API_VERSION,
    'x-ms-date': new Date().toUTCString(),
  })
  if (credentials.kind === 'sas') return draft => Promise.resolve({ headers: headersOf(draft), query: credentials.sas })
  if (credentials.kind === 'key') {
    const sign = sharedKeySigner(credentials)
    return async (draft, length) => {
      const { method, path, query = [] } = draft
      const headers = headersOf(draft)
      headers['authorization'] = sign({ method, path, query, headers, length })
      return { headers, query: '' }
    }
  }
  const token = chainOf(dispatcher)
  return async draft => ({ headers: { ...headersOf(draft), authorization: `Bearer ${await token()}` }, query: '' })
}

function chainOf(dispatcher: Dispatcher): () => Promise<string> {
  let credential: import('@azure/identity').DefaultAzureCredential | undefined
  return cachedToken(async () => {
    try {
      const { DefaultAzureCredential } = await import('@azure/identity')
      credential ??= new DefaultAzureCredential({ httpClient: throughOurs(dispatcher) } as object)
      const { token, expiresOnTimestamp } = await credential.getToken(SCOPE)
      return { value: token, expiresAt: expiresOnTimestamp }
    } catch (cause) {
      throw new Fault('Denied', `no credentials: ${saidBy(cause)}`, {
        cause,
        remedy:
          'Give a ConnectionString, or let the default chain of Azure find an identity (managed or workload identity, AZURE_CLIENT_ID and its fellows).',
      })
    }
  })
}

/** The chain's own message says only that it failed; what each of its members says tells why. */
function saidBy(error: unknown): string {
  const { errors } = error as { errors?: unknown }
  const all: readonly unknown[] = Array.isArray(errors) && errors.length > 0 ? errors : [error]
  return all.map(one => (one instanceof Error ? one.message.split('\n')[0] : String(one))).join('; ')
}

/** What @azure/identity asks of its `httpClient` option, and what it gets back. */
interface TokenRequest {
  readonly url: string
  readonly method: string
  readonly headers: Iterable<[string, string]>
  readonly body?: unknown
  readonly abortSignal?: AbortSignal
}

/** Metadata services are on the machine itself or on its link: no proxy leads there. */
const LOCAL = /^(127\.|169\.254\.|localhost$|\[::1\]$|\[f[de])/

/** Requests for tokens go where all requests go: through Orthanc's HttpProxy, trusting its HttpsCACertificates. */
function throughOurs(dispatcher: Dispatcher) {
  return {
    async sendRequest(request: TokenRequest) {
      const { createHttpHeaders } = await import('@azure/core-rest-pipeline')
      const { origin, hostname, pathname, search } = new URL(request.url)
      const answer = await (LOCAL.test(hostname) ? getGlobalDispatcher() : dispatcher).request({
        origin,
        path: pathname + search,
        method: request.method as Dispatcher.HttpMethod,
        headers: Object.fromEntries(request.headers),
        body: typeof request.body === 'string' ? request.body : null,
        ...(request.abortSignal ? { signal: request.abortSignal } : {}),
      })
      return {
        request,
        status: answer.statusCode,
        headers: createHttpHeaders(answer.headers as Record<string, string>),
        bodyAsText: await answer.body.text(),
      }
    },
  }
}
