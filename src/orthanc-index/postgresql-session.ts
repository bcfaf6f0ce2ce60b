/** One connection to Orthanc's database, as Orthanc's plugin would make it, in a transaction that can only read. */
import { Socket } from 'node:net'
import { userInfo } from 'node:os'
import type { Client, ClientConfig } from 'pg'
import { parse } from 'pg-connection-string'
import type { PostgresqlConfig } from '../config/postgresql.ts'
import { Fault, isErrno, messageOf } from '../fault.ts'
import { unlessAborted } from '../stores/unless-aborted.ts'
import { attempt } from '../stores/wrappers/retry.ts'
import { faultOfPostgresql, isWithoutTls } from './postgresql-faults.ts'

const CONNECT_MS = 15_000
/** Of one question; a part of a long list is one question. */
const ANSWER_MS = 300_000
/** How long whoever reads may work on one part before the server gives up. */
const IDLE = '1h'
/** For a farewell. */
const END_MS = 2_000
const MAX_RETRIES = 4
/** Of libpq, which Orthanc's plugin uses: encrypted where the server can, else plain. */
const PREFER = 'prefer'

export interface Session {
  /** Rejects with a Fault, also when `signal` is aborted. */
  query(text: string, values?: readonly unknown[]): Promise<readonly Record<string, unknown>[]>
  /** Ends a question that is under way. Never rejects. */
  close(): Promise<void>
}

/** Where to connect to, and how. It holds the password. */
export interface Settings {
  /** In the order to try them. */
  readonly ways: readonly ClientConfig[]
  /** For people. */
  readonly name: string
}

type Ssl = ClientConfig['ssl']

/** Throws `BadConfig`. What `env` names is used where the configuration says nothing, as libpq does. */
export function settingsOf(config: PostgresqlConfig, env = process.env): Settings {
  return settingsFrom(config.uri === undefined ? ofOptions(config) : ofUri(config.uri, env), env)
}

/** The same for a URI alone, such as that of an option of the command line. */
export function settingsOfUri(uri: string, option: string, env = process.env): Settings {
  return settingsFrom(ofUri(uri, env, option), env)
}

function settingsFrom(given: Given, env: NodeJS.ProcessEnv): Settings {
  const user = given.user || env['PGUSER'] || userInfo().username
  const host = given.host || env['PGHOST'] || 'localhost'
  const port = given.port ?? (Number(env['PGPORT']) || 5432)
  const database = given.database || env['PGDATABASE'] || user
  const password = given.password || env['PGPASSWORD'] || (() => fromPasswordFile({ host, port, database, user }))
  const common = {
    ...{ user, host, port, database, password },
    application_name: 'orthanc-cloud-storage',
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: ANSWER_MS,
  }
  const at = host.startsWith('/') ? `in ${host}` : `on ${host.includes(':') ? `[${host}]` : host}:${port}`
  return { ways: given.ssl.map(ssl => ({ ...common, ssl })), name: `PostgreSQL database ${database} ${at}` }
}

interface Given {
  readonly host?: string | null | undefined
  readonly port?: number | undefined
  readonly database?: string | null | undefined
  readonly user?: string | undefined
  readonly password?: string | undefined
  readonly ssl: readonly NonNullable<Ssl>[]
}

/** As libpq's `sslmode=require`, which Orthanc's plugin uses: the certificate is not verified. */
const ENCRYPTED = { rejectUnauthorized: false }

function ofOptions({ tls, ...given }: PostgresqlConfig): Given {
  return { ...given, ssl: [tls ? ENCRYPTED : false] }
}

