/** The plugin's side of the conversation, for tests of the engine's side. The real one is tested in Orthanc. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  decodeHeader,
  HEADER_BYTES,
  type Header,
  INLINE_BYTES,
  Kind,
  PROTOCOL,
  pack,
  unpack,
  Verb,
} from '../../src/wire/frames.ts'
import { encodeFrame } from './encode-frame.ts'

export interface Received extends Header {
  readonly payload: Buffer
}

export interface Outcome {
  readonly status: number
  readonly flags: number
  readonly argument: number
  readonly text: string
  readonly result: Buffer
  readonly pulls: number
  readonly reserves: number
}

/** What Orthanc answers to UPCALL and SUBMIT; the fields of the REPLY and its payload. */
export type Reply = (question: {
  readonly kind: number
  readonly flags: number
  readonly argument: number
  readonly texts: readonly string[]
}) => readonly [Partial<Omit<Header, 'kind' | 'length'>>, string]

/** Listens like the plugin and hands out the engine's connections in the order of arrival. */
export class PluginPeer {
  readonly folder = mkdtempSync(join(tmpdir(), 'ocs-peer-'))
  readonly path = join(this.folder, 'engine.sock')
  readonly #server: Server
  readonly #arrived: PeerConnection[] = []
  readonly #waiting: ((peer: PeerConnection) => void)[] = []

  constructor() {
    this.#server = createServer(socket => {
      if (!this.#server.listening) return void socket.destroy()
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

  /** As when somebody cleans /tmp. */
  vanish(): void {
    this.#server.close()
    rmSync(this.path, { force: true })
  }

  accept(): Promise<PeerConnection> {
    const arrived = this.#arrived.shift()
    return arrived ? Promise.resolve(arrived) : new Promise(resolve => this.#waiting.push(resolve))
  }

  close(): void {
    this.#server.close()
    for (const { socket } of this.#arrived) socket.destroy() // what nobody reads does not see its end
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export class PeerConnection {
  readonly socket: Socket
  readonly #chunks: AsyncIterator<Buffer>
  /** Values of METRIC frames, by name. */
  readonly metrics = new Map<string, number>()
  /** What Orthanc answers; without it a question is out of turn. */
  orthanc: Reply | undefined
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
  async start(configuration: unknown, protocol = PROTOCOL, restarts = 0, orthanc = '1.10.1'): Promise<Received[]> {
    const frames = [await this.receive()]
    const fields = { flags: Verb.start, argument: protocol, status: restarts }
    this.send(Kind.call, fields, Buffer.concat([pack(orthanc), Buffer.from(JSON.stringify(configuration))]))
    while (frames.at(-1)?.kind !== Kind.return) frames.push(await this.receive())
    return frames
  }

  create(uuid: string, type: number, content: Buffer): Promise<Outcome> {
    return this.#enveloped(Verb.create, type, Buffer.from(uuid), content)
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

  rest(method: number, uri: string, body: Buffer = Buffer.alloc(0)): Promise<Outcome> {
    return this.#enveloped(Verb.rest, method, Buffer.from(uri), body)
  }

  job(verb: number, number: number, serialized: string): Promise<Outcome> {
    const envelope = Buffer.alloc(8)
    envelope.writeBigUInt64LE(BigInt(number))
    return this.#enveloped(verb, 0, envelope, Buffer.from(serialized))
  }

  refreshMetrics(): Promise<Outcome> {
    return this.#call({ flags: Verb.metrics }, Buffer.alloc(0))
  }

  /** The standing call, until the engine ends it. */
  stand(): Promise<Outcome> {
    return this.#call({ flags: Verb.background }, Buffer.alloc(0))
  }

  #enveloped(verb: number, status: number, envelope: Buffer, content: Buffer): Promise<Outcome> {
    const inline = content.byteLength <= INLINE_BYTES ? content : Buffer.alloc(0)
    const fields = { flags: verb, status, argument: content.byteLength }
    return this.#call(fields, Buffer.concat([envelope, inline]), content)
  }

  async #call(fields: Partial<Header>, payload: Buffer, content: Buffer = Buffer.alloc(0)): Promise<Outcome> {
    this.send(Kind.call, fields, payload)
    let result: Buffer | undefined
    let filled = 0
    let reserves = 0
    for (let pulls = 0; ; ) {
      const frame = await this.receive()
      if (frame.kind === Kind.pull) {
        const length = frame.payload.readUInt32LE()
        if (frame.argument + length > content.byteLength) throw new Error('a pull reaches beyond the content')
        this.send(Kind.data, { argument: frame.argument }, content.subarray(frame.argument, frame.argument + length))
        pulls++
      } else if (frame.kind === Kind.reserve) {
        result = Buffer.alloc(frame.argument)
        filled = 0
        reserves++
      } else if (frame.kind === Kind.fill) {
        if (!result || frame.argument !== filled) throw new Error('a fill out of turn')
        filled += frame.payload.copy(result, filled)
      } else if (frame.kind === Kind.return) {
        const text = frame.payload.toString('utf8')
        if (result && frame.status === 0 && filled !== result.byteLength) throw new Error('ok, but bytes are missing')
        const { status, flags, argument } = frame
        return { status, flags, argument, text, result: result ?? Buffer.alloc(0), pulls, reserves }
      } else if (frame.kind === Kind.metric) {
        this.metrics.set(frame.payload.toString('utf8'), frame.argument)
      } else if (this.orthanc && (frame.kind === Kind.upcall || frame.kind === Kind.submit)) {
        const reply = this.orthanc({ ...frame, texts: unpack(frame.payload) })
        this.send(Kind.reply, ...reply)
      } else throw new Error(`a frame of kind ${frame.kind} out of turn`)
    }
  }
}
