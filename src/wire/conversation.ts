import { type Bytes, type Content, type Source, sourceOf } from '../bytes.ts'
import { Fault } from '../fault.ts'
import type { Connection, Frame } from './connection.ts'
import { cutText, type Fields, INLINE_BYTES, Kind, MAX_PAYLOAD, pack } from './frames.ts'

/** One PULL. Large enough that the round trip (about 0.1 ms) does not count, small enough for 50 calls at once. */
const PULL_BYTES = 512 * 1024

/** How a call ends: the fields and the text of RETURN. A result was delivered before. */
export interface Return {
  readonly fields?: Fields
  readonly text?: string
}

/**
 * One call, from CALL to RETURN, and its only way to the plugin. The plugin answers one question at a time, so
 * questions wait for each other. Work that has failed may go on for a while. Once the call has ended, everything that
 * this work still asks or delivers is rejected here, because the connection belongs to the next call.
 */
export class Conversation {
  readonly call: Frame
  readonly #connection: Connection
  #turn: Promise<unknown> = Promise.resolve()
  #deliveries = 0
  #ended = false

  constructor(connection: Connection, call: Frame) {
    this.#connection = connection
    this.call = call
  }

  /**
   * Splits the call into its envelope and its content. Small content travels behind the envelope; larger content stays
   * in Orthanc's memory and is pulled. The plugin has the same rule (`SendCall` in plugin/call.cpp), so a call of
   * another length is broken: `Internal`. `envelopeBytes`: undefined for an envelope that may have any size.
   */
  split(envelopeBytes: number | undefined, contentBytes: number): { envelope: Buffer; content: Source } {
    const { payload } = this.call
    const inline = contentBytes <= INLINE_BYTES
    const end = payload.byteLength - (inline ? contentBytes : 0)
    if (end < 0 || end !== (envelopeBytes ?? end))
      throw new Fault('Internal', `a call has ${payload.byteLength} bytes, which do not fit its verb and its content`)
    const content = inline ? sourceOf(payload.subarray(end)) : pulledSource(this, contentBytes)
    return { envelope: payload.subarray(0, end), content }
  }

  /** A slice of the content, which is in Orthanc's memory. */
  pull(offset: number, bytes: number): Promise<Buffer> {
    return this.#take(async () => {
      const wanted = Buffer.allocUnsafe(4)
      wanted.writeUInt32LE(bytes)
      const target = Buffer.allocUnsafeSlow(bytes)
      const arrived = this.#connection.receiveInto(target, offset)
      await Promise.all([this.#connection.send(Kind.pull, { argument: offset }, wanted), arrived])
      return target
    })
  }

  /** UPCALL or SUBMIT, and its REPLY. `BadRequest` when the texts do not fit into a frame. */
  async ask(kind: number, fields: Fields, texts: readonly [string, string], signal: AbortSignal): Promise<Frame> {
    const payload = pack(...texts)
    if (payload.byteLength > MAX_PAYLOAD)
      throw new Fault('BadRequest', `${payload.byteLength} bytes are more than Orthanc takes at once (${MAX_PAYLOAD})`)
    return await this.#take(async () => {
      signal.throwIfAborted()
      await this.#connection.send(kind, fields, payload)
      return await this.#connection.receive(Kind.reply)
    })
  }

  /** `value`: a whole number, not below 0. */
  async metric(name: string, value: number): Promise<void> {
    this.#check()
    await this.#connection.send(Kind.metric, { argument: value }, Buffer.from(name))
  }

  /**
   * Gives the result of the call: a file, the body of an answer, the texts of a job. A second delivery replaces the
   * first, from the first byte on. RESERVE leaves with the first bytes and RETURN with the last, so that a small result
   * wakes Orthanc's thread once.
   */
  async deliver({ size, body }: Content): Promise<void> {
    const delivery = ++this.#deliveries
    let drained: Promise<void> | undefined
    let at = 0
    for await (const chunk of body)
      for (let from = 0; from < chunk.byteLength; from += MAX_PAYLOAD) {
        await drained
        this.#check(delivery)
        const piece = chunk.subarray(from, from + MAX_PAYLOAD)
        if (at + piece.byteLength > size) throw new Fault('Internal', `a result has more than its ${size} bytes`)
        if (at === 0) void this.#connection.send(Kind.reserve, { argument: size })
        drained = this.#connection.send(Kind.fill, { argument: at }, piece)
        at += piece.byteLength
      }
    this.#check(delivery)
    if (at < size) throw new Fault('Internal', `a result has only ${at} of its ${size} bytes`)
    if (size === 0) void this.#connection.send(Kind.reserve, { argument: 0 })
  }

  /** As deliver(), for a result that is in memory. */
  deliverBytes(bytes: Uint8Array): Promise<void> {
    return this.deliver({ size: bytes.byteLength, body: sourceOf(bytes).open() })
  }

  /** Ends the call, after the turn under way has its answer: RETURN must not overtake it. Later turns are rejected. */
  async end({ fields = {}, text }: Return): Promise<void> {
    this.#check()
    this.#ended = true
    await this.#turn
    await this.#connection.send(Kind.return, fields, text === undefined ? undefined : cutText(text))
  }

  #take<T>(turn: () => Promise<T>): Promise<T> {
    const taken = this.#turn.then(() => {
      this.#check()
      return turn()
    })
    this.#turn = taken.catch(() => {}) // the caller gets the rejection; the next turn needs only the end
    return taken
  }

  #check(delivery = this.#deliveries): void {
    if (this.#ended) throw new Fault('Canceled', 'the call has ended')
    if (delivery !== this.#deliveries) throw new Fault('Canceled', 'a later delivery replaces this one')
  }
}

/** Orthanc's own buffer as a Source: it is read slice by slice, as often as a retry or a second pass needs. */
function pulledSource(conversation: Conversation, size: number): Source {
  async function* open(range = { start: 0, end: size }): Bytes {
    for (let at = range.start; at < range.end; at += PULL_BYTES)
      yield await conversation.pull(at, Math.min(PULL_BYTES, range.end - at))
  }
  return { size, open }
}
