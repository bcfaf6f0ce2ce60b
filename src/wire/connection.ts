import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { basename, dirname } from 'node:path'
import { Fault } from '../fault.ts'
import {
  decodeHeader,
  encodeHeader,
  type Fields,
  HEADER_BYTES,
  type Header,
  Kind,
  MAX_PAYLOAD,
  UUID_BYTES,
} from './frames.ts'

export interface Frame extends Header {
  readonly payload: Buffer
}

/** Smaller payloads get a new buffer each time. */
const SMALL_PAYLOAD = 4096

/** No more frames than this may wait unread. The plugin waits for its turn, so only GROW and PING can queue at all. */
const MAX_WAITING = 1024
/** Nor may more bytes wait than the largest frame has. */
const MAX_WAITING_BYTES = MAX_PAYLOAD

/**
 * All connections read into this one buffer. libuv fills it and hands it over within one turn of the event loop, and
 * nothing of it is kept. The rest of a large payload is read straight into its own buffer instead. This was measured
 * against `data` events of 64 KiB: the throughput is three to four times as high.
 */
const scratch = Buffer.allocUnsafeSlow(256 * 1024)

/** One connection to the plugin, which carries frames. Any error closes it for good, and rejects all who wait. */
export class Connection {
  readonly #socket: Socket
  readonly #header = Buffer.allocUnsafe(HEADER_BYTES)
  #headerBytes = 0
  #incoming: { header: Header; payload: Buffer; filled: number } | undefined
  #target: Buffer | undefined
  #spare: Buffer | undefined
  readonly #spareBytes = 256 * 1024 + UUID_BYTES // the largest common frame: a CREATE with its content
  #waiting: Frame[] = []
  #waitingBytes = 0
  #receiver: PromiseWithResolvers<Frame> | undefined
  #drained: PromiseWithResolvers<void> | undefined
  #fault: Fault | undefined

  readonly #over = Promise.withResolvers<void>()

  /** Resolves when the connection has ended, for any reason. */
  readonly closed = this.#over.promise
  /** Called once, at that moment. */
  onClose: () => void = () => {}

