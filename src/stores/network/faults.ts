/** The one table from failures of the network to faults: sockets, name service, TLS, HTTP itself, and proxies. */
import { Fault, type FaultCode, rowFor, sameRow } from '../../fault.ts'
import { ProxyTrouble } from './proxy.ts'

interface Row {
  readonly code: FaultCode
  readonly retryable?: boolean
  readonly remedy?: string
}

const certificate: Row = {
  code: 'Denied',
  remedy: "The server's certificate is not trusted: name the file of its authority in Orthanc's HttpsCACertificates.",
}
const otherName: Row = {
  code: 'Denied',
  remedy: "The server's certificate is for another name: check the endpoint, or on S3 try VirtualAddressing false.",
}
const noTls: Row = {
  code: 'BadConfig',
  remedy: 'The server does not speak TLS: write http:// in front of the endpoint.',
}
const oldTls: Row = {
  code: 'BadConfig',
  remedy:
    'The TLS of this server is too old to be safe: update the server, or put a proxy with current TLS in front of it.',
}
const noCommonTls: Row = {
  code: 'BadConfig',
  remedy:
    'The server and this machine have no cipher in common, or the server wants another host name or a client certificate: its log says which.',
}
const clientCertificate: Row = {
  code: 'BadConfig',
  remedy: 'The server requires a client certificate, which this plugin does not have: turn that off for this machine.',
}
const gone: Row = { code: 'Unavailable' }
const late: Row = { code: 'Timeout' }
const noWay: Row = {
  code: 'Unavailable',
  remedy: 'There is no route to this host: check the network, firewall and HttpProxy.',
}
const exhausted: Row = {
  code: 'Unavailable',
  remedy:
    'This machine has no more descriptors, ports or memory for connections: raise its limits, or lower MaxConnections.',
}

/** Our own codes for errors of undici's HTTP parser, which have none in versions 7 and 8. */
const NO_HTTP = 'HPE_NO_HTTP'
const DAMAGED_HTTP = 'HPE_DAMAGED'

const ofTls = (row: Row, ...reasons: readonly string[]) => sameRow(row, ...reasons.map(reason => `ERR_SSL_${reason}`))

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
  ...sameRow(noWay, 'EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN', 'EHOSTDOWN', 'EACCES', 'EPERM'),
  ...sameRow(exhausted, 'EADDRNOTAVAIL', 'EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'),
  ...sameRow(late, 'ETIMEDOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'),
  UND_ERR_CONNECT_TIMEOUT: {
    code: 'Timeout',
    remedy: 'No connection within ConnectionTimeout: check host and port of the endpoint, firewall and HttpProxy.',
  },
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: { code: 'Corrupt', retryable: true },
  UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: { code: 'Corrupt' },
  UND_ERR_INVALID_ARG: {
    code: 'BadConfig',
    remedy:
      'Something in the configuration or the credentials has a character that HTTP cannot carry, such as an invisible one that was pasted along.',
  },
  [NO_HTTP]: {
    code: 'Unavailable',
    remedy: 'What answers there does not speak HTTP: check scheme and port of the endpoint.',
  },
  ...ofTls(noTls, 'WRONG_VERSION_NUMBER', 'PACKET_LENGTH_TOO_LONG', 'HTTP_REQUEST'),
  ...ofTls(oldTls, 'UNSUPPORTED_PROTOCOL', 'VERSION_TOO_LOW', 'TLSV1_ALERT_PROTOCOL_VERSION', 'DH_KEY_TOO_SMALL'),
  ...ofTls(oldTls, 'UNSAFE_LEGACY_RENEGOTIATION_DISABLED'),
  ...ofTls(noCommonTls, 'SSLV3_ALERT_HANDSHAKE_FAILURE', 'SSL/TLS_ALERT_HANDSHAKE_FAILURE'),
  ...ofTls(noCommonTls, 'TLSV1_ALERT_INSUFFICIENT_SECURITY', 'TLSV1_UNRECOGNIZED_NAME'),
  ...ofTls(clientCertificate, 'TLSV13_ALERT_CERTIFICATE_REQUIRED', 'SSLV3_ALERT_BAD_CERTIFICATE'),
  ...ofTls(clientCertificate, 'SSL/TLS_ALERT_BAD_CERTIFICATE', 'TLSV1_ALERT_UNKNOWN_CA'),
  ...sameRow(certificate, 'SELF_SIGNED_CERT_IN_CHAIN', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'CERT_UNTRUSTED'),
  ...sameRow(certificate, 'UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'),
  ...sameRow(certificate, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'),
  CERT_REVOKED: { code: 'Denied', remedy: "The server's certificate was revoked: it needs a new one." },
  CERT_HAS_EXPIRED: {
    code: 'Denied',
    remedy: "The server's certificate has expired, or this machine's clock is wrong.",
  },
  CERT_NOT_YET_VALID: {
    code: 'Unavailable', // a machine that starts without a clock of its own gets the time in a moment
    remedy: "The server's certificate is not valid yet: most probably this machine's clock is behind (NTP).",
  },
  ...sameRow(otherName, 'ERR_TLS_CERT_ALTNAME_INVALID', 'HOSTNAME_MISMATCH'),
}

