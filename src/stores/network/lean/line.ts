import type { Socket } from 'node:net'
import { errors } from 'undici'
import type { HttpRequest, HttpResponse } from '../client.ts'
import { Body } from './body.ts'
import { Chunks } from './chunks.ts'
import { type Framing, type Head, invalid, LONGEST_HEAD, mayBeHead, noHttp, parseHead } from './head.ts'
import { upload } from './upload.ts'

/** So much is read at once while a head is expected. The rest of a body is then read where it stays. */
const HEAD_STEP = 4096
/** A body up to this size arrives in one buffer, and a larger one in buffers of CHUNK_BYTES. */
const WHOLE_BYTES = 1024 * 1024
const CHUNK_BYTES = 256 * 1024
/** Answers with a status of 1xx before the one that counts. */
const MOST_INTERIM = 20
const USUAL_TIMEOUT_MS = 300_000

/**
 * Bodies of unknown length are read into this buffer by all lines, and copied out of it: libuv fills it and hands it
 * over within one turn of the event loop.
 */
const scratch = Buffer.allocUnsafeSlow(64 * 1024)

/** What a socket needs to read into a line's own buffers. */
export interface OnRead {
  buffer(): Uint8Array
  callback(bytes: number): boolean
}

/** Makes a connection, and calls back once. */
export type Dial = (onread: OnRead, done: (error: Error | null, socket?: Socket | null) => void) => Socket | undefined

/** The pool that a line belongs to. */
export interface Home {
  /** The line may serve again. */
  free(line: Line): void
  /** The line has ended. Called once. */
  gone(line: Line): void
}

/** One request and its answer. */
interface Exchange {
  readonly request: HttpRequest
  readonly answer: PromiseWithResolvers<HttpResponse>
  readonly abort: () => void
  body: Body | undefined
  head: Head | undefined
  interim: number
  /** The body of the request is on its way. */
  sending: boolean
}

/** One connection, which carries one request at a time. Whatever goes wrong ends it. */
export class Line {
  readonly #home: Home
  #socket: Socket | undefined
  #ended = false
  #exchange: Exchange | undefined
  #framing: Framing | 'head' = 'head'
  readonly #head = Buffer.allocUnsafeSlow(LONGEST_HEAD)
  #headBytes = 0
  /** Of a body of known length: where it is read to, how much of that is there, and how much is still to come. */
  #target: Buffer | undefined
  #filled = 0
  #left = 0
  #chunks: Chunks | undefined
  #full = false
  #timer: NodeJS.Timeout | undefined
  #wake: (() => void) | undefined
  /** Bytes came before there was a request, or even a connection. */
  #premature = false
  /** Whether it ended before a byte of an answer came: the server may have closed it while it was idle. */
  stale = false
  /** When it began to wait for its next request, and how long the server lets it wait. */
  idleSince = 0
  idleMs: number | undefined

  private constructor(home: Home) {
    this.#home = home
  }

