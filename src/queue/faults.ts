/** What the database of a queue says, with what can be done about it there. */
import { errnoOf, Fault, rowFor, sameRow } from '../fault.ts'
import { faultOfPostgresql } from '../orthanc-index/postgresql-faults.ts'

const PASSWORD = 'Check the user in --queue, and give its password in PGPASSWORD or in the file PGPASSFILE.'
const SERVER = 'Check the host and port of --queue, and that the server runs.'

/** By the code of PostgreSQL, or of the operating system. */
const remedies: Readonly<Record<string, string>> = {
  ...sameRow(PASSWORD, '28P01', '28000'),
  ...sameRow(SERVER, 'ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOENT', 'EACCES'),
  '3D000': 'Check the name of the database in --queue, or make it with createdb.',
  '42501':
    'Let its owner run GRANT CREATE ON DATABASE for this user, or make the two schemas for it (docs/queue.md, "Rights").',
  '53100': 'Make room on the disk of the database.',
  ...sameRow('Remove the schemas of another version, or use another database.', '42P01', '42703', '3F000'),
}

const AGAIN = ['40P01', '40001', '55P03']

/** `name`: of the database, for people. */
export function queueFault(error: unknown, name: string): Fault {
  if (error instanceof Fault) return error
  const known = faultOfPostgresql(error, NEVER)
  const [inner = error] = error instanceof AggregateError ? (error.errors as unknown[]) : []
  const code = errnoOf(inner)
  const message = `${name}: ${known.message.replace(/^PostgreSQL: /, '')}`
  if (AGAIN.includes(code)) return new Fault('Unavailable', message, { cause: error })
  const remedy = rowFor(remedies, code) ?? (/SSL|certificate/i.test(message) ? known.remedy : wordsOf(message))
  const full = code === '53100' ? 'TooLarge' : undefined
  return new Fault(full ?? known.code, message, { cause: error, remedy })
}

function wordsOf(message: string): string | undefined {
  if (/client password must be a|no password supplied/i.test(message)) return PASSWORD
  if (/timeout expired|due to connection timeout/.test(message)) return SERVER
  return undefined
}

const NEVER = new AbortController().signal
