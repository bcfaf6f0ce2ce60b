import { errors } from 'undici'
import type { HttpClient, HttpRequest, HttpResponse } from '../client.ts'
import { type Dial, type Home, Line } from './line.ts'
import { headOf } from './upload.ts'

export interface LinesOptions {
  readonly dial: Dial
  readonly maxConnections: number
  /** Longest time that a connection waits for its next request, in ms. */
  readonly idleMs: number
}

interface Waiting {
  readonly signal: AbortSignal | undefined
  take(line: Line | Promise<Line>): void
  fail(why: unknown): void
}

/**
 * The connections to one server: a bounded number, each of which serves again. A request takes the one that served
 * last; the others get older, and end.
 */
export class Lines implements HttpClient, Home {
  readonly #options: LinesOptions
  /** With those that are being made. */
  #count = 0
  readonly #all = new Set<Line>()
  readonly #idle: Line[] = []
  readonly #waiting: Waiting[] = []
  readonly #dialing = new AbortController()
  #sweeper: NodeJS.Timeout | undefined
  #destroyed = false

  constructor(options: LinesOptions) {
    this.#options = options
  }

  async request(request: HttpRequest): Promise<HttpResponse> {
    const { signal } = request
    signal?.throwIfAborted()
    if (this.#destroyed) throw new errors.ClientDestroyedError()
    const head = headOf(request)
    const idle = this.#idleLine()
    try {
      return await this.#ask(idle ?? (await this.#newLine(signal)), request, head)
    } catch (error) {
      if (!idle?.stale || !isSafe(request)) throw error
      return await this.#ask(await this.#newLine(signal), request, head)
    }
  }

  #ask(line: Line, request: HttpRequest, head: string): Promise<HttpResponse> {
    if (!request.signal?.aborted) return line.ask(request, head)
    this.free(line)
    throw request.signal.reason
  }

  async destroy(why: Error = new errors.ClientDestroyedError()): Promise<void> {
    this.#destroyed = true
    clearTimeout(this.#sweeper)
    this.#dialing.abort(why)
    for (const waiting of this.#waiting.splice(0)) waiting.fail(why)
    for (const line of this.#all) line.end(why)
  }

  free(line: Line): void {
    if (!line.open) return
    const waiting = this.#waiting.shift()
    if (waiting) {
      waiting.take(line)
      return
    }
    line.idleSince = performance.now()
    this.#idle.push(line)
    this.#sweeper ??= setTimeout(() => this.#sweep(), this.#options.idleMs).unref()
  }

  gone(line: Line): void {
    this.#all.delete(line)
    const at = this.#idle.indexOf(line)
    if (at >= 0) this.#idle.splice(at, 1)
    this.#ended()
  }

  #idleLine(): Line | undefined {
    for (let line = this.#idle.pop(); line; line = this.#idle.pop()) {
      if (!this.#isOld(line, performance.now())) return line
      line.end()
    }
    return undefined
  }

  #isOld({ idleSince, idleMs = this.#options.idleMs }: Line, now: number): boolean {
    return now - idleSince >= Math.min(idleMs, this.#options.idleMs)
  }

  #newLine(signal: AbortSignal | undefined): Promise<Line> {
    if (this.#count < this.#options.maxConnections) return this.#dial(signal)
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
        reject(signal?.reason)
      }
      const settled = () => signal?.removeEventListener('abort', leave)
      const waiting: Waiting = {
        signal,
        take(line) {
          settled()
          resolve(line)
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

  async #dial(signal: AbortSignal | undefined): Promise<Line> {
    this.#count++
    const ending = this.#dialing.signal
    try {
      const line = await Line.open(this, this.#options.dial, signal ? AbortSignal.any([signal, ending]) : ending)
      this.#all.add(line)
      if (this.#destroyed) line.end(ending.reason)
      return line
    } catch (error) {
      this.#ended()
      throw error
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
    for (const line of this.#idle.filter(one => this.#isOld(one, now))) line.end()
    const [oldest] = this.#idle
    if (oldest) this.#sweeper = setTimeout(() => this.#sweep(), this.#options.idleMs).unref()
  }
}

/** Whether a request may be sent again when nobody knows what became of it. */
function isSafe({ method, body }: HttpRequest): boolean {
  return (method === 'GET' || method === 'HEAD') && (body === undefined || body === null)
}