/** What X509 calls the other faults of a certificate. */
const CERTIFICATE = /^(CERT_|CRL_|INVALID_CA$|INVALID_PURPOSE$|PATH_LENGTH_EXCEEDED$|UNABLE_TO_|ERR_TLS_CERT_)/
/** All other codes that mean a failure of the network, not a defect of ours. */
const NETWORK = /^(UND_ERR_|ERR_SSL_|ERR_TLS_|HPE_|E[A-Z]+$|ERR_SOCKET_|ERR_STREAM_PREMATURE)/

/** Whatever a request rejected with, as a Fault. An aborted signal wins: its reason is the truth. */
export function faultOfNetwork(error: unknown, signal: AbortSignal): Fault {
  if (signal.aborted) return Fault.ofAbort(signal)
  if (error instanceof Fault) return error
  const inside = innermost(error)
  if (inside.fault) return inside.fault
  const { code, message, proxy } = inside
  const known = rowFor(table, code) ?? (CERTIFICATE.test(code) ? certificate : NETWORK.test(code) ? gone : undefined)
  const row = proxy && known ? ofProxy(proxy, known) : known
  if (!row) return new Fault('Internal', message, { cause: error })
  return new Fault(row.code, message, {
    cause: error,
    remedy: row.remedy,
    ...(row.retryable === undefined ? {} : { retryable: row.retryable }),
  })
}

/** A failure of the proxy must not make an operator look at the endpoint. */
function ofProxy({ proxy: name, status, host }: ProxyTrouble, known: Row): Row {
  const proxy = `T${name.slice(1)}`
  if (status === 407)
    return {
      code: 'Denied',
      remedy: `${proxy} requires a user and a password, or does not accept the given ones: http://user:password@host:port.`,
    }
  if (status !== undefined)
    return {
      code: 'Unavailable',
      remedy: `${proxy} does not let requests through to ${host}: allow this host there, or add it to NoProxy.`,
    }
  const code = known.code === 'Timeout' ? 'Timeout' : 'Unavailable'
  return { code, remedy: `${proxy} cannot be reached: check that it runs, or add the store's host to NoProxy.` }
}

interface Inside {
  readonly code: string
  readonly message: string
  readonly fault?: Fault
  readonly proxy?: ProxyTrouble
}

/** Node wraps the error that matters: in a cause, or, when a host has several addresses, in an AggregateError. */
function innermost(error: unknown): Inside {
  if (error instanceof Fault) return { code: '', message: error.message, fault: error }
  if (!(error instanceof Error)) return { code: '', message: String(error) }
  if (error instanceof ProxyTrouble) return { ...innermost(error.cause), proxy: error }
  const code = codeOf(error)
  const inner: unknown = error instanceof AggregateError ? mostTelling(error.errors) : error.cause
  if (inner instanceof Error && (!rowFor(table, code) || error.message === '')) {
    const found = innermost(inner)
    if (found.code !== '' || found.fault) return found
  }
  if (code === DAMAGED_HTTP) return { code, message: 'the answer is not valid HTTP' }
  return { code, message: opensslReason(error) ?? error.message }
}

/** Not an error that only says that there is no IPv6. */
function mostTelling(errors: readonly unknown[]): unknown {
  return errors.find(error => !(error instanceof Error && /^E(NET|HOST)UNREACH$/.test(codeOf(error)))) ?? errors[0]
}

function codeOf(error: Error): string {
  if (error.name === 'AssertionError') return DAMAGED_HTTP // undici's, about a status below 100
  if (error.name === 'HTTPParserError') return error.message.includes('(Expected HTTP/') ? NO_HTTP : DAMAGED_HTTP
  const code = 'code' in error ? String(error.code) : ''
  const reason = code === 'EPROTO' ? opensslReason(error) : undefined
  return reason === undefined ? code : `ERR_SSL_${reason.toUpperCase().replaceAll(' ', '_')}`
}

/** REASON of `write EPROTO ADDRESS:error:NUMBER:SSL routines:FUNCTION:REASON:FILE:LINE:`, an error without own code. */
function opensslReason({ message }: Error): string | undefined {
  return /:SSL routines:[^:]*:([^:]+):/.exec(message)?.[1]
}
