/** Where the keys that sign requests to S3 come from. */
import { messageOf } from '../../fault.ts'
import { Clock } from '../http/clock.ts'
import type { HttpRefusal } from '../http/dialect.ts'
import { inContainer, machineMaker } from '../http/machine.ts'
import { cachedToken, type Token, type Tokens } from '../http/token.ts'
import { type TokenRequest, TokenServices } from '../http/token-service.ts'
import type { HttpClient } from '../network/client.ts'
import type { Credentials } from './sigv4.ts'

/** Keys that never expire, such as those of a profile, are read again after this time: an operator may replace them. */
const LOOK_MS = 60_000
/** For the metadata service of a machine that has one; the library's own is one second. */
const METADATA_MS = 5_000

/** The keys and the time that requests are signed with. */
export interface S3Signing {
  readonly keys: (signal: AbortSignal) => Promise<Credentials>
  readonly now: () => number
  /** Called when the store refused a request signed with `used`: whether it may accept one that is signed now. */
  readonly again: (answer: HttpRefusal, used: Credentials) => boolean
}

interface Place {
  readonly region: string
  readonly dispatcher: HttpClient
  readonly warn: (line: string) => void
}

/** Static keys, or what AWS's whole default chain finds. */
export function s3Signing(fixed: Credentials | undefined, { region, dispatcher, warn }: Place): S3Signing {
  const clock = new Clock(warn)
  const chain = fixed ? undefined : chainOf(region, dispatcher, warn)
  return {
    keys: signal => (chain ? chain.get(signal) : Promise.resolve(fixed as Credentials)),
    now: () => clock.now(),
    again: (answer, used) => {
      if (/<Code>RequestTimeTooSkewed</.test(answer.text)) return clock.learn(answer.headers)
      return chain !== undefined && isAboutKeys(answer) && chain.refused(used)
    },
  }
}

function isAboutKeys({ text }: HttpRefusal): boolean {
  return /<Code>(ExpiredToken|InvalidToken|InvalidTokenId|TokenRefreshRequired|InvalidAccessKeyId)</.test(text)
}

function chainOf(region: string, dispatcher: HttpClient, warn: (line: string) => void): Tokens<Credentials> {
  const services = new TokenServices(dispatcher, () => true)
  const fetch = async (): Promise<Credentials & { readonly expiration?: Date }> => {
    const { fromInstanceMetadata, fromNodeProviderChain } = await import('@aws-sdk/credential-providers')
    const requestHandler = handlerOf(services)
    // As the parent's, the region is only what STS and SSO fall back to: their own settings come first.
    const clients = { clientConfig: { requestHandler }, parentClientConfig: { region, requestHandler } }
    try {
      return await fromNodeProviderChain({ ...clients, ignoreCache: true })()
    } catch (error) {
      if (!expectsMetadata()) throw error
      // The chain waits one second for it, and does not say how it failed.
      return await services.metadata(fromInstanceMetadata({ timeout: METADATA_MS }))
    }
  }
  return cachedToken(
    (): Promise<Token<Credentials>> =>
      services.credentials(
        async () => {
          const value = await fetch()
          return value.expiration
            ? { value, expiresAt: value.expiration.getTime() }
            : { value, expiresAt: Number.POSITIVE_INFINITY, renewAt: Date.now() + LOOK_MS }
        },
        messageOf,
        remedy,
      ),
    warn,
  )
}

/** Whether the chain ends at the metadata service of an instance, on a machine that has one. */
function expectsMetadata(): boolean {
  const { env } = process
  const disabled = env['AWS_EC2_METADATA_DISABLED'] ?? 'false'
  if (
    disabled !== 'false' ||
    env['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI'] ||
    env['AWS_CONTAINER_CREDENTIALS_FULL_URI']
  )
    return false
  return env['AWS_EC2_METADATA_SERVICE_ENDPOINT'] !== undefined || /amazon/i.test(machineMaker())
}

function remedy(): string {
  const usual =
    'Set AccessKey and SecretKey, or provide credentials where the default chain of AWS finds them (environment, profile, role).'
  if (!inContainer()) return usual
  return `${usual} In a container, the role of an EC2 instance is found only if answers of the metadata service may take two hops: set HttpPutResponseHopLimit to 2 (aws ec2 modify-instance-metadata-options).`
}

/** What the clients of AWS pass to a requestHandler. */
interface SdkRequest {
  readonly protocol: string
  readonly hostname: string
  readonly port?: number
  readonly path: string
  readonly query?: Readonly<Record<string, string | string[] | null>>
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: unknown
}

function handlerOf(services: TokenServices) {
  return {
    async handle(request: SdkRequest, { abortSignal }: { abortSignal?: AbortSignal } = {}) {
      const url = new URL(
        `${request.protocol}//${request.hostname}${request.port ? `:${request.port}` : ''}${request.path}`,
      )
      for (const [name, value] of Object.entries(request.query ?? {}))
        for (const one of [value].flat()) url.searchParams.append(name, one ?? '')
      const { status, headers, body } = await services.ask({
        url,
        method: request.method,
        headers: request.headers,
        body: bodyOf(request.body),
        signal: abortSignal,
      })
      return { response: { statusCode: status, headers, body } }
    },
    destroy() {},
    metadata: { handlerProtocol: 'http/1.1' },
    updateHttpClientConfig() {},
    httpHandlerConfigs: () => ({}),
  }
}

function bodyOf(body: unknown): TokenRequest['body'] {
  if (typeof body === 'string') return body
  return body instanceof Uint8Array ? Buffer.from(body.buffer, body.byteOffset, body.byteLength) : undefined
}
