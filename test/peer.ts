/** The plugin's side of the conversation, for tests of the engine's side. The real one is tested in Orthanc. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeHeader, encodeFrame, HEADER_BYTES, type Header, Kind, PROTOCOL, Verb } from '../src/wire/frames.ts'

export interface Received extends Header {
  readonly payload: Buffer
}

export interface Outcome {
  readonly status: number
  readonly text: string
  readonly result: Buffer
  readonly pulls: number
}

/** Listens like the plugin and hands out the engine's connections in the order of arrival. */
export class PluginPeer {
  readonly folder = mkdtempSync(join(tmpdir(), 'ocs-peer-'))
  readonly path = join(this.folder, 'engine.sock')
  readonly #server: Server
  readonly #arrived: PeerConnection[] = []
  readonly #waiting: ((peer: PeerConnection) => void)[] = []

  constructor() {
    this.#server = createServer(socket => {
      const peer = new PeerConnection(socket)
      const waiting = this.#waiting.shift()
      if (waiting) waiting(peer)
      else this.#arrived.push(peer)
    })
  }

  async listen(): Promise<this> {
    await new Promise<void>(resolve => this.#server.listen(this.path, resolve))
    return this
  }

  accept(): Promise<PeerConnection> {
    const arrived = this.#arrived.shift()
    return arrived ? Promise.resolve(arrived) : new Promise(resolve => this.#waiting.push(resolve))
  }

  close(): void {
    this.#server.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export class PeerConnection {
  readonly socket: Socket
  readonly #chunks: AsyncIterator<Buffer>
  #pending: Buffer = Buffer.alloc(0)

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => {})
    this.#chunks = socket[Symbol.asyncIterator]()
  }

  async #bytes(count: number): Promise<Buffer> {
    const parts = [this.#pending]
    let have = this.#pending.byteLength
    while (have < count) {
      const { value, done } = await this.#chunks.next()
      if (done) throw new Error('the engine closed the connection')
      parts.push(value)
      have += value.byteLength
    }
    const all = Buffer.concat(parts)
    this.#pending = all.subarray(count)
    return all.subarray(0, count)
  }

  async receive(): Promise<Received> {
    const header = decodeHeader(await this.#bytes(HEADER_BYTES))
    return { ...header, payload: await this.#bytes(header.length) }
  }

  send(kind: number, fields: Partial<Omit<Header, 'kind' | 'length'>> = {}, payload: string | Uint8Array = ''): void {
    this.socket.write(encodeFrame(kind, fields, payload))
  }

  /** START; resolves with everything up to and including RETURN. */
  async start(configuration: unknown, protocol = PROTOCOL): Promise<Received[]> {
    const frames = [await this.receive()]
    this.send(Kind.call, { flags: Verb.start, argument: protocol }, JSON.stringify(configuration))
    while (frames.at(-1)?.kind !== Kind.return) frames.push(await this.receive())
    return frames
  }

  create(uuid: string, type: number, content: Buffer, inline = content.byteLength <= 256 * 1024): Promise<Outcome> {
    const payload = Buffer.concat([Buffer.from(uuid), inline ? content : Buffer.alloc(0)])
    return this.#call({ flags: Verb.create, status: type, argument: content.byteLength }, payload, content)
  }

  read(uuid: string, type: number): Promise<Outcome> {
    return this.#call({ flags: Verb.read, status: type }, Buffer.from(uuid))
  }

  readRange(uuid: string, type: number, start: number, length: number): Promise<Outcome> {
    const tail = Buffer.alloc(8)
    tail.writeBigUInt64LE(BigInt(length))
    return this.#call(
      { flags: Verb.readRange, status: type, argument: start },
      Buffer.concat([Buffer.from(uuid), tail]),
    )
  }

  remove(uuid: string, type: number): Promise<Outcome> {
    return this.#call({ flags: Verb.remove, status: type }, Buffer.from(uuid))
  }

  async #call(fields: Partial<Header>, payload: Buffer, content: Buffer = Buffer.alloc(0)): Promise<Outcome> {
    this.send(Kind.call, fields, payload)
    let result: Buffer | undefined
    let filled = 0
    for (let pulls = 0; ; ) {
      const frame = await this.receive()
      if (frame.kind === Kind.pull) {
        const length = frame.payload.readUInt32LE()
        if (frame.argument + length > content.byteLength) throw new Error('a pull reaches beyond the content')
        this.send(Kind.data, { argument: frame.argument }, content.subarray(frame.argument, frame.argument + length))
        pulls++
      } else if (frame.kind === Kind.reserve) result = Buffer.alloc(frame.argument)
      else if (frame.kind === Kind.fill) {
        if (!result || frame.argument !== filled) throw new Error('a fill out of turn')
        filled += frame.payload.copy(result, filled)
      } else if (frame.kind === Kind.return) {
        const text = frame.payload.toString('utf8')
        if (result && frame.status === 0 && filled !== result.byteLength) throw new Error('ok, but bytes are missing')
        return { status: frame.status, text, result: result ?? Buffer.alloc(0), pulls }
      } else throw new Error(`a frame of kind ${frame.kind} out of turn`)
    }
  }
}
