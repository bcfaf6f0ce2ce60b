/** The one table from what PostgreSQL and the way to it say to faults. */
import { errnoOf, Fault, type FaultCode, messageOf, oneLine, rowFor, sameRow } from '../fault.ts'

interface Row {
  readonly code: FaultCode
  readonly remedy?: string
}

const login: Row = {
  code: 'Denied',
  remedy: 'Check Username and Password in the section PostgreSQL; without them, PGPASSWORD and PGPASSFILE are used.',
}
const rights: Row = { code: 'Denied', remedy: "The user must be allowed to read Orthanc's tables." }
const notOrthancs: Row = {
  code: 'BadConfig',
  remedy: 'This is no database of Orthanc: check Database and Schema in the section PostgreSQL.',
}
const gone: Row = {
  code: 'Unavailable',
  remedy: 'Check Host and Port in the section PostgreSQL, and that the server runs.',
}
const busy: Row = { code: 'Unavailable' }
const late: Row = { code: 'Timeout' }
const certificate: Row = { code: 'Denied', remedy: 'The certificate of the server is not trusted: check sslrootcert.' }

const table: Readonly<Record<string, Row>> = {
  ...sameRow(login, '28P01', '28000'),
  '42501': rights,
  '3D000': { code: 'BadConfig', remedy: 'Check Database in the section PostgreSQL.' },
  ...sameRow(notOrthancs, '42P01', '42703', '3F000'),
  ...sameRow(busy, '57P01', '57P02', '57P03', '53300', '40001', '25P03'),
  '57014': late,
  ...sameRow(gone, 'ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOENT', 'EACCES'),
  ...sameRow(busy, 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EADDRNOTAVAIL', 'EMFILE', 'ENFILE'),
  ...sameRow(certificate, 'SELF_SIGNED_CERT_IN_CHAIN', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'CERT_HAS_EXPIRED'),
  ...sameRow(certificate, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'ERR_TLS_CERT_ALTNAME_INVALID'),
}

/** Errors of the client library have a text only. */
const words: readonly (readonly [RegExp, Row])[] = [
  [/^The server does not support SSL/, { code: 'BadConfig', remedy: 'Set EnableSsl to false, or sslmode=disable.' }],
  [/client password must be a|no password supplied/i, login],
  [/^timeout expired|due to connection timeout/, { ...gone, code: 'Timeout' }],
  [/^Query read timeout/, late],
  [/^Connection terminated|^Client has encountered a connection error/, busy],
]

/** Of a way that is only tried first: what the next way is refused for says more. */
export const isWithoutTls = ({ message }: Fault) => message.includes('does not support SSL')

/** Whatever the client library rejected with. An aborted signal wins: its reason is the truth. */
export function faultOfPostgresql(error: unknown, signal: AbortSignal): Fault {
  if (signal.aborted) return Fault.ofAbort(signal)
  if (error instanceof Fault) return error
  const [inner = error] = error instanceof AggregateError ? (error.errors as unknown[]) : []
  const message = oneLine(messageOf(inner), 300)
  const code = errnoOf(inner)
  const row = rowFor(table, code) ?? (/^08/.test(code) ? busy : words.find(([pattern]) => pattern.test(message))?.[1])
  return new Fault(row?.code ?? 'Internal', `PostgreSQL: ${message}`, { cause: error, remedy: row?.remedy })
}
