import type { Bytes, Source } from '../bytes.ts'
import { Fault } from '../fault.ts'
import type { Connection, Frame } from './connection.ts'
import { Kind, pack } from './frames.ts'

/** One PULL. Large enough that the round trip (about 0.1 ms) does not count, small enough for 50 calls at once. */
const PULL_BYTES = 512 * 1024

/**
 * The turns of one call. The plugin answers one question at a time; whoever asks while another waits comes next. A call
 * may RETURN only when they are settled, lest it overtakes an answer that nobody waits for any more.
 */
export class Turns {
  readonly #connection: Connection
  #last: Promise<unknown> = Promise.resolve()

  constructor(connection: Connection) {
    this.#connection = connection
  }

  settled(): Promise<unknown> {
    return this.#last
  }

  take<T>(turn: () => Promise<T>): Promise<T> {
    const taken = this.#last.then(turn)
    this.#last = taken.catch(() => undefined)
    return taken
  }

  /** A slice of the call's content, which is in Orthanc's memory. */
  pull(offset: number, bytes: number): Promise<Buffer> {
    return this.take(async () => {
      const wanted = Buffer.allocUnsafe(4)
      wanted.writeUInt32LE(bytes)
      const target = Buffer.allocUnsafeSlow(bytes)
      const arrived = this.#connection.receiveInto(target, offset)
      await Promise.all([this.#connection.send(Kind.pull, { argument: offset }, wanted), arrived])
      return target
    })
  }

  /** UPCALL or SUBMIT and its REPLY. */
  ask(
    kind: number,
    fields: { flags?: number; argument?: number },
    texts: readonly [string, string],
    signal: AbortSignal,
  ): Promise<Frame> {
    return this.take(async () => {
      signal.throwIfAborted()
      await this.#connection.send(kind, fields, pack(...texts))
      const reply = await this.#connection.receive()
      if (reply.kind !== Kind.reply)
        throw new Fault('Internal', `a frame of kind ${reply.kind} came instead of Orthanc's reply`)
      return reply
    })
  }
}

/** Orthanc's own buffer as a Source: read slice by slice, as often as a retry or a second pass needs. */
export function pulledSource(turns: Turns, size: number): Source {
  async function* open(range = { start: 0, end: size }): Bytes {
    for (let at = range.start; at < range.end; at += PULL_BYTES)
      yield await turns.pull(at, Math.min(PULL_BYTES, range.end - at))
  }
  return { size, open }
}
