/** Orthanc's REST API over HTTP, for a command that runs beside Orthanc. */
import type { Bytes, Source } from '../bytes.ts'
import { Fault, isObject } from '../fault.ts'
import type { Json } from '../orthanc.ts'
import type { HttpClient, HttpResponse } from '../stores/network/client.ts'
import { faultOfNetwork } from '../stores/network/faults.ts'
import { network } from '../stores/network/network.ts'
import { unlessAborted } from '../stores/unless-aborted.ts'
import { attempt, type RetryPolicy } from '../stores/wrappers/retry.ts'
import type { Asked } from './resources.ts'

export interface HttpOrthancOptions {
  /** http or https, maybe with a path; no user, password or query. */
  readonly url: string
  /** A secret. undefined = Orthanc wants none. */
  readonly user: { readonly name: string; readonly password: string } | undefined
  /** As NetworkOptions. */
  readonly caFile: string | undefined
  readonly proxy: string | undefined
  readonly noProxy: readonly string[]
  readonly warn: (line: string) => void
  /** Default 8. */
  readonly maxConnections?: number
  /** For tests: the first pause before a request is repeated, and the bytes of an answer. */
  readonly firstDelayMs?: number
  readonly largestBytes?: number
}

const CONNECT_MS = 15_000
/** A database with millions of patients needs some time for the list of them. */
const HEAD_MS = 300_000
const STALL_MS = 60_000
const MAX_CONNECTIONS = 8
const MAX_RETRIES = 4
/** Of one answer: a list of a million patients has 50 MB. */
const LARGEST_BYTES = 128 * 1024 * 1024

/** The requests of `Orthanc` that need no plugin, with its faults; several at a time. Each reads, so it is repeated. */
export class HttpOrthanc implements Asked {
  /** For people: without the user. */
  readonly name: string
  readonly #http: HttpClient
  readonly #origin: string
  readonly #path: string
  readonly #headers: Readonly<Record<string, string>>
  readonly #policy: RetryPolicy
  readonly #largestBytes: number

  /** Throws `BadConfig` when `url` is none, or holds a secret. */
  constructor(options: HttpOrthancOptions) {
    const { url, user, firstDelayMs = 500, largestBytes = LARGEST_BYTES, maxConnections = MAX_CONNECTIONS } = options
    const { origin, pathname } = checkedUrl(url)
    this.#origin = origin
    this.#path = pathname.replace(/\/+$/, '')
    this.name = `Orthanc at ${origin}${this.#path}`
    const basic = user && Buffer.from(`${user.name}:${user.password}`).toString('base64')
    this.#headers = { accept: 'application/json', ...(basic && { authorization: `Basic ${basic}` }) }
    this.#policy = { maxRetries: MAX_RETRIES, firstDelayMs }
    this.#largestBytes = largestBytes
    const limits = { connectTimeoutMs: CONNECT_MS, maxConnections }
    this.#http = network({ ...options, ...limits, store: origin, info: () => {} })
  }

  get(uri: string, signal: AbortSignal): Promise<Json | undefined> {
    return this.#request('GET', uri, undefined, signal)
  }

  async post(uri: string, body: Json, signal: AbortSignal): Promise<Json> {
    const answer = await this.#request('POST', uri, typeof body === 'string' ? body : JSON.stringify(body), signal)
    if (answer === undefined) throw new Fault('NotFound', `Orthanc has no ${uri}`)
    return answer
  }

  /**
   * Gives a DICOM file to Orthanc. When the answer is lost, it is sent again: then Orthanc has it already. A fault that
   * the source throws passes as it is, and Orthanc drops what it has of the file, because it knows the size.
   */
  async upload(file: Source, signal: AbortSignal): Promise<Json> {
    const once = () => this.#once('POST', '/instances', { size: file.size, bytes: file.open() }, signal)
    const answer = await attempt(once, this.#policy, signal, () => {})
    if (answer === undefined) throw new Fault('NotFound', 'Orthanc has no /instances')
    return answer
  }

  async close(): Promise<void> {
    await this.#http.destroy()
  }

  async #request(method: string, uri: string, body: string | undefined, signal: AbortSignal) {
    const sent = body === undefined ? undefined : { size: Buffer.byteLength(body), bytes: body }
    return await attempt(
      () => this.#once(method, uri, sent, signal),
      this.#policy,
      signal,
      () => {},
    )
  }