  /** Rejects when there is no connection, or when `signal` is aborted before. */
  static open(home: Home, dial: Dial, signal: AbortSignal | undefined): Promise<Line> {
    const line = new Line(home)
    return new Promise((resolve, reject) => {
      const onread = { buffer: () => line.#buffer(), callback: (bytes: number) => line.#received(bytes) }
      let socket: Socket | undefined
      const end = () => {
        reject(signal?.reason)
        socket?.destroy(new Error('it is not wanted any more'))
      }
      signal?.addEventListener('abort', end, { once: true })
      socket = dial(onread, (error, connected) => {
        signal?.removeEventListener('abort', end)
        if (error || !connected) return reject(error)
        if (signal?.aborted) return void connected.destroy()
        if (line.#premature) {
          connected.destroy()
          return reject(invalid('it came without a request'))
        }
        line.#connected(connected)
        resolve(line)
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
    const exchange: Exchange = {
      request,
      answer: Promise.withResolvers(),
      abort: () => this.end(request.signal?.reason),
      body: undefined,
      head: undefined,
      interim: 0,
      sending: true,
    }
    this.#exchange = exchange
    socket.ref()
    request.signal?.addEventListener('abort', exchange.abort, { once: true })
    if (request.body === undefined || request.body === null) {
      socket.write(head, 'latin1')
      this.#sent(exchange)
    } else void this.#upload(exchange, socket, head)
    return exchange.answer.promise
  }

  /** Ends the connection, and with `why` what is under way on it. */
  end(why: unknown = otherSideClosed()): void {
    if (this.#ended) return
    this.#ended = true
    const exchange = this.#exchange
    const partial = this.#target?.subarray(0, this.#filled)
    this.#over()
    this.#socket?.destroy()
    this.#wake?.()
    if (exchange?.body) {
      if (partial && partial.byteLength > 0) exchange.body.push(partial)
      exchange.body.fail(why)
    } else exchange?.answer.reject(why)
    this.#home.gone(this)
  }

  #connected(socket: Socket): void {
    this.#socket = socket
    socket
      .on('error', error => this.#lost(error))
      .on('end', () => this.#closed())
      .on('close', () => this.#closed())
      .on('drain', () => this.#wake?.())
  }

  /** The other side sends no more. A body without a length ends so. */
  #closed(): void {
    const body = this.#exchange?.body
    if (this.#framing === 'until-close' && body) {
      body.complete()
      this.#over()
    }
    this.#lost(otherSideClosed())
  }

  #lost(why: unknown): void {
    if (this.#ended) return
    const { body, interim } = this.#exchange ?? { interim: 0 }
    this.stale = this.#headBytes === 0 && !body && interim === 0
    this.end(why)
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

  /** Only while the server takes nothing the time counts: what makes the body may be slow. */
  async #drained(exchange: Exchange): Promise<void> {
    if (this.#ended) return
    if (!exchange.body) this.#wait(exchange.request.headersTimeout, errors.HeadersTimeoutError)
    await new Promise<void>(resolve => {
      this.#wake = resolve
    })
    this.#wake = undefined
    if (this.#exchange === exchange && !exchange.body) clearTimeout(this.#timer)
  }

  /** Everything was handed over. */
  #sent(exchange: Exchange): void {
    exchange.sending = false
    if (!exchange.body) this.#wait(exchange.request.headersTimeout, errors.HeadersTimeoutError)
  }

  /** `Why`: the error if nothing comes in time. */
  #wait(ms: number | undefined, Why: new () => Error): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.end(new Why()), ms ?? USUAL_TIMEOUT_MS)
  }

  /** Where the next bytes are read to. Asked for at the beginning, and after each time that bytes came. */
  #buffer(): Buffer {
    if (this.#framing === 'head')
      return this.#head.subarray(this.#headBytes, Math.min(this.#headBytes + HEAD_STEP, LONGEST_HEAD))
    if (typeof this.#framing !== 'number') return scratch
    return this.#room().subarray(this.#filled)
  }

  #room(): Buffer {
    if (!this.#target) {
      const whole = Number(this.#framing) <= WHOLE_BYTES
      this.#target = Buffer.allocUnsafeSlow(whole ? this.#left : Math.min(this.#left, CHUNK_BYTES))
      this.#filled = 0
    }
    return this.#target
  }

  /** Bytes were read to where #buffer() said. Returns whether to go on. */
  #received(bytes: number): boolean {
    try {
      if (this.#ended) return false
      if (!this.#socket) this.#premature = true
      else if (this.#framing === 'head') this.#headGrew(bytes)
      else {
        this.#timer?.refresh()
        if (typeof this.#framing === 'number') this.#advance(bytes)
        else this.#bodyGrew(scratch.subarray(0, bytes))
      }
    } catch (error) {
      this.end(error)
    }
    return !this.#full
  }

  #headGrew(bytes: number): void {
    const exchange = this.#exchange
    if (!exchange) throw invalid('it came without a request')
    const known = this.#headBytes
    this.#headBytes += bytes
    const all = this.#head.subarray(0, this.#headBytes)
    if (!mayBeHead(all)) throw noHttp()
    const end = all.indexOf('\r\n\r\n', Math.max(0, known - 3), 'latin1')
    if (end < 0) {
      if (this.#headBytes === LONGEST_HEAD) throw new errors.HeadersOverflowError()
      return
    }
    const head = parseHead(all.toString('latin1', 0, end), exchange.request.method)
    const rest = all.subarray(end + 4)
    this.#headBytes = 0
    if (head.status >= 200) {
      this.#begin(exchange, head, rest)
      return
    }
    if (head.status === 101) throw invalid('it goes over to another protocol')
    if (++exchange.interim > MOST_INTERIM) throw invalid('it does not come to its point')
    this.#timer?.refresh()
    rest.copy(this.#head)
    if (rest.byteLength > 0) this.#headGrew(rest.byteLength)
  }

  #begin(exchange: Exchange, head: Head, rest: Buffer): void {
    const { answer, request } = exchange
    const body = new Body({ resume: () => this.#resume(), drop: () => this.end() })
    exchange.head = head
    exchange.body = body
    this.#framing = head.framing
    clearTimeout(this.#timer)
    if (typeof head.framing === 'number') this.#left = head.framing
    else if (head.framing === 'chunked') this.#chunks = new Chunks()
    answer.resolve({ statusCode: head.status, headers: head.headers, body })
    if (head.framing === 0) this.#complete(rest.byteLength > 0)
    else if (rest.byteLength > 0) this.#bodyGrew(rest)
    if (this.#exchange === exchange) this.#wait(request.bodyTimeout, errors.BodyTimeoutError)
  }

  /** `bytes` stay where they are only until this returns. */
  #bodyGrew(bytes: Buffer): void {
    const body = this.#exchange?.body
    if (typeof this.#framing === 'number') {
      const taken = bytes.copy(this.#room(), 0, 0, Math.min(bytes.byteLength, this.#left))
      this.#advance(taken, taken < bytes.byteLength)
    } else if (this.#chunks) {
      const taken = this.#chunks.take(bytes, piece => this.#pass(Buffer.from(piece), body))
      if (this.#chunks.complete) this.#complete(taken < bytes.byteLength)
    } else this.#pass(Buffer.from(bytes), body)
  }

  /** So many bytes more are in the target. `surplus`: others came behind them. */
  #advance(bytes: number, surplus = false): void {
    const target = this.#room()
    this.#filled += bytes
    this.#left -= bytes
    if (this.#left > 0 && this.#filled < target.byteLength) return
    this.#target = undefined
    this.#pass(target, this.#exchange?.body)
    if (this.#left === 0) this.#complete(surplus)
  }

  #pass(chunk: Buffer, body: Body | undefined): void {
    if (body && !body.push(chunk)) this.#full = true
  }

  #resume(): void {
    this.#full = false
    this.#timer?.refresh()
    this.#socket?.resume()
  }

  /** `surplus`: bytes came that belong to nothing. The answer is right, but what comes next on this line may not be. */
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
    clearTimeout(this.#timer)
    this.#timer = undefined
    exchange?.request.signal?.removeEventListener('abort', exchange.abort)
    this.#exchange = undefined
    this.#framing = 'head'
    this.#target = undefined
    this.#chunks = undefined
    if (this.#full) this.#resume()
  }
}

function otherSideClosed(): Error {
  return new errors.SocketError('other side closed')
}
