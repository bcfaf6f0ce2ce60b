/** Requests for tokens: the libraries of the providers ask STS, SSO, Entra ID, Google's OAuth or metadata services. */
import { Fault, messageOf } from '../../fault.ts'
import type { HttpClient } from '../network/client.ts'
import { faultOfNetwork } from '../network/faults.ts'
import { isMetadata } from '../network/proxy.ts'
import { secretsIn, withoutSecrets } from './secrets-sent.ts'
import { quoteOf } from './stranger.ts'

export interface TokenRequest {
  readonly url: URL
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Buffer | undefined
  readonly signal: AbortSignal | undefined
}

export interface TokenAnswer {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: Buffer
}

const REQUEST_MS = 15_000
const LONGEST_ANSWER = 1024 * 1024
const MOST_ANSWERS = 4

/**
 * Requests for tokens go the way of all requests: through the proxy, trusting the same authorities. The libraries
 * report any failure as "no credentials"; this class remembers whether there only was no answer, which passes.
 */
export class TokenServices {
  readonly #dispatcher: HttpClient
  readonly #metadataExpected: () => boolean
  #trouble: Fault | undefined
  /** The answers since the credentials were requested: they may hold them. */
  #answered: string[] = []

  /** `metadataExpected`: whether this machine should have a metadata service. If not, it need not answer. */
  constructor(dispatcher: HttpClient, metadataExpected: () => boolean) {
    this.#dispatcher = dispatcher
    this.#metadataExpected = metadataExpected
  }

  async ask({ url, method, headers, body, signal }: TokenRequest): Promise<TokenAnswer> {
    const { origin, host, hostname, pathname, search } = url
    const late = AbortSignal.timeout(REQUEST_MS)
    const anySignal = signal ? AbortSignal.any([late, signal]) : late
    try {
      const answer = await this.#dispatcher.request({
        origin,
        path: pathname + search,
        method,
        headers,
        body: body ?? null,
        signal: anySignal,
      })
      const chunks: Uint8Array[] = []
      let size = 0
      for await (const chunk of answer.body) {
        size += chunk.byteLength
        if (size > LONGEST_ANSWER) throw new Fault('Unavailable', `the answer of ${host} is too large for a token`)
        chunks.push(chunk)
      }
      const { statusCode: status } = answer
      const all = Buffer.concat(chunks)
      if (status < 300) this.#answered = [all.toString('latin1'), ...this.#answered.slice(0, MOST_ANSWERS - 1)]
      if (status >= 500 || status === 429) this.#trouble = new Fault('Unavailable', `${host} answers HTTP ${status}`)
      const lines = Object.entries(answer.headers).map(([name, value]) => [name, String(value)])
      // The libraries quote what they do not understand.
      const secrets = status < 300 ? [] : secretsIn(headers, search, String(body ?? ''))
      const shown = secrets.length === 0 ? all : Buffer.from(withoutSecrets(all.toString('utf8'), secrets))
      return { status, headers: Object.fromEntries(lines), body: shown }
    } catch (error) {
      const fault = faultOfNetwork(error, late)
      const passes = fault.retryable || fault.code === 'Timeout'
      if (fault.code !== 'Internal' && !signal?.aborted && (!isMetadata(hostname) || this.#metadataExpected()))
        this.#trouble = fault.with({ cause: error, retryable: passes }, `${host}: ${fault.message}`)
      // These libraries decide by the code of an error.
      throw Object.assign(new Error(fault.message, { cause: error }), { code: codeOf(error) ?? 'ECONNREFUSED' })
    }
  }

  /** For requests of a library to a metadata service: any failure there is one that passes. */
  async metadata<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask()
    } catch (cause) {
      const said = this.#shown(cause, messageOf(cause))
      this.#trouble = new Fault('Unavailable', `the metadata service gave none: ${said}`, { cause })
      throw cause
    }
  }

  /** Runs `work`. If it gives no credentials, the fault says why. `remedy`: unless it was a failure on the way. */
  async credentials<T>(work: () => Promise<T>, said: (error: unknown) => string, remedy: () => string): Promise<T> {
    this.#trouble = undefined
    this.#answered = []
    try {
      return await work()
    } catch (cause) {
      const trouble = this.#trouble as Fault | undefined
      if (cause instanceof Fault) throw cause
      const words = this.#shown(cause, said(cause))
      if (!trouble) throw new Fault('Denied', `no credentials: ${words}`, { cause, remedy: remedy() })
      const message = trouble.message.endsWith(words) ? trouble.message : `${words}; ${trouble.message}`
      const code = trouble.retryable ? 'Unavailable' : trouble.code
      throw new Fault(code, `no credentials: ${message}`, { cause, remedy: trouble.remedy || remedy() })
    }
  }

  /** A library that did not understand an answer may quote it, with the token that it holds. */
  #shown(cause: unknown, said: string): string {
    const all = this.#answered
    const raw = cause instanceof SyntaxError || (cause instanceof TypeError && all.length > 0 && !('code' in cause))
    if (raw) return 'the answer was not understood'
    return quoteOf(said.replace(/[\w.~+/=-]{8,}/g, word => (all.some(answer => answer.includes(word)) ? '…' : word)))
  }
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  return 'code' in error && typeof error.code === 'string' ? error.code : codeOf(error.cause)
}