function ofUri(uri: string, env: NodeJS.ProcessEnv, option = 'PostgreSQL.ConnectionUri'): Given {
  const notUsable = (why: string) => unusable(option, why)
  try {
    const { host, port, database, user, password, ssl, sslmode } = parse(uri, { useLibpqCompat: true }) as Parsed
    const mode = sslmode ?? env['PGSSLMODE'] ?? PREFER
    if (/,|%2c/i.test(`${host}${port}`)) throw notUsable('it names several servers')
    const known = { host, port: port ? Number(port) : undefined, database, user, password }
    if (sslmode === undefined && mode !== PREFER)
      return { ...known, ssl: ofUri(`postgresql://h?sslmode=${mode}`, {}, option).ssl }
    if (mode === 'prefer') return { ...known, ssl: [ENCRYPTED, false] }
    if (mode === 'allow') return { ...known, ssl: [false, ENCRYPTED] }
    if (!/^(disable|require|verify-ca|verify-full)$/.test(mode)) throw notUsable('its sslmode is not known')
    return { ...known, ssl: [ssl ?? false] }
  } catch (error) {
    if (error instanceof Fault) throw error
    // The error is not kept: it may have the whole URI, with its password.
    throw notUsable(isErrno(error, 'ENOENT', 'EACCES') ? messageOf(error) : 'it is not a URI of PostgreSQL')
  }
}

interface Parsed {
  readonly host: string | null
  readonly port?: string | null
  readonly database: string | null | undefined
  readonly user?: string
  readonly password?: string
  readonly ssl?: NonNullable<Ssl>
  readonly sslmode?: string
}

function unusable(option: string, why: string): Fault {
  const remedy = option.startsWith('--')
    ? 'Write postgresql://USER@HOST:PORT/DATABASE.'
    : 'Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, or the options Host, Port, Database, Username.'
  return new Fault('BadConfig', `${option} cannot be used: ${why}`, { remedy })
}

/** PGPASSFILE, or .pgpass in the home folder. Undefined = neither has a password for this. */
async function fromPasswordFile(to: object): Promise<string> {
  // @ts-expect-error it has no types
  const { default: lookUp } = await import('pgpass')
  return await new Promise(resolve => lookUp(to, resolve))
}

/**
 * Tries several times, because a database that restarts is there again in a moment. Rejects with a Fault.
 * `firstDelayMs`: the first pause.
 */
export async function openSession(settings: Settings, signal: AbortSignal, firstDelayMs = 500): Promise<Session> {
  const policy = { maxRetries: MAX_RETRIES, firstDelayMs }
  const once = () => tryWays(settings, signal)
  return await attempt(once, policy, signal, () => {})
}

async function tryWays({ ways }: Settings, signal: AbortSignal): Promise<Session> {
  const { Client } = (await import('pg')).default
  let first: Fault | undefined
  for (const way of ways) {
    const socket = new Socket()
    const client = new Client({ ...way, stream: () => socket })
    client.on('error', () => {}) // the question under way, or the next one, rejects with it
    const session = new Reading(client, socket, signal)
    try {
      await session.begin()
      return session
    } catch (error) {
      await session.close()
      const fault = faultOfPostgresql(error, signal)
      if (signal.aborted) throw fault
      if (!first || isWithoutTls(first)) first = fault // else what the second way is refused for is seldom the reason
    }
  }
  throw first
}

class Reading implements Session {
  readonly #client: Client
  readonly #socket: Socket
  readonly #signal: AbortSignal

  constructor(client: Client, socket: Socket, signal: AbortSignal) {
    this.#client = client
    this.#socket = socket
    this.#signal = signal
  }

  async begin(): Promise<void> {
    await unlessAborted(this.#client.connect(), this.#signal)
    await this.query('BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED READ ONLY')
    await this.query(`SET LOCAL statement_timeout = ${ANSWER_MS}`)
    await this.query(`SET LOCAL idle_in_transaction_session_timeout = '${IDLE}'`)
  }

  async query(text: string, values: readonly unknown[] = []): Promise<readonly Record<string, unknown>[]> {
    try {
      return (await unlessAborted(this.#client.query(text, [...values]), this.#signal)).rows
    } catch (error) {
      throw faultOfPostgresql(error, this.#signal)
    }
  }

  /** The client says farewell, also to a server that does not answer any more. */
  async close(): Promise<void> {
    if (this.#signal.aborted) this.#socket.destroy()
    const late = setTimeout(() => this.#socket.destroy(), END_MS)
    await this.#client.end().catch(() => {})
    clearTimeout(late)
  }
}
