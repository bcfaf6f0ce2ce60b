/** The database of a queue: connections that may write, transactions that are tried again, failures as faults. */
import type { ClientConfig, Pool } from 'pg'
import type { Fault } from '../fault.ts'
import { isWithoutTls } from '../orthanc-index/postgresql-faults.ts'
import type { Settings } from '../orthanc-index/postgresql-session.ts'
import { attempt } from '../stores/wrappers/retry.ts'
import { queueFault } from './faults.ts'

/** One for a transaction of each kind that runs beside others, and one for pg-boss. */
const CONNECTIONS = 6
/** Of one statement. */
const ANSWER_MS = 60_000
/** A process that is paused in the middle of a transaction holds the others up for so long at most. */
const IDLE_MS = 60_000
/** At the start a wrong name or host is told soon. */
const AT_START = { maxRetries: 4, firstDelayMs: 500 }
/** Later the database may be restarted, or moved to another machine: about two minutes. */
const LATER = { maxRetries: 30, firstDelayMs: 500 }

export type Row = Readonly<Record<string, unknown>>

/** What pg-boss wants to have of a database. */
export interface Executor {
  // biome-ignore lint/suspicious/noExplicitAny: it is pg-boss's own type
  executeSql(text: string, values?: unknown[]): Promise<{ rows: any[] }>
}

export interface Transaction {
  rows(text: string, values?: readonly unknown[]): Promise<readonly Row[]>
  /** The same transaction for pg-boss. */
  readonly db: Executor
}

/** How often, and with which first pause, a transaction is tried again. */
export interface Patience {
  readonly maxRetries: number
  readonly firstDelayMs: number
}

export interface DatabaseOptions {
  readonly settings: Settings
  readonly patience?: Patience | undefined
}

export class Database {
  /** For people. */
  readonly name: string
  readonly #pool: Pool
  readonly #patience: Patience
  #leaving = false

  private constructor(name: string, pool: Pool, patience = LATER) {
    this.name = name
    this.#pool = pool
    this.#patience = patience
  }

  /** Rejects with a Fault when nobody answers, or nobody lets us in. */
  static async open({ settings, patience }: DatabaseOptions, signal: AbortSignal): Promise<Database> {
    const start = patience ? { ...AT_START, firstDelayMs: patience.firstDelayMs } : AT_START
    const pool = await attempt(
      () => firstWay(settings),
      start,
      signal,
      () => {},
    )
    return new Database(settings.name, pool, patience)
  }

  /** Each statement by itself, and not tried again: for pg-boss, whose errors are its own. */
  get db(): Executor {
    return { executeSql: (text, values) => this.#pool.query(text, values) }
  }

  /** From now on what fails is not tried again: whoever waits wants to leave. */
  leave(): void {
    this.#leaving = true
  }

  /**
   * Tried again, as a whole, while the database is away: `work` may find what it has done already, because the answer
   * to a commit can be lost. When it resolves to undefined, nothing of it is kept.
   */
  async transaction<T>(work: (transaction: Transaction) => Promise<T | undefined>): Promise<T | undefined> {
    return await this.again(() => this.#once(work))
  }

  /** One statement that does no harm when it runs twice. */
  async rows(text: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
    return await this.again(async () => (await this.#pool.query(text, [...values])).rows)
  }

  async again<T>(work: () => Promise<T>): Promise<T> {
    const once = async () => {
      try {
        return await work()
      } catch (error) {
        throw queueFault(error, this.name)
      }
    }
    const mayHelp = (fault: Fault) => fault.retryable && !this.#leaving
    return await attempt(once, this.#patience, never, () => {}, mayHelp)
  }

  async close(): Promise<void> {
    await this.#pool.end().catch(() => {})
  }

  async #once<T>(work: (transaction: Transaction) => Promise<T | undefined>): Promise<T | undefined> {
    const client = await this.#pool.connect()
    const ignore = () => {} // the statement under way rejects with it
    client.on('error', ignore)
    let well = false
    try {
      await client.query(
        `BEGIN; SET LOCAL statement_timeout = ${ANSWER_MS}; SET LOCAL idle_in_transaction_session_timeout = ${IDLE_MS}`,
      )
      const result = await work({
        rows: async (text, values = []) => (await client.query(text, [...values])).rows,
        db: { executeSql: (text, values) => client.query(text, values) },
      })
      await client.query(result === undefined ? 'ROLLBACK' : 'COMMIT')
      well = true
      return result
    } finally {
      client.removeListener('error', ignore)
      client.release(!well) // a connection that failed is closed, and the server forgets its transaction
    }
  }
}

const never = new AbortController().signal

async function firstWay({ ways, name }: Settings): Promise<Pool> {
  let first: Fault | undefined
  for (const way of ways)
    try {
      return await poolOf(way)
    } catch (error) {
      if (!first || isWithoutTls(first)) first = queueFault(error, name)
    }
  throw first
}

async function poolOf(way: ClientConfig): Promise<Pool> {
  const { Pool } = (await import('pg')).default
  const pool = new Pool({ ...way, max: CONNECTIONS, query_timeout: 2 * ANSWER_MS, idleTimeoutMillis: ANSWER_MS })
  pool.on('error', () => {}) // a connection that nobody uses is replaced
  try {
    await pool.query('SELECT 1')
    return pool
  } catch (error) {
    await pool.end().catch(() => {})
    throw error
  }
}
