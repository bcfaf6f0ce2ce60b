/** HTTP/1.1 messages as they arrive on a connection, byte for byte as they were sent. */
import type { Socket } from 'node:net'

export interface Head {
  readonly bytes: Buffer
  /** `PUT /bucket/key HTTP/1.1` or `HTTP/1.1 200 OK`. */
  readonly line: string
  readonly headers: ReadonlyMap<string, string>
}

/** A piece of a body: bytes of the content, or the framing of a chunked body. */
export interface Piece {
  readonly bytes: Buffer
  readonly framing: boolean
}

const END = '\r\n\r\n'

/** The messages of one direction of a connection. It never reads ahead, so a slow receiver slows the sender down. */
export class Messages {
  readonly #chunks: AsyncIterator<Buffer>
  #pending: Buffer = Buffer.alloc(0)

  constructor(socket: Socket) {
    this.#chunks = socket[Symbol.asyncIterator]()
  }

  /** The head of the next message; undefined when the connection ends before it. */
  async head(): Promise<Head | undefined> {
    let end = this.#pending.indexOf(END)
    for (; end < 0; end = this.#pending.indexOf(END)) if (!(await this.#more())) return undefined
    const bytes = this.#take(end + END.length)
    const [line = '', ...rest] = bytes.toString('latin1').trimEnd().split('\r\n')
    const pair = (text: string) => [
      text.slice(0, text.indexOf(':')).toLowerCase(),
      text.slice(text.indexOf(':') + 1).trim(),
    ]
    return { bytes, line, headers: new Map(rest.map(text => pair(text) as [string, string])) }
  }

  /** The body that follows `head`. `endless`: one without a length goes on until the connection ends. */
  async *body({ headers }: Head, { endless = false } = {}): AsyncGenerator<Piece> {
    if (headers.get('transfer-encoding') === 'chunked') return yield* this.#chunked()
    const length = headers.get('content-length')
    yield* this.#content(length === undefined ? (endless ? Number.POSITIVE_INFINITY : 0) : Number(length))
  }

  async *#content(length: number): AsyncGenerator<Piece> {
    for (let left = length; left > 0; ) {
      if (this.#pending.byteLength === 0 && !(await this.#more())) return
      const bytes = this.#take(Math.min(left, this.#pending.byteLength))
      left -= bytes.byteLength
      yield { bytes, framing: false }
    }
  }

  async *#chunked(): AsyncGenerator<Piece> {
    for (;;) {
      const size = await this.#line()
      if (!size) return
      yield { bytes: size, framing: true }
      const length = Number.parseInt(size.toString('latin1'), 16)
      yield* this.#content(length)
      const end = await this.#line()
      if (!end) return
      yield { bytes: end, framing: true }
      if (length === 0) return
    }
  }

  async #line(): Promise<Buffer | undefined> {
    let end = this.#pending.indexOf('\r\n')
    for (; end < 0; end = this.#pending.indexOf('\r\n')) if (!(await this.#more())) return undefined
    return this.#take(end + 2)
  }

  #take(count: number): Buffer {
    const taken = this.#pending.subarray(0, count)
    this.#pending = this.#pending.subarray(count)
    return taken
  }

  async #more(): Promise<boolean> {
    const { value, done } = await this.#chunks.next()
    if (!done) this.#pending = Buffer.concat([this.#pending, value])
    return !done
  }
}
