/**
 * What a run on one machine has done, in a file: which shards are at their end, what they have counted, and the lines
 * of the report. A run that was killed goes on from it.
 */
import { closeSync, openSync, rmSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { Fault, messageWithoutPath } from '../fault.ts'
import { databaseFault, openDatabase } from './sqlite.ts'
import { AFTER, BEFORE, type Json, type Line, type ShardTally } from './work.ts'

/** So that a file of some other program is not taken for ours. */
const APPLICATION_ID = 0x6f63_7331
const OPTION = '--state'
const LINES_AT_ONCE = 1_000

export class State {
  readonly #path: string
  readonly #database: DatabaseSync

  /**
   * Opens or makes the file, which no other process can use until close(). `work`: its name and identity. Throws
   * `BadRequest` when the file belongs to other work, or is no such file.
   */
  constructor(path: string, work: Readonly<Record<string, Json>>) {
    this.#path = path
    makeFile(path)
    this.#database = openDatabase(path)
    try {
      this.#try(() => this.#begin(JSON.stringify(work)))
    } catch (error) {
      this.#database.close()
      throw error
    }
  }

  /** Tallies of the shards that are at their end, without failures. */
  done(): ReadonlyMap<number, ShardTally> {
    const rows = this.#rows('SELECT shard, tally FROM shards WHERE tally IS NOT NULL')
    return new Map(rows.map(({ shard, tally }) => [Number(shard), JSON.parse(String(tally)) as ShardTally]))
  }

  /** What was remembered of a shard. What it wrote or gave after that is dropped. */
  begin(shard: number): Json | undefined {
    return this.#try(() => {
      const [row] = this.#rows('SELECT remembered FROM shards WHERE shard = ?', shard)
      this.#run('DELETE FROM lines WHERE shard = ? AND NOT kept', shard)
      if (shard === BEFORE) this.#run('DELETE FROM given')
      return row?.['remembered'] == null ? undefined : (JSON.parse(String(row['remembered'])) as Json)
    })
  }

  /** Together with the lines that were written so far. */
  remember(shard: number, value: Json): void {
    this.#together(() => {
      const upsert = 'INSERT INTO shards (shard, remembered) VALUES (?, ?)'
      this.#run(`${upsert} ON CONFLICT DO UPDATE SET remembered = excluded.remembered`, shard, JSON.stringify(value))
      this.#run('UPDATE lines SET kept = 1 WHERE shard = ?', shard)
    })
  }

  line(shard: number, line: Line): void {
    this.#try(() => this.#run('INSERT INTO lines (shard, line) VALUES (?, ?)', shard, JSON.stringify(line)))
  }

  /** `undefined`: it is to be done again in a later run, from its beginning, or from what was remembered. */
  finish(shard: number, tally: ShardTally | undefined, keepsRemembered = false): void {
    this.#together(() => {
      if (tally || !keepsRemembered) this.#run('DELETE FROM shards WHERE shard = ?', shard)
      if (tally) this.#run('INSERT INTO shards (shard, tally) VALUES (?, ?)', shard, JSON.stringify(tally))
      this.#run('UPDATE lines SET kept = ? WHERE shard = ?', tally ? 1 : 0, shard)
      if (tally) this.#run('DELETE FROM given WHERE shard = ?', shard)
    })
  }

  /** See Before. */
  give(parts: ReadonlyMap<number, Uint8Array>): void {
    this.#together(() => {
      const insert = this.#database.prepare('INSERT INTO given (shard, part) VALUES (?, ?)')
      for (const [shard, part] of parts) insert.run(shard, part)
    })
  }

  *given(shard: number): Iterable<Uint8Array> {
    const next = 'SELECT rowid AS place, part FROM given WHERE shard = ? AND rowid > ? ORDER BY rowid LIMIT 1'
    for (let last = 0; ; ) {
      const [row] = this.#try(() => this.#rows(next, shard, last))
      if (!row) return
      yield row['part'] as Uint8Array
      last = Number(row['place'])
    }
  }

  /** Those of the shards, in the order in which they came. Others may be written meanwhile. */
  *linesOfShards(): Iterable<Line> {
    const next = `SELECT rowid AS place, line FROM lines WHERE rowid > ? AND shard < ${AFTER} ORDER BY rowid LIMIT ${LINES_AT_ONCE}`
    for (let last = 0; ; ) {
      const rows = this.#try(() => this.#rows(next, last))
      for (const { line } of rows) yield JSON.parse(String(line)) as Line
      if (rows.length === 0) return
      last = Number(rows.at(-1)?.['place'])
    }
  }

  /** All that were written, in the order of the shards. Nothing may be written meanwhile. */
  *lines(): Iterable<Line> {
    try {
      const all = this.#database.prepare('SELECT line FROM lines ORDER BY shard, rowid').iterate()
      for (const row of all) yield JSON.parse(String(row['line'])) as Line
    } catch (error) {
      throw this.#fault(error)
    }
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close()
  }

  /** Nothing is left to do. */
  remove(): void {
    this.close()
    for (const ending of ['', '-journal', '-wal', '-shm']) rmSync(`${this.#path}${ending}`, { force: true })
  }

  #begin(work: string): void {
    // The lock is held from the first statement to the end, and the system takes it from a process that died.
    this.#database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    this.#database.exec('BEGIN IMMEDIATE')
    const [version] = this.#rows('PRAGMA application_id')
    const [tables] = this.#rows('SELECT count(*) AS count FROM sqlite_schema')
    const isNew = Number(tables?.['count']) === 0
    if (isNew)
      this.#database.exec(
        `PRAGMA application_id = ${APPLICATION_ID};
         CREATE TABLE work (work TEXT NOT NULL);
         CREATE TABLE shards (shard INTEGER PRIMARY KEY, remembered TEXT, tally TEXT);
         CREATE TABLE lines (shard INTEGER NOT NULL, kept INTEGER NOT NULL DEFAULT 0, line TEXT NOT NULL)`,
      )
    else if (version?.['application_id'] !== APPLICATION_ID) throw notOurs(this.#path)
    this.#database.exec(
      `CREATE TABLE IF NOT EXISTS given (shard INTEGER NOT NULL, part BLOB NOT NULL);
       CREATE INDEX IF NOT EXISTS given_shard ON given (shard)`,
    )
    if (isNew) this.#run('INSERT INTO work VALUES (?)', work)
    const [row] = this.#rows('SELECT work FROM work')
    if (row?.['work'] !== work)
      throw new Fault('BadRequest', `${this.#path} belongs to other work than this command`, {
        remedy: `Give each command a file of its own with ${OPTION}, or remove this one to begin again.`,
      })
    this.#database.exec('COMMIT')
  }

  #together(work: () => void): void {
    this.#try(() => {
      this.#database.exec('BEGIN')
      try {
        work()
        this.#database.exec('COMMIT')
      } catch (error) {
        this.#database.exec('ROLLBACK')
        throw error
      }
    })
  }

  #run(sql: string, ...values: (string | number)[]): void {
    this.#database.prepare(sql).run(...values)
  }

  #rows(sql: string, ...values: (string | number)[]): readonly Record<string, unknown>[] {
    return this.#database.prepare(sql).all(...values)
  }

  #try<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw this.#fault(error)
    }
  }

  #fault(error: unknown): Fault {
    return databaseFault({ what: `the file ${this.#path}`, option: OPTION }, error)
  }
}

/** Only its owner may read the keys in it. */
function makeFile(path: string): void {
  try {
    closeSync(openSync(path, 'a', 0o600))
  } catch (cause) {
    throw new Fault('BadRequest', `${path} cannot be written: ${messageWithoutPath(cause)}`, {
      cause,
      remedy: `Name another file with ${OPTION}.`,
    })
  }
}

function notOurs(path: string): Fault {
  return new Fault('BadRequest', `${path} is not a file of this program's`, {
    remedy: `Name a file that does not exist yet with ${OPTION}.`,
  })
}
