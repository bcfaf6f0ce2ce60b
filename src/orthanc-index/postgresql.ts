/** Orthanc's index where it is in PostgreSQL: the table that Orthanc's plugin made is read, and nothing is written. */
import type { PostgresqlConfig } from '../config/postgresql.ts'
import { Fault } from '../fault.ts'
import { indexedOf } from './indexed.ts'
import type { Indexed, OrthancIndex } from './orthanc-index.ts'
import { openSession, type Session, type Settings, settingsOf } from './postgresql-session.ts'

const BATCH = 2_000
/** The table has no index on UUIDs, so each question reads all of it. */
const MOST_WANTED = 20_000
/** What Orthanc calls the version of its tables; its revisions add columns and tables, and change none of these. */
const SCHEMA_VERSION = '6'

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`

export class PostgresqlIndex implements OrthancIndex {
  readonly name: string
  readonly #settings: Settings
  readonly #schema: string
  readonly #firstDelayMs: number | undefined
  readonly #open = new Set<Session>()

  /** Throws `BadConfig`; connects when it is first asked. `firstDelayMs`: before it tries again. */
  constructor(config: PostgresqlConfig, env = process.env, firstDelayMs?: number) {
    this.#firstDelayMs = firstDelayMs
    this.#settings = settingsOf(config, env)
    this.#schema = quoted(config.schema)
    this.name = this.#settings.name
  }

  /** One statement, so one moment: all rows are of the time at which it began. The server keeps old rows meanwhile. */
  async *all(signal: AbortSignal): AsyncGenerator<readonly Indexed[]> {
    const session = await this.#begin(signal)
    try {
      await session.query(`DECLARE attachments NO SCROLL CURSOR FOR ${this.#select()}`)
      for (;;) {
        const rows = await session.query(`FETCH ${BATCH} FROM attachments`)
        if (rows.length === 0) return
        yield rows.map(attachmentOf)
      }
    } finally {
      await this.#end(session)
    }
  }

  async find(uuids: ReadonlySet<string>, signal: AbortSignal): Promise<ReadonlyMap<string, Indexed>> {
    const found = new Map<string, Indexed>()
    if (uuids.size === 0) return found
    const wanted = [...uuids]
    const session = await this.#begin(signal)
    try {
      for (let from = 0; from < wanted.length; from += MOST_WANTED) {
        const some = wanted.slice(from, from + MOST_WANTED)
        const rows = await session.query(`${this.#select()} WHERE uuid IN (SELECT unnest($1::text[]))`, [some])
        for (const attachment of rows.map(attachmentOf)) found.set(attachment.uuid, attachment)
      }
      return found
    } finally {
      await this.#end(session)
    }
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    await Promise.all([...this.#open].map(session => this.#end(session)))
  }

  #select(): string {
    return (
      'SELECT uuid, fileType AS type, compressedSize::text AS size, compressedHash AS md5 ' +
      `FROM ${this.#schema}.AttachedFiles`
    )
  }

  async #begin(signal: AbortSignal): Promise<Session> {
    const session = await openSession(this.#settings, signal, this.#firstDelayMs)
    this.#open.add(session)
    try {
      await this.#check(session)
      return session
    } catch (error) {
      await this.#end(session)
      throw error
    }
  }

  /** An empty table of some other program must not be taken for the index of an empty Orthanc. */
  async #check(session: Session): Promise<void> {
    const asked = `SELECT value FROM ${this.#schema}.GlobalProperties WHERE property = 1`
    const [row] = await session.query(asked)
    if (row?.['value'] === SCHEMA_VERSION) return
    const found = row === undefined ? 'no version' : `version ${String(row['value']).slice(0, 20)}`
    const what = `the ${this.name} has ${found} of Orthanc's tables, and only version ${SCHEMA_VERSION} is known`
    throw new Fault('BadConfig', what, {
      remedy: 'Check Database and Schema in the section PostgreSQL, or let Orthanc itself be asked.',
    })
  }

  async #end(session: Session): Promise<void> {
    this.#open.delete(session)
    await session.close()
  }
}

function attachmentOf({ uuid, type, size, md5 }: Record<string, unknown>): Indexed {
  const attachment = indexedOf(uuid, type, typeof size === 'string' ? Number(size) : size, md5)
  if (attachment) return attachment
  throw new Fault('Corrupt', 'a row of the table AttachedFiles is not what Orthanc writes')
}