  private constructor(path: string) {
    this.#socket = connect({
      path,
      onread: {
        buffer: () => this.#readBuffer(),
        callback: (bytes, buffer) => this.#received(Buffer.from(buffer.buffer, buffer.byteOffset, bytes)),
      },
    })
    this.#socket.on('drain', () => {
      this.#drained?.resolve()
      this.#drained = undefined
    })
    this.#socket.on('error', error => this.#end(new Fault('Canceled', 'the plugin is gone', { cause: error })))
    this.#socket.on('close', () => this.#end(new Fault('Canceled', 'the plugin closed the connection')))
  }

  /**
   * The socket's folder is our own, and no other user can put anything there. If somebody deleted it from /tmp, another
   * user can make a folder of this name, and would be served like Orthanc.
   */
  static async open(path: string): Promise<Connection> {
    const folder = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
    try {
      const { uid, mode } = await folder.stat()
      if (uid !== process.geteuid?.() || (mode & 0o022) !== 0)
        throw new Fault('Denied', `${dirname(path)} is not the folder that the plugin made for its socket`)
      // Connects through the folder that was checked: another folder may have its name by now.
      const through = `/proc/self/fd/${folder.fd}/${basename(path)}`
      const connection = new Connection(through)
      return await new Promise((resolve, reject) => {
        connection.#socket.once('connect', () => resolve(connection))
        connection.#socket.once('error', cause =>
          reject(new Fault('Unavailable', cause.message.replace(through, path), { cause })),
        )
      })
    } finally {
      await folder.close()
    }
  }

  /**
   * The next frame, which must be of this kind if one is given. Rejects with `Canceled` when the connection has ended,
   * and with `Internal` when another caller waits already: a frame has one owner.
   */
  async receive(kind?: number): Promise<Frame> {
    if (this.#receiver) throw new Fault('Internal', 'two callers wait for one frame of the plugin')
    let frame = this.#waiting.shift()
    if (frame) this.#waitingBytes -= frame.length
    else {
      if (this.#fault) throw this.#fault
      this.#receiver = Promise.withResolvers<Frame>()
      frame = await this.#receiver.promise
    }
    if (kind === undefined || frame.kind === kind) return frame
    throw this.#broken(`a frame of kind ${frame.kind} came instead of one of kind ${kind}`)
  }

  /** As receive(), for a DATA frame. Its payload is read straight into `target` and must fill it exactly. */
  async receiveInto(target: Buffer, offset: number): Promise<void> {
    if (!this.#receiver) this.#target = target
    const frame = await this.receive(Kind.data)
    if (frame.argument !== offset || frame.payload !== target)
      throw this.#broken(
        `${frame.length} bytes from ${frame.argument} on came instead of ${target.byteLength} from ${offset}`,
      )
  }

  /**
   * Queues one frame. Resolves when more may be written, so that memory stays bounded. Frames that are sent without a
   * pause leave together: one system call, one wake-up of Orthanc. A caller need not wait for the promise: a rejection
   * needs no owner, because the next receive() rejects with the same fault.
   */
  send(kind: number, fields: Fields = {}, payload?: Uint8Array): Promise<void> | undefined {
    if (this.#fault) return unowned(Promise.reject(this.#fault))
    if (payload && payload.byteLength > MAX_PAYLOAD)
      return unowned(
        Promise.reject(
          new Fault('TooLarge', `${payload.byteLength} bytes are more than a frame holds (${MAX_PAYLOAD})`),
        ),
      )
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork()
      process.nextTick(() => this.#socket.uncork())
    }
    let free = this.#socket.write(encodeHeader(kind, payload?.byteLength ?? 0, fields))
    if (payload && payload.byteLength > 0) free = this.#socket.write(payload)
    if (free) return undefined
    this.#drained ??= Promise.withResolvers<void>()
    return unowned(this.#drained.promise)
  }

  /** What was sent still goes out. Then the connection ends. */
  close(): void {
    this.#socket.destroySoon()
  }

  #readBuffer(): Buffer {
    const { payload, filled } = this.#incoming ?? { payload: scratch, filled: 0 }
    return payload.byteLength - filled >= 64 * 1024 ? payload.subarray(filled) : scratch
  }

  #received(bytes: Buffer): boolean {
    try {
      const incoming = this.#incoming
      if (incoming && bytes.buffer === incoming.payload.buffer) this.#advance(bytes.byteLength)
      else for (let at = 0; at < bytes.byteLength && !this.#fault; ) at += this.#consume(bytes, at)
    } catch (error) {
      this.#broken(Fault.from(error).message)
    }
    return true
  }

  /** Takes `bytes` from `at` on for the header or the payload under way. Returns how many it took. */
  #consume(bytes: Buffer, at: number): number {
    if (this.#incoming) {
      const { payload, filled } = this.#incoming
      const taken = bytes.copy(payload, filled, at)
      this.#advance(taken)
      return taken
    }
    const taken = bytes.copy(this.#header, this.#headerBytes, at)
    this.#headerBytes += taken
    if (this.#headerBytes === HEADER_BYTES) {
      this.#headerBytes = 0
      const header = decodeHeader(this.#header)
      this.#incoming = { header, payload: this.#room(header), filled: 0 }
      this.#advance(0)
    }
    return taken
  }

  /** The buffer for a payload: the one of receiveInto(), or a recycled one, or a new one. */
  #room({ length }: Header): Buffer {
    const target = this.#target
    this.#target = undefined
    if (target?.byteLength === length) return target
    if (length < SMALL_PAYLOAD || length > this.#spareBytes) return Buffer.allocUnsafeSlow(length)
    const spare = this.#spare ?? Buffer.allocUnsafeSlow(this.#spareBytes)
    this.#spare = undefined
    return spare.subarray(0, length)
  }

  /**
   * Takes a frame's payload back, to read into it again. A call of 220 KB needs a third less processor time when its
   * buffer is used again. Only for payloads that nothing reads any more.
   */
  recycle({ payload }: Frame): void {
    if (payload.buffer.byteLength === this.#spareBytes) this.#spare = Buffer.from(payload.buffer)
  }

  #advance(bytes: number): void {
    const incoming = this.#incoming
    if (!incoming) return
    incoming.filled += bytes
    if (incoming.filled < incoming.header.length) return
    this.#incoming = undefined
    const frame = { ...incoming.header, payload: incoming.payload }
    if (this.#receiver) {
      this.#receiver.resolve(frame)
      this.#receiver = undefined
    } else {
      this.#waitingBytes += frame.length
      if (this.#waiting.push(frame) > MAX_WAITING || this.#waitingBytes > MAX_WAITING_BYTES)
        this.#broken('the plugin sends more than may wait')
    }
  }

  #broken(message: string): Fault {
    const fault = new Fault('Internal', `the conversation with the plugin is broken: ${message}`)
    this.#end(fault)
    return fault
  }

  #end(fault: Fault): void {
    if (this.#fault) return
    this.#fault = fault
    this.#waiting = [] // nothing can be answered any more
    this.#socket.destroy()
    this.#receiver?.reject(fault)
    this.#receiver = undefined
    this.#drained?.reject(fault)
    this.#drained = undefined
    this.onClose()
    this.#over.resolve()
  }
}

/** The same promise, whose rejection needs no handler. */
export function unowned<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}
