import { errors } from 'undici'
import { Chunks } from './chunks.ts'
import { type Head, invalid, LONGEST_HEAD, mayBeHead, noHttp, parseHead } from './head.ts'

/** Room for a usual head. It is small, because what comes of a body with its head is copied. */
const USUAL_HEAD = 4096
/** A body up to this size arrives in one piece, and a larger one in pieces of PIECE_BYTES. */
const WHOLE_BYTES = 1024 * 1024
const PIECE_BYTES = 256 * 1024
/** Answers with a status of 1xx before the one that counts. */
const MOST_INTERIM = 20

/**
 * Bodies of unknown length are read into this buffer by all readers, and copied out of it: libuv fills it and hands it
 * over within one turn of the event loop.
 */
const scratch = Buffer.allocUnsafeSlow(64 * 1024)

export interface Listener {
  /** The head of the answer that counts has come. */
  head(head: Head): void
  /** A piece of its body has come, which stays as it is. */
  piece(bytes: Buffer): void
  /** All of it has come. `surplus`: bytes came behind it that belong to nothing. */
  complete(surplus: boolean): void
}

/** From the bytes of one connection to answers, one after the other. It throws where they are none. */
export class Reader {
  readonly #listener: Listener
  #method: string | undefined
  #head = Buffer.allocUnsafeSlow(USUAL_HEAD)
  #headBytes = 0
  #interim = 0
  #body: 'none' | 'of a length' | 'in chunks' | 'until the end' = 'none'
  /** Of a body of known length: where it is read to, how much of that is there, and how much is still to come. */
  #target: Buffer | undefined
  #filled = 0
  #left = 0
  #chunks = new Chunks()

  constructor(listener: Listener) {
    this.#listener = listener
  }

  /** An answer to a request of this method is to come. */
  expect(method: string): void {
    this.#method = method
    this.#headBytes = 0
    this.#interim = 0
  }

  /** Whether something of the answer has come. */
  get begun(): boolean {
    return this.#headBytes > 0 || this.#interim > 0 || this.#body !== 'none'
  }

  /** Where the next bytes are read to. */
  buffer(): Buffer {
    if (this.#body === 'none') return this.#head.subarray(this.#headBytes)
    return this.#target?.subarray(this.#filled) ?? scratch
  }

  /** So many bytes were read to where buffer() said. */
  received(bytes: number): void {
    if (this.#body === 'none') this.#headGrew(bytes)
    else if (this.#body === 'of a length') this.#targetGrew(bytes, false)
    else this.#bodyGrew(scratch.subarray(0, bytes))
  }

  /** Passes on what has come of a piece. */
  flush(): void {
    const partial = this.#target?.subarray(0, this.#filled)
    this.#target = undefined
    if (partial && partial.byteLength > 0) this.#listener.piece(partial)
  }

  /** The other side sends no more. Returns whether that is how the answer ends. */
  ends(): boolean {
    const ends = this.#body === 'until the end'
    if (ends) this.#complete(false)
    return ends
  }

  #headGrew(bytes: number): void {
    if (this.#method === undefined) throw invalid('it came without a request')
    const known = this.#headBytes
    this.#headBytes += bytes
    const all = this.#head.subarray(0, this.#headBytes)
    if (!mayBeHead(all)) throw noHttp()
    const end = all.indexOf('\r\n\r\n', Math.max(0, known - 3), 'latin1')
    if (end < 0) {
      if (this.#headBytes === LONGEST_HEAD) throw new errors.HeadersOverflowError()
      if (this.#headBytes === this.#head.byteLength) {
        this.#head = Buffer.allocUnsafeSlow(LONGEST_HEAD)
        all.copy(this.#head)
      }
      return
    }
    const head = parseHead(all.toString('latin1', 0, end), this.#method)
    const rest = all.subarray(end + 4)
    if (head.status >= 200) this.#begin(head, rest)
    else this.#skip(head, rest)
  }

  /** An answer before the one that counts. */
  #skip({ status, persists }: Head, rest: Buffer): void {
    if (status === 101) throw invalid('it goes over to another protocol')
    if (!persists) throw invalid('the connection ends before it') // others drop what follows
    if (++this.#interim > MOST_INTERIM) throw invalid('it does not come to its point')
    rest.copy(this.#head)
    this.#headBytes = 0
    if (rest.byteLength > 0) this.#headGrew(rest.byteLength)
  }

  #begin(head: Head, rest: Buffer): void {
    const { framing } = head
    this.#body = framing === 'chunked' ? 'in chunks' : framing === 'until-close' ? 'until the end' : 'of a length'
    if (framing === 'chunked') this.#chunks = new Chunks()
    else if (typeof framing === 'number') {
      this.#left = framing
      this.#filled = 0
      this.#target = undefined
      if (framing > 0) this.#target = Buffer.allocUnsafeSlow(framing <= WHOLE_BYTES ? framing : PIECE_BYTES)
    }
    this.#listener.head(head)
    if (framing === 0) this.#complete(rest.byteLength > 0)
    else if (rest.byteLength > 0) this.#bodyGrew(rest)
  }

  /** `bytes` stay where they are only until this returns. */
  #bodyGrew(bytes: Buffer): void {
    if (this.#target) {
      const taken = bytes.copy(this.#target, 0, 0, Math.min(bytes.byteLength, this.#left))
      this.#targetGrew(taken, taken < bytes.byteLength)
    } else if (this.#body === 'in chunks') {
      // As one: a million chunks of one byte would be a million objects in memory.
      const pieces: Buffer[] = []
      const taken = this.#chunks.take(bytes, piece => pieces.push(piece))
      if (pieces.length > 0) this.#listener.piece(Buffer.concat(pieces))
      if (this.#chunks.complete) this.#complete(taken < bytes.byteLength)
    } else this.#listener.piece(Buffer.from(bytes))
  }

  #targetGrew(bytes: number, surplus: boolean): void {
    const target = this.#target as Buffer
    this.#filled += bytes
    this.#left -= bytes
    if (this.#filled < target.byteLength) return
    this.#target = this.#left > 0 ? Buffer.allocUnsafeSlow(Math.min(this.#left, PIECE_BYTES)) : undefined
    this.#filled = 0
    this.#listener.piece(target)
    if (this.#left === 0) this.#complete(surplus)
  }

  #complete(surplus: boolean): void {
    this.#method = undefined
    this.#headBytes = 0
    this.#body = 'none'
    this.#listener.complete(surplus)
  }
}
