/** Connections: how they are made, and which way they go. */
import { connect as dial, Socket } from 'node:net'
import { Agent, buildConnector, type Dispatcher, Pool, ProxyAgent } from 'undici'
import { authorities } from './authorities.ts'
import type { HttpClient, HttpRequest, HttpResponse } from './client.ts'
import type { Dial } from './lean/link.ts'
import { Links } from './lean/links.ts'
import { Names } from './names.ts'
import { overUndici } from './over-undici.ts'
import { type ProxyOptions, ProxyTrouble, type Via, wayfinder } from './proxy.ts'

export interface NetworkOptions extends ProxyOptions {
  readonly connectTimeoutMs: number
  readonly maxConnections: number
  /** PEM file with further authorities; Orthanc's HttpsCACertificates. */
  readonly caFile: string | undefined
  readonly info: (line: string) => void
  readonly names?: Names
}

/** Servers close idle connections after some time. We close ours before, so that a request seldom meets a dead one. */
const IDLE_MS = 10_000
/**
 * How long one address of a host may take before the next one is tried. Node's own 250 ms are less than a handshake
 * over a bad line takes, and Node then gives the address up.
 */
const ADDRESS_MS = 3_000
/** How long the direct way is tried before a detour. */
const DIRECT_MS = 10_000

type Connector = buildConnector.connector
/** Where a request goes. */
type Way = Pick<HttpClient, 'request'>

/**
 * A bounded number of connections to each origin. It follows no redirect, sends no Expect header, and repeats nothing
 * but what Links.request() says.
 */
export function network(options: NetworkOptions): HttpClient {
  return new Network(options)
}

class Network implements HttpClient {
  readonly #options: NetworkOptions
  readonly #wayTo: ReturnType<typeof wayfinder>
  readonly #context: ReturnType<typeof authorities>
  readonly #names: Names
  readonly #dial: object
  readonly #pool: object
  /** Straight to the store, and straight to all others. */
  readonly #store: Links
  readonly #direct: Dispatcher
  /** One for each proxy, and for each scheme there. */
  readonly #proxied = new Map<string, Dispatcher>()
  readonly #settled = new Map<string, Way>()
  readonly #first = new Map<string, Promise<Way>>()
  #ended = false

