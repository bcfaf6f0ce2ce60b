import type { Socket } from 'node:net'
import { errors } from 'undici'
import type { HttpRequest, HttpResponse } from '../client.ts'
import { Body } from './body.ts'
import { type Head, invalid } from './head.ts'
import { Reader } from './reader.ts'
import { upload } from './upload.ts'

const USUAL_TIMEOUT_MS = 300_000

/** What a socket needs to read into the buffers of a link. */
export interface OnRead {
  buffer(): Uint8Array
  callback(bytes: number): boolean
}

/** Makes a connection, and calls back once. */
export type Dial = (onread: OnRead, done: (error: Error | null, socket?: Socket | null) => void) => Socket | undefined

/** The pool that a link belongs to. */
export interface Home {
  /** The link may serve again. */
  free(link: Link): void
  /** The link has ended. Called once. */
  gone(link: Link): void
}

/** One request and its answer. */
interface Exchange {
  readonly request: HttpRequest
  readonly answer: PromiseWithResolvers<HttpResponse>
  readonly abort: () => void
  head: Head | undefined
  body: Body | undefined
  /** The body of the request is on its way. */
  sending: boolean
}

/** One connection, which carries one request at a time. Whatever goes wrong ends it. */
export class Link {
  readonly #home: Home
  readonly #reader: Reader
  #socket: Socket | undefined
  #ended = false
  #exchange: Exchange | undefined
  /** Bytes came before there was a connection. */
  #premature = false
  /** An answer has come over this connection. */
  #proven = false
  /** The reader of the body has enough for now. */
  #full = false
  #timer: NodeJS.Timeout | undefined
  /** The time counts for the next byte of a body. */
  #timesBody = false
  #wake: (() => void) | undefined
  /** Whether it was lost before a byte of an answer came: the server may have closed it while it was idle. */
  stale = false
  /** When it began to wait for its next request, and how long the server lets it wait. */
  idleSince = 0
  idleMs: number | undefined

