import { readFileSync } from 'node:fs'
import { rootCertificates } from 'node:tls'
import { Agent, type Dispatcher, ProxyAgent } from 'undici'
import { Fault, type FaultCode } from '../fault.ts'

export interface NetworkOptions {
  readonly connectTimeoutMs: number
  readonly maxConnections: number
  /** PEM file with further authorities; Orthanc's HttpsCACertificates. */
  readonly caFile: string | undefined
  /** Orthanc's HttpProxy, with or without scheme. May hold a password. */
  readonly proxy: string | undefined
}

/** Servers close idle connections after some time; ours are closed before that, so that a request seldom meets a dead one. */
const IDLE_MS = 10_000

/** A bounded pool of connections to each origin. Retries nothing, follows no redirect, sends no Expect header. */
export function network(options: NetworkOptions): Dispatcher {
  const ca = options.caFile === undefined ? undefined : [...rootCertificates, readCertificates(options.caFile)]
  const tls = { timeout: options.connectTimeoutMs, ...(ca ? { ca } : {}) }
  const pool = { connections: options.maxConnections, keepAliveTimeout: IDLE_MS, pipelining: 1, allowH2: false }
  if (options.proxy === undefined) return new Agent({ ...pool, connect: tls })
  const proxy = /^[a-z]+:\/\//i.test(options.proxy) ? options.proxy : `http://${options.proxy}`
  if (!URL.canParse(proxy))
    throw new Fault('BadConfig', 'HttpProxy is not a URL such as http://proxy.hospital.example:3128')
  const { username, password, origin } = new URL(proxy)
  const token = `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')}`
  return new ProxyAgent({ ...pool, uri: origin, ...(username ? { token } : {}), requestTls: tls, proxyTls: tls })
}

function readCertificates(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const said = cause instanceof Error ? cause.message : String(cause)
    throw new Fault('BadConfig', `HttpsCACertificates cannot be read: ${said}`, { cause })
  }
}

interface Row {
  readonly code: FaultCode
  readonly retryable?: boolean
  readonly remedy?: string
}

const certificate: Row = {
  code: 'Denied',
  remedy: "The server's certificate is not trusted: name the file of its authority in Orthanc's HttpsCACertificates.",
}
const gone: Row = { code: 'Unavailable' }

const table: Readonly<Record<string, Row>> = {
  ENOTFOUND: {
    code: 'Unavailable',
    remedy: 'No such host: check the endpoint, region or account in the configuration, and the DNS of this machine.',
  },
  EAI_AGAIN: { code: 'Unavailable', remedy: 'The DNS of this machine does not answer.' },
  ECONNREFUSED: {
    code: 'Unavailable',
    remedy: 'Nothing listens there: check host and port of the endpoint, and that the server runs.',
  },
  EHOSTUNREACH: {
    code: 'Unavailable',
    remedy: 'There is no way to this host: check the network, firewall and HttpProxy.',
  },
  ENETUNREACH: {
    code: 'Unavailable',
    remedy: 'There is no way to this host: check the network, firewall and HttpProxy.',
  },
  ECONNRESET: gone,
  EPIPE: gone,
  ETIMEDOUT: { code: 'Timeout' },
  UND_ERR_SOCKET: gone,
  UND_ERR_CONNECT_TIMEOUT: {
    code: 'Timeout',
    remedy: 'No connection within ConnectionTimeout: check host and port of the endpoint, firewall and HttpProxy.',
  },
  UND_ERR_HEADERS_TIMEOUT: { code: 'Timeout' },
  UND_ERR_BODY_TIMEOUT: { code: 'Timeout' },
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: { code: 'Corrupt', retryable: true },
  UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: { code: 'Corrupt' },
  HPE_INVALID_CONSTANT: {
    code: 'Internal',
    remedy: 'What answers there does not speak HTTP: check scheme and port of the endpoint.',
  },
  EPROTO: { code: 'BadConfig', remedy: 'The server does not speak TLS: write http:// in front of the endpoint.' },
  ERR_SSL_WRONG_VERSION_NUMBER: {
    code: 'BadConfig',
    remedy: 'The server does not speak TLS: write http:// in front of the endpoint.',
  },
  ERR_SSL_PACKET_LENGTH_TOO_LONG: {
    code: 'BadConfig',
    remedy: 'The server does not speak TLS: write http:// in front of the endpoint.',
  },
  SELF_SIGNED_CERT_IN_CHAIN: certificate,
  DEPTH_ZERO_SELF_SIGNED_CERT: certificate,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: certificate,
  UNABLE_TO_GET_ISSUER_CERT: certificate,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: certificate,
  CERT_HAS_EXPIRED: {
    code: 'Denied',
    remedy: "The server's certificate has expired, or this machine's clock is wrong.",
  },
  ERR_TLS_CERT_ALTNAME_INVALID: {
    code: 'Denied',
    remedy: "The server's certificate is for another name: check the endpoint, or on S3 try VirtualAddressing false.",
  },
}

/** Whatever a request rejected with, as a Fault. An aborted signal wins: its reason is the truth. */
export function faultOfNetwork(error: unknown, signal: AbortSignal): Fault {
  if (signal.aborted) {
    if (signal.reason instanceof Fault) return signal.reason
    const late = signal.reason instanceof Error && signal.reason.name === 'TimeoutError'
    return new Fault(late ? 'Timeout' : 'Canceled', late ? 'the deadline has passed' : 'given up', {
      cause: error,
      retryable: false,
    })
  }
  if (error instanceof Fault) return error
  const { code, message } = innermost(error)
  const row = table[code] ?? (code.startsWith('UND_ERR_') ? gone : undefined)
  if (!row) return new Fault('Internal', message, { cause: error })
  const options = {
    cause: error,
    remedy: row.remedy,
    ...(row.retryable === undefined ? {} : { retryable: row.retryable }),
  }
  return new Fault(row.code, message, options)
}

/** Node wraps the telling error: in a cause, or, when a host has several addresses, in an AggregateError. */
function innermost(error: unknown): { code: string; message: string } {
  if (!(error instanceof Error)) return { code: '', message: String(error) }
  const code = 'code' in error ? String(error.code) : ''
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : error.cause
  if (inner instanceof Error && (!table[code] || error.message === '')) {
    const found = innermost(inner)
    if (found.code !== '') return found
  }
  return { code, message: error.message }
}
