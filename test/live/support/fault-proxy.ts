/**
 * A network that does harm on demand: a proxy between the engine and a real server, for http without TLS. It passes on
 * every byte as it came, except in an exchange for which `decide` returns a trouble.
 */
import { STATUS_CODES } from 'node:http'
import { createServer, connect as dial, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { chanceOf } from '../../support/chance.ts'
import { reset } from '../../support/reset.ts'
import { type Head, Messages, type Piece } from './http-messages.ts'

/** The number of bytes of the body that have passed. "start": not even the head of the message has passed. */
export type Point = number | 'start'

/** What happens to one message. Offsets count the content of the body, without the framing of a chunked one. */
export interface Damage {
  /** One bit of this byte is changed. */
  readonly flipAt?: number
  /** The connection ends here, in order: the peer reads everything before it. */
  readonly endAt?: Point
  /** The connection is reset here; what the peer has not read yet may be lost. */
  readonly resetAt?: Point
  /** From here on nothing comes, and the connection stays open. */
  readonly stopAt?: Point
  /** The body goes on by this many bytes after each pause. */
  readonly pace?: { readonly bytes: number; readonly ms: number }
  /** The message comes later by this time. */
  readonly waitMs?: number
  /** The head comes in pieces of this many bytes, with these pauses. */
  readonly headPace?: { readonly bytes: number; readonly ms: number }
  /** Another head in place of this one, with its last empty line. */
  readonly head?: (head: string) => string
  /** The message comes twice: the second follows at once, or when the next request has come on the connection. */
  readonly twice?: 'at once' | 'later'
}

export interface Trouble {
  /** The connection is reset as soon as the head of the request is there. The server gets nothing. */
  readonly drop?: boolean
  readonly request?: Damage
  /** A function gets what the head says. With `start`, the server has done its work and the engine gets no answer. */
  readonly response?: Damage | ((response: { readonly status: number; readonly length: number }) => Damage)
  /** The proxy itself answers, when the whole request has come. The server gets nothing. */
  readonly answer?: {
    readonly status: number
    readonly headers?: Record<string, string>
    readonly body?: string | Buffer
  }
}

export interface Exchange {
  /** From 1. */
  readonly nth: number
  readonly method: string
  /** With the query. */
  readonly path: string
  readonly headers: ReadonlyMap<string, string>
  /** The status of the server's answer. */
  status?: number
  /** What was done to it: the connection was cut or stands still, a byte was flipped, the proxy answered. */
  harmed?: string
}

export type Decide = (exchange: Exchange) => Trouble | undefined

export class FaultProxy {
  /** Called once for each exchange, when the head of the request is there. */
  decide: Decide
  /** All exchanges, in the order in which they came. */
  readonly exchanges: Exchange[] = []
  /** Every new connection is reset at once. */
  refusing = false
  readonly #server: Server
  readonly #target: URL
  readonly #sockets = new Set<Socket>()
  readonly #still = new Set<Socket>()
  #port = 0

  constructor(target: string, decide: Decide = () => undefined) {
    this.#target = new URL(target)
    this.decide = decide
    this.#server = createServer(near => void this.#serve(near))
  }

  /** Resolves to the endpoint. After `close` it is the same again. */
  async open(): Promise<string> {
    await new Promise<void>(resolve => this.#server.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (this.#server.address() as { port: number }).port
    return `http://127.0.0.1:${this.#port}`
  }

  /** How many are open, on both sides. */
  get connections(): number {
    return this.#sockets.size
  }

  /** The port is closed, and open connections break. */
  async close(): Promise<void> {
    const closed = new Promise(resolve => this.#server.close(resolve))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  /** Ends the connections that stand still. A request on one of them would wait in vain. */
  release(): void {
    for (const socket of this.#still) socket.destroy()
    this.#still.clear()
  }

  async #serve(near: Socket): Promise<void> {
    this.#join(near)
    if (this.refusing) return void reset(near)
    let far: Socket | undefined
    let busy = false
    let late: Buffer | undefined
    try {
      const requests = new Messages(near)
      let responses: Messages | undefined
      for (let head = await requests.head(); head; head = await requests.head()) {
        const [method = '', path = ''] = head.line.split(' ')
        const exchange: Exchange = { nth: this.exchanges.length + 1, method, path, headers: head.headers }
        this.exchanges.push(exchange)
        const trouble = this.decide(exchange) ?? {}
        if (late) near.write(late)
        late = undefined
        if (trouble.drop) {
          exchange.harmed = 'dropped'
          return void reset(near)
        }
        if (trouble.answer) {
          for await (const _ of requests.body(head));
          exchange.harmed = 'answered'
          near.write(answerOf(method, trouble.answer))
          continue
        }
        if (!far) {
          const there = dial({ port: Number(this.#target.port), host: this.#target.hostname })
          far = there
          this.#join(there)
          near.once('close', () => there.destroy())
          there.once('close', () => busy || near.destroy())
          responses = new Messages(there)
        }
        const link = { exchange, near, far, responses: responses as Messages, still: this.#still }
        // An answer may come before the request has gone out, such as the refusal of a large body.
        busy = true
        const sent = pass(head, requests.body(head), far, trouble.request ?? {}, link)
        const [, again] = await Promise.all([sent, passResponse(link, trouble.response)])
        late = again
        busy = false
      }
    } catch {
      // one of the two sides has ended the connection, or was cut off
    } finally {
      near.destroy()
      far?.destroy()
    }
  }

  #join(socket: Socket): void {
    this.#sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
  }
}

interface Link {
  readonly exchange: Exchange
  readonly near: Socket
  readonly far: Socket
  readonly responses: Messages
  readonly still: Set<Socket>
}

/** Resolves to the bytes that are to come once more, later. */
async function passResponse(link: Link, trouble: Trouble['response'] = {}): Promise<Buffer | undefined> {
  const { exchange, near, responses } = link
  for (;;) {
    const head = await responses.head()
    if (!head) throw new Error('the server has ended the connection')
    const status = Number(head.line.split(' ')[1])
    if (status < 200) {
      near.write(head.bytes)
      continue
    }
    exchange.status = status
    const { headers } = head
    const bodiless = exchange.method === 'HEAD' || status === 204 || status === 304
    const endless = !bodiless && !headers.has('content-length') && !headers.has('transfer-encoding')
    const length = bodiless ? 0 : Number(headers.get('content-length') ?? 0)
    const damage = typeof trouble === 'function' ? trouble({ status, length }) : trouble
    const body = bodiless ? none() : responses.body(head, { endless })
    const passed = await pass(head, body, near, damage, link)
    if (endless || /close/i.test(headers.get('connection') ?? '')) throw new Error('the server ends the connection')
    return passed
  }
}

async function* none(): AsyncGenerator<Piece> {}

/** Passes a message on to `to`. Rejects when it was cut. Resolves to the message if it is to come once more, later. */
async function pass(
  head: Head,
  body: AsyncIterable<Piece>,
  to: Socket,
  damage: Damage,
  link: Link,
): Promise<Buffer | undefined> {
  const { flipAt = -1, pace, headPace, twice } = damage
  const passed: Buffer[] = []
  let at = 0
  const points = [damage.endAt, damage.resetAt, damage.stopAt].filter(point => point !== undefined)
  if (points.includes('start')) return await cut(damage, link, to)
  const last = Math.min(...points.map(Number), Number.POSITIVE_INFINITY)
  if (damage.waitMs) await sleep(damage.waitMs)
  const bytes = damage.head ? Buffer.from(damage.head(head.bytes.toString('latin1')), 'latin1') : head.bytes
  const heads = headPace?.bytes ?? bytes.byteLength
  for (let from = 0; from < bytes.byteLength; from += heads) {
    if (headPace) await sleep(headPace.ms)
    await write(to, bytes.subarray(from, from + heads))
  }
  if (twice) passed.push(bytes)
  if (damage.waitMs || damage.head || headPace || pace || twice) link.exchange.harmed = 'changed'
  if (last <= 0) return await cut(damage, link, to)
  for await (const { bytes, framing } of body) {
    const step = framing ? bytes.byteLength : (pace?.bytes ?? bytes.byteLength)
    for (let from = 0; from < bytes.byteLength; from += step) {
      let part = bytes.subarray(from, from + step)
      if (!framing) {
        part = part.subarray(0, last - at)
        if (flipAt >= at && flipAt < at + part.byteLength) {
          part = Buffer.from(part)
          part[flipAt - at] = (part[flipAt - at] as number) ^ 1
          link.exchange.harmed = 'flipped'
        }
        at += part.byteLength
        if (pace) await sleep(pace.ms)
      }
      await write(to, part)
      if (twice) passed.push(part)
      if (!framing && at >= last) return await cut(damage, link, to)
    }
  }
  if (twice === 'at once') await write(to, Buffer.concat(passed))
  return twice === 'later' ? Buffer.concat(passed) : undefined
}

async function cut({ endAt, resetAt }: Damage, { exchange, near, far, still }: Link, to: Socket): Promise<never> {
  const [how, end] =
    endAt !== undefined
      ? ['ended', () => to.end()]
      : resetAt !== undefined
        ? ['reset', () => [near, far].map(reset)]
        : ['stopped', () => {}]
  exchange.harmed = how
  end()
  if (how === 'stopped') still.add(near)
  // A peer that sees the end closes the connection, and `near` ends with it. One that sees nothing may wait for ever.
  if (how !== 'reset') await new Promise(resolve => (to.destroyed ? resolve(0) : to.once('close', resolve)))
  throw new Error(how)
}

function write(to: Socket, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => to.write(bytes, error => (error ? reject(error) : resolve())))
}

function answerOf(method: string, { status, headers = {}, body = '' }: NonNullable<Trouble['answer']>): Buffer {
  const bytes = Buffer.from(body as string)
  const fields = { 'content-length': String(bytes.byteLength), ...headers }
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  const head = Buffer.from(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n`)
  return method === 'HEAD' ? head : Buffer.concat([head, bytes])
}

const kinds = {
  'flip response': at => ({ response: ({ length }) => (length > 0 ? { flipAt: at(length) } : {}) }),
  'end response': at => ({ response: ({ length }) => ({ endAt: at(length) }) }),
  'reset response': at => ({ response: ({ length }) => ({ resetAt: at(length) }) }),
  'lose response': () => ({ response: { endAt: 'start' } }),
  'flip request': (at, length) => (length > 0 ? { request: { flipAt: at(length) } } : {}),
  'end request': (at, length) => ({ request: { endAt: at(length) } }),
  'reset request': (at, length) => ({ request: { resetAt: at(length) } }),
  'busy gateway': () => ({
    answer: { status: 503, headers: { 'content-type': 'text/html' }, body: '<html>busy</html>' },
  }),
  'lost gateway': () => ({
    answer: { status: 404, headers: { 'content-type': 'text/html' }, body: '<html>none</html>' },
  }),
} satisfies Record<string, (at: (length: number) => number, length: number) => Trouble>
export type MishapKind = keyof typeof kinds
export const MISHAP_KINDS = Object.keys(kinds) as readonly MishapKind[]

/** Harms this share of all exchanges, each in one of these ways, anywhere in the body. A seed repeats the choices. */
export function mishaps(seed: number, share: number, some: readonly MishapKind[] = MISHAP_KINDS): Decide {
  const random = chanceOf(seed)
  return ({ headers }) => {
    if (random() >= share) return undefined
    const kind = kinds[some[Math.floor(random() * some.length)] as MishapKind]
    const where = random()
    return kind(length => Math.floor(where * length), Number(headers.get('content-length') ?? 0))
  }
}
