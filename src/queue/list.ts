/** All runs in a database, for people. */
import { Fault } from '../fault.ts'
import type { Settings } from '../orthanc-index/postgresql-session.ts'
import { Database } from './database.ts'
import { Jobs } from './jobs.ts'
import { Runs } from './runs.ts'
import { alive, type Status, statusOf, type Worker } from './status.ts'
import { hasTables, SCHEMA } from './tables.ts'

/** A process that is silent for longer may be dead. */
const SILENT_SECONDS = 30

export interface RunOverview {
  readonly id: string
  readonly command: string
  readonly identity: unknown
  readonly begun: Date
  readonly ended: Date | undefined
  readonly status: Status
  readonly alive: readonly Worker[]
}

export class RunList {
  readonly name: string
  readonly #database: Database

  private constructor(database: Database) {
    this.#database = database
    this.name = database.name
  }

  /** Makes nothing there. */
  static async open(settings: Settings, signal: AbortSignal): Promise<RunList> {
    return new RunList(await Database.open({ settings }, signal))
  }

  /** The newest first. */
  async all(): Promise<readonly RunOverview[]> {
    if (!(await hasTables(this.#database))) return []
    const rows = await this.#database.rows(
      `SELECT id, command, identity, begun, ended FROM ${SCHEMA}.runs ORDER BY begun DESC`,
    )
    const all: RunOverview[] = []
    for (const { id, command, identity, begun, ended } of rows) {
      const status = await statusOf(this.#database, String(id))
      if (!status) continue // it was removed meanwhile
      all.push({
        ...{ id: String(id), command: String(command), identity: JSON.parse(String(identity)), status },
        begun: begun as Date,
        ended: ended === null ? undefined : (ended as Date),
        alive: alive(status, SILENT_SECONDS),
      })
    }
    return all
  }

  /** Refuses while somebody works on it. */
  async remove(id: string): Promise<void> {
    const status = await statusOf(this.#database, id)
    const [worker] = status && status.state === 'running' ? alive(status, SILENT_SECONDS) : []
    if (worker)
      throw new Fault('BadRequest', `process ${worker.pid} on ${worker.host} works on the run ${id}`, {
        remedy: 'End the processes of the run first; they give back what they have.',
      })
    const jobs = await Jobs.open(this.#database)
    try {
      await new Runs(this.#database, jobs).remove(id)
    } finally {
      await jobs.close()
    }
  }

  async close(): Promise<void> {
    await this.#database.close()
  }
}