  constructor(options: NetworkOptions) {
    const { connectTimeoutMs, maxConnections } = options
    this.#options = options
    this.#names = options.names ?? new Names()
    this.#wayTo = wayfinder(options)
    this.#context = authorities(options.caFile, options.warn)
    this.#pool = { connections: maxConnections, keepAliveTimeout: IDLE_MS, pipelining: 1, allowH2: false }
    this.#dial = {
      timeout: connectTimeoutMs,
      lookup: this.#names.lookup,
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: Math.max(10, Math.min(ADDRESS_MS, Math.round(connectTimeoutMs / 3))),
    }
    this.#direct = new Agent({ ...this.#pool, connect: this.#connector() })
    this.#store = new Links({ dial: this.#dialStore(), maxConnections, idleMs: IDLE_MS })
  }

  async request(request: HttpRequest): Promise<HttpResponse> {
    const { origin } = request
    const way = this.#settled.get(origin) ?? (await (this.#first.get(origin) ?? this.#firstContact(origin)))
    // After the end, the direct one fails every request.
    return await (this.#ended ? this.#straight(origin) : way).request(request)
  }

  async destroy(why?: Error): Promise<void> {
    this.#ended = true
    await this.#store.destroy(why)
    await Promise.all([this.#direct, ...this.#proxied.values()].map(agent => agent.destroy(why ?? null)))
  }

  #straight(origin: string): Way {
    return origin === this.#options.store ? this.#store : overUndici(this.#direct)
  }

  /** Never rejects: where there is no way, it resolves to one that fails with the reason. */
  #firstContact(origin: string): Promise<Way> {
    const to = new URL(origin)
    const direct = this.#straight(origin)
    const settle = (way: Way) => {
      this.#settled.set(origin, way)
      return way
    }
    const find = async (): Promise<Way> => {
      const { proxy, detour } = this.#wayTo(to)
      if (proxy) {
        this.#options.info(`requests to ${origin} go through ${proxy.name}`)
        return settle(overUndici(this.#through(proxy, to)))
      }
      if (!detour || (await this.#answers(to))) return settle(direct)
      const around = this.#through(detour, to)
      const reached = await around
        .request({ origin, path: '/', method: 'HEAD', signal: AbortSignal.timeout(DIRECT_MS) })
        .then(
          answer => answer.body.dump().then(() => true),
          () => false,
        )
      // The store may have come up in the meantime: then requests stay direct.
      if (!reached || (await this.#answers(to))) return direct
      this.#options.warn(
        `${origin} cannot be reached directly, so requests go through ${detour.name}: to prevent that, add the host to "CloudStorage": {"NoProxy": [...]}`,
      )
      return settle(overUndici(around))
    }
    const first = find()
      .catch((error): Way => ({ request: () => Promise.reject(error) }))
      .finally(() => this.#first.delete(origin))
    this.#first.set(origin, first)
    return first
  }

  /** Whether anything accepts a connection there. */
  #answers({ hostname, port }: URL): Promise<boolean> {
    return new Promise(resolve => {
      const host = hostname.replace(/^\[|\]$/g, '')
      const socket = dial({
        ...this.#dial,
        host,
        port: Number(port) || 443,
        timeout: Math.min(DIRECT_MS, this.#options.connectTimeoutMs),
      })
      const end = (answers: boolean) => {
        socket.destroy()
        resolve(answers)
      }
      socket
        .once('connect', () => end(true))
        .once('timeout', () => end(false))
        .on('error', () => end(false))
    })
  }

  /** Connections to the store, which read into the buffers of a link. */
  #dialStore(): Dial {
    let session: Buffer | undefined
    return (onread, done) => {
      try {
        const { protocol, hostname, host, port } = new URL(this.#options.store)
        const tls = protocol === 'https:' ? { ...this.#tls(), session, maxCachedSessions: 0 } : {}
        const connect = this.#remembering(buildConnector({ ...this.#dial, ...tls, onread } as object))
        const to = { protocol, hostname: hostname.replace(/^\[|\]$/g, ''), host, port }
        const socket: unknown = connect(to, done as buildConnector.Callback)
        if (!(socket instanceof Socket)) return undefined
        return socket.on('session', (fresh: Buffer) => {
          session = fresh
        })
      } catch (error) {
        done(error as Error)
        return undefined
      }
    }
  }

  #connector(): Connector {
    const plain = this.#remembering(buildConnector(this.#dial))
    let secure: Connector | undefined
    return (to, callback) => {
      if (to.protocol !== 'https:') return plain(to, callback)
      try {
        secure ??= this.#remembering(buildConnector({ ...this.#dial, ...this.#tls() }))
      } catch (error) {
        return callback(error as Error, null)
      }
      return secure(to, callback)
    }
  }

  /** Ignores NODE_TLS_REJECT_UNAUTHORIZED: set for some other program, it would let anybody read and answer. */
  #tls() {
    return { secureContext: this.#context(), rejectUnauthorized: true }
  }

  /** Remembers addresses that did not answer in time. */
  #remembering(connector: Connector): Connector {
    return (to, callback) => {
      const socket: unknown = connector(to, callback)
      if (socket instanceof Socket)
        socket.on('connectionAttemptTimeout', (address: string) => this.#names.late(address))
      return socket
    }
  }

  #through(proxy: Via, to: URL): Dispatcher {
    const id = `${proxy.name} ${to.protocol}`
    const known = this.#proxied.get(id)
    if (known) return known
    const secure = (tls: boolean) => ({ ...this.#dial, ...(tls ? this.#tls() : {}) })
    const agent = new ProxyAgent({
      ...this.#pool,
      uri: proxy.origin,
      ...(proxy.token === undefined ? {} : { token: proxy.token }),
      requestTls: secure(to.protocol === 'https:'),
      proxyTls: secure(proxy.origin.startsWith('https:')),
      clientFactory: (origin, options) =>
        new Pool(origin, { ...telling(options, proxy), headersTimeout: this.#options.connectTimeoutMs }),
      factory: (origin, options) => new Pool(origin, telling(options, proxy, new URL(origin).host)),
    })
    this.#proxied.set(id, agent)
    return agent
  }
}

/**
 * The same options, but failures of connections become ProxyTrouble where they are the proxy's. `host`: what the proxy
 * was to connect to; undefined = the connection is one to the proxy itself.
 */
function telling(options: object, proxy: Via, host?: string): Pool.Options {
  const { connect } = options as { connect: Connector }
  return {
    ...options,
    connect: (to, callback) =>
      connect(to, (error, socket) => {
        if (!error) callback(null, socket as Socket)
        else
          callback(host === undefined || isOfTunnel(error) ? new ProxyTrouble(proxy, host ?? '', error) : error, null)
      }),
  }
}

/** Whether the proxy made no tunnel. What fails in the tunnel is the store's: TLS, or a time-out of it. */
function isOfTunnel(error: Error): boolean {
  const code = 'code' in error ? String(error.code) : ''
  return code.startsWith('UND_ERR_') && code !== 'UND_ERR_CONNECT_TIMEOUT'
}