  async #once(method: string, uri: string, body: Sent | undefined, signal: AbortSignal): Promise<Json | undefined> {
    const length = body && { 'content-length': String(body.size) }
    const asked = this.#http.request({
      origin: this.#origin,
      path: `${this.#path}${uri}`,
      method,
      headers: { ...this.#headers, ...length },
      body: body?.bytes ?? null,
      signal,
      headersTimeout: HEAD_MS,
      bodyTimeout: STALL_MS,
    })
    try {
      const answer = await unlessAborted(asked, signal, ({ body: unread }) => unread.destroy())
      const question = `${method} ${uri}`
      return meaning(answer.statusCode, await textOf(answer, this.#largestBytes, question), question)
    } catch (error) {
      if (error instanceof Fault) throw error
      const fault = faultOfNetwork(error, signal)
      throw fault.with({}, `no answer of ${this.name}: ${fault.message}`)
    }
  }
}

interface Sent {
  readonly size: number
  readonly bytes: Bytes | string
}

/** Throws `BadConfig`, without the text where that may hold a secret. */
function checkedUrl(text: string): URL {
  const url = URL.parse(text)
  if (!url || !/^https?:$/.test(url.protocol))
    throw new Fault('BadConfig', 'the URL of Orthanc is no http(s) URL, such as http://localhost:8042')
  if (url.username + url.password + url.search + url.hash !== '')
    throw new Fault('BadConfig', 'the URL of Orthanc has a user, a password, a query or a fragment', {
      remedy: 'Every user of this machine can see it: put USER:PASSWORD into a file, for --orthanc-user-file.',
    })
  return url
}

async function textOf({ body }: HttpResponse, most: number, asked: string): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.byteLength
    if (size > most) throw new Fault('TooLarge', `Orthanc's answer to ${asked} is larger than ${most} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** What an answer says. Its text is never shown: it may have names of patients. */
function meaning(status: number, text: string, asked: string): Json | undefined {
  const answered = `Orthanc answered ${asked} with HTTP ${status}`
  if (status >= 200 && status < 300) return text === '' ? null : parsed(text, asked)
  if (status === 404) {
    if (isOrthancs(text)) return undefined
    const remedy = 'Check the URL, and what is in front of Orthanc.'
    throw new Fault('Internal', `${asked} was answered with HTTP 404, but not by Orthanc`, { remedy })
  }
  if (status === 401 || status === 403)
    throw new Fault('Denied', answered, {
      remedy: 'Give a user that may read everything: --orthanc-user-file, a file with USER:PASSWORD.',
    })
  if (status >= 300 && status < 400)
    throw new Fault('BadConfig', answered, { remedy: 'Give the URL that this one redirects to.' })
  if (status === 429 || (status >= 502 && status <= 504)) throw new Fault('Unavailable', answered)
  throw new Fault(status < 500 ? 'BadRequest' : 'Internal', answered)
}

/** Orthanc describes its errors, or sends an empty text. What stands before it sends a page. */
function isOrthancs(text: string): boolean {
  if (text === '') return true
  try {
    const error: unknown = JSON.parse(text)
    return isObject(error) && typeof error['OrthancStatus'] === 'number'
  } catch {
    return false
  }
}

function parsed(text: string, asked: string): Json {
  try {
    return JSON.parse(text)
  } catch {
    throw new Fault('Internal', `Orthanc's answer to ${asked} is not JSON`) // the error would show some of the text
  }
}
