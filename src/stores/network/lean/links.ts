import { errors } from 'undici'
import type { HttpClient, HttpRequest, HttpResponse } from '../client.ts'
import { type Dial, type Home, Link } from './link.ts'
import { headOf } from './upload.ts'

export interface LinksOptions {
  readonly dial: Dial
  readonly maxConnections: number
  /** Longest time that a connection waits for its next request, in ms. */
  readonly idleMs: number
}

interface Waiting {
  readonly signal: AbortSignal | undefined
  take(link: Link | Promise<Link>): void
  fail(why: unknown): void
}

/**
 * The connections to one server: a bounded number, each of which serves again. A request takes the one that served
 * last; the others get older, and end.
 */
export class Links implements HttpClient, Home {
  readonly #options: LinksOptions
  /** With those that are being made. */
  #count = 0
  readonly #all = new Set<Link>()
  readonly #idle: Link[] = []
  readonly #waiting: Waiting[] = []
  /** Connections that are being made. */
  readonly #dialing = new Set<AbortController>()
  #sweeper: NodeJS.Timeout | undefined
  #destroyed = false

  constructor(options: LinksOptions) {
    this.#options = options
  }

  async request(request: HttpRequest): Promise<HttpResponse> {
    const { signal } = request
    signal?.throwIfAborted()
    if (this.#destroyed) throw new errors.ClientDestroyedError()
    const head = headOf(request)
    const idle = this.#idleLink()
    try {
      return await this.#ask(idle ?? (await this.#newLink(signal)), request, head)
    } catch (error) {
      if (!idle?.stale || !isSafe(request)) throw error
      return await this.#ask(await this.#newLink(signal), request, head)
    }
  }

  #ask(link: Link, request: HttpRequest, head: string): Promise<HttpResponse> {
    if (!request.signal?.aborted) return link.ask(request, head)
    this.free(link)
    throw request.signal.reason
  }

  async destroy(why: Error = new errors.ClientDestroyedError()): Promise<void> {
    this.#destroyed = true
    clearTimeout(this.#sweeper)
    for (const dialing of this.#dialing) dialing.abort(why)
    for (const waiting of this.#waiting.splice(0)) waiting.fail(why)
    for (const link of this.#all) link.end(why)
  }

  free(link: Link): void {
    if (!link.open) return
    const waiting = this.#waiting.shift()
    if (waiting) {
      waiting.take(link)
      return
    }
    link.idleSince = performance.now()
    this.#idle.push(link)
    this.#sweeper ??= setTimeout(() => this.#sweep(), this.#options.idleMs).unref()
  }

  gone(link: Link): void {
    this.#all.delete(link)
    const at = this.#idle.indexOf(link)
    if (at >= 0) this.#idle.splice(at, 1)
    this.#ended()
  }

  #idleLink(): Link | undefined {
    for (let link = this.#idle.pop(); link; link = this.#idle.pop()) {
      if (!this.#isOld(link, performance.now())) return link
      link.end()
    }
    return undefined
  }

  #isOld({ idleSince, idleMs = this.#options.idleMs }: Link, now: number): boolean {
    return now - idleSince >= Math.min(idleMs, this.#options.idleMs)
  }

  #newLink(signal: AbortSignal | undefined): Promise<Link> {
    if (this.#count < this.#options.maxConnections) return this.#dial(signal)
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
        reject(signal?.reason)
      }
      const settled = () => signal?.removeEventListener('abort', leave)
      const waiting: Waiting = {
        signal,
        take(link) {
          settled()
          resolve(link)
        },
        fail(why) {
          settled()
          reject(why)
        },
      }
      signal?.addEventListener('abort', leave, { once: true })
      this.#waiting.push(waiting)
    })
  }

  async #dial(signal: AbortSignal | undefined): Promise<Link> {
    this.#count++
    const dialing = new AbortController()
    const pass = () => dialing.abort(signal?.reason)
    if (signal?.aborted) pass()
    signal?.addEventListener('abort', pass, { once: true })
    this.#dialing.add(dialing)
    try {
      if (this.#destroyed) throw new errors.ClientDestroyedError()
      const link = await Link.open(this, this.#options.dial, dialing.signal)
      this.#all.add(link)
      if (this.#destroyed) link.end(new errors.ClientDestroyedError())
      return link
    } catch (error) {
      this.#ended()
      throw error
    } finally {
      this.#dialing.delete(dialing)
      signal?.removeEventListener('abort', pass)
    }
  }

  /** There is one connection less. */
  #ended(): void {
    this.#count--
    if (this.#destroyed || this.#count >= this.#options.maxConnections) return
    const waiting = this.#waiting.shift()
    waiting?.take(this.#dial(waiting.signal))
  }

  #sweep(): void {
    this.#sweeper = undefined
    const now = performance.now()
    for (const link of this.#idle.filter(one => this.#isOld(one, now))) link.end()
    const [oldest] = this.#idle
    if (oldest) this.#sweeper = setTimeout(() => this.#sweep(), this.#options.idleMs).unref()
  }
}

/** Whether a request may be sent again when nobody knows what became of it. */
function isSafe({ method, body }: HttpRequest): boolean {
  return (method === 'GET' || method === 'HEAD') && (body === undefined || body === null)
}