  private constructor(home: Home) {
    this.#home = home
    this.#reader = new Reader({
      head: head => this.#answered(head),
      piece: bytes => {
        if (this.#exchange?.body?.push(bytes) === false) this.#full = true
      },
      complete: surplus => this.#complete(surplus),
    })
  }

  /** Rejects when there is no connection, or when `signal` is aborted before. */
  static open(home: Home, dial: Dial, signal: AbortSignal): Promise<Link> {
    if (signal.aborted) return Promise.reject(signal.reason)
    const link = new Link(home)
    const onread = { buffer: () => link.#reader.buffer(), callback: (bytes: number) => link.#received(bytes) }
    return new Promise((resolve, reject) => {
      let socket: Socket | undefined
      const giveUp = () => {
        reject(signal.reason)
        socket?.destroy(new Error('nobody wants it any more'))
      }
      signal.addEventListener('abort', giveUp, { once: true })
      socket = dial(onread, (error, connected) => {
        signal.removeEventListener('abort', giveUp)
        if (error || !connected) return reject(error)
        if (!signal.aborted && !link.#premature) return resolve(link.#connected(connected))
        connected.destroy()
        reject(signal.aborted ? signal.reason : invalid('it came without a request'))
      })
    })
  }

  get open(): boolean {
    return !this.#ended
  }

  /** Rejects with the reason of the signal, with what went wrong on the way, or with what the request's body threw. */
  ask(request: HttpRequest, head: string): Promise<HttpResponse> {
    const socket = this.#socket
    if (this.#ended || !socket) return Promise.reject(otherSideClosed())
    const abort = () => this.end(request.signal?.reason)
    const answer = Promise.withResolvers<HttpResponse>()
    const exchange: Exchange = { request, answer, abort, head: undefined, body: undefined, sending: true }
    this.#exchange = exchange
    this.#reader.expect(request.method)
    socket.ref()
    request.signal?.addEventListener('abort', abort, { once: true })
    if (request.body === undefined || request.body === null) {
      socket.write(head, 'latin1')
      this.#sent(exchange)
    } else void this.#upload(exchange, socket, head)
    return answer.promise
  }

  /** Ends the connection, and with `why` what is under way on it. */
  end(why: unknown = otherSideClosed()): void {
    if (this.#ended) return
    this.#ended = true
    this.#reader.flush()
    const exchange = this.#exchange
    this.#over()
    this.#socket?.destroy()
    this.#wake?.()
    if (exchange?.body) exchange.body.fail(why)
    else exchange?.answer.reject(why)
    this.#home.gone(this)
  }

  #connected(socket: Socket): this {
    this.#socket = socket
    socket
      .unref()
      .on('error', error => this.#lost(error))
      .on('end', () => this.#closed())
      .on('close', () => this.#closed())
      .on('drain', () => this.#wake?.())
    return this
  }

  /** The other side sends no more. A body without a length ends so. */
  #closed(): void {
    if (!this.#ended && !this.#reader.ends()) this.#lost(otherSideClosed())
  }

  #lost(error: Error): void {
    if (this.#ended) return
    this.stale = this.#exchange !== undefined && !this.#reader.begun
    this.end(this.#proven ? onTheWay(error) : error)
  }

  async #upload(exchange: Exchange, socket: Socket, head: string): Promise<void> {
    try {
      const complete = await upload(exchange.request, head, {
        socket,
        // An answer that is no success comes before the end of the body when the server does not want the rest.
        wanted: () => this.#exchange === exchange && (exchange.head?.status ?? 200) < 300,
        drained: () => this.#drained(exchange),
      })
      if (complete && this.#exchange === exchange) this.#sent(exchange)
    } catch (error) {
      if (this.#exchange === exchange) this.end(error)
    }
  }

  /** Time counts only while the server takes nothing: what makes the body may be slow. */
  async #drained(exchange: Exchange): Promise<void> {
    if (this.#exchange !== exchange) return
    if (!exchange.body) this.#wait(exchange.request.headersTimeout, errors.HeadersTimeoutError)
    await new Promise<void>(resolve => {
      this.#wake = resolve
    })
    this.#wake = undefined
    if (this.#exchange === exchange && !exchange.body) this.#rest()
  }

  /** Everything was handed over. */
  #sent(exchange: Exchange): void {
    exchange.sending = false
    if (!exchange.body) this.#wait(exchange.request.headersTimeout, errors.HeadersTimeoutError)
  }

  /** `Why`: the error if nothing comes in time. */
  #wait(ms: number | undefined, Why: new () => Error): void {
    this.#rest()
    this.#timer = setTimeout(() => this.end(new Why()), ms ?? USUAL_TIMEOUT_MS)
  }

  #rest(): void {
    clearTimeout(this.#timer)
    this.#timesBody = false
  }

  /** Bytes were read to where the reader wanted them. Returns whether to go on. */
  #received(bytes: number): boolean {
    if (this.#ended) return false
    const exchange = this.#exchange
    try {
      if (!this.#socket) this.#premature = true
      else this.#reader.received(bytes)
    } catch (error) {
      this.end(error)
    }
    if (this.#exchange === exchange && exchange?.body) this.#quiet(exchange)
    return !this.#full
  }

  /** The time without a byte begins again, but not while we read none. */
  #quiet({ request }: Exchange): void {
    if (this.#full) this.#rest()
    else if (this.#timesBody) this.#timer?.refresh()
    else {
      this.#wait(request.bodyTimeout, errors.BodyTimeoutError)
      this.#timesBody = true
    }
  }

  #answered(head: Head): void {
    const exchange = this.#exchange as Exchange
    this.#rest()
    this.#proven = true
    exchange.head = head
    exchange.body = new Body({ resume: () => this.#resume(exchange), drop: () => this.end() })
    exchange.answer.resolve({ statusCode: head.status, headers: head.headers, body: exchange.body })
  }

  #resume(exchange: Exchange): void {
    this.#full = false
    this.#socket?.resume()
    if (this.#exchange === exchange) this.#quiet(exchange)
  }

  #complete(surplus: boolean): void {
    const { body, head, request, sending } = this.#exchange as Exchange
    // Some servers send a body with the answer to HEAD, which would be taken for the next answer.
    const serves = head?.keeps && !surplus && !sending && request.method !== 'HEAD'
    this.#over()
    body?.complete()
    if (serves) {
      this.#socket?.unref()
      this.idleMs = head.idleMs
      this.#home.free(this)
    } else this.end()
  }

  /** The exchange under way has ended, whichever way. */
  #over(): void {
    const exchange = this.#exchange
    this.#exchange = undefined
    this.#rest()
    exchange?.request.signal?.removeEventListener('abort', exchange.abort)
    if (exchange && this.#full) this.#resume(exchange)
  }
}

function otherSideClosed(): Error {
  return new errors.SocketError('other side closed')
}

/** What breaks TLS after answers came through it is something on the way, not how the server is set up. */
function onTheWay(error: Error): Error {
  const code = 'code' in error ? String(error.code) : ''
  if (!/^(ERR_SSL_|EPROTO$)/.test(code)) return error
  const reason = 'reason' in error ? String(error.reason) : code
  return new errors.SocketError(`TLS was broken on the way (${reason})`)
}
