/**
 * What the index has and what the stores have, brought together by UUID in a file on disk, so that memory does not grow
 * with the number of files.
 *
 * The rows are kept in 256 tables, by the first two hex digits of the UUID, in the order in which they came. Each table
 * is sorted when it is read. A B-tree over all UUIDs would be slower: they are random, so that each row would be
 * written to another page. And one sort of everything would hold the process for minutes.
 */
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { ContentType } from '../area/area.ts'
import { type DatabaseName, databaseFault, openDatabase } from '../bulk/sqlite.ts'
import { SHARDS } from '../bulk/work.ts'
import { Fault, messageWithoutPath } from '../fault.ts'
import type { Indexed } from '../orthanc-index/orthanc-index.ts'
import type { Finding } from './finding.ts'

/** An object of a store, as it was listed or looked at. */
export interface Seen {
  /** Index of the place. */
  readonly place: number
  /** The number of its name there: see place.ts. */
  readonly name: number
  /** Bytes. */
  readonly size: number
  /** Milliseconds since 1970; NaN = not known. */
  readonly modified: number
  /** Of the stored bytes, in lower-case hex. */
  readonly md5: string | undefined
}

/** Everything that is known of one UUID. */
export interface Group {
  readonly uuid: string
  /** undefined = the index does not have it. */
  readonly file: Indexed | undefined
  readonly seen: readonly Seen[]
}

export interface ScratchOptions {
  /** How a person names another folder. Default: `--scratch`. */
  readonly option?: string
  /** It is for this shard: only that is added and read. */
  readonly only?: number
  /** Of 4096 bytes, for tests. */
  readonly mostPages?: number
}

/** Rows in a transaction. */
const MOST_ROWS = 10_000
/** Rows are only appended, and each table is read once: more would not be faster. */
const CACHE_KIB = 8 * 1024
const TYPES: readonly ContentType[] = ['dicom', 'dicom-as-json', 'dicom-until-pixel-data', 'unknown']

interface Row {
  readonly uuid: string
  /** 0 = the index, else one more than the index of the place. */
  readonly place: number
  readonly name: number
  readonly size: number
  readonly modified: number | null
  readonly md5: string | null
}

/** Also of what is no UUID. */
export const shardOfAny = (uuid: string) => Number.parseInt(uuid.slice(0, 2), 16) || 0
const hex = (shard: number) => shard.toString(16).padStart(2, '0')
/** UUIDs as Orthanc writes them take 16 bytes. Others, such as those with capital letters, stay texts. */
const USUAL = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

export class Scratch {
  readonly #name: DatabaseName
  readonly #database: DatabaseSync
  readonly #inserts: readonly StatementSync[]
  #rows = 0

  /** Throws a `Fault` when the file cannot be made. */
  constructor(folder: string, { mostPages, only, option = '--scratch' }: ScratchOptions = {}) {
    this.#name = { what: `the scratch file in ${folder}`, option }
    // For what SQLite sorts beside the file. It is read once, when SQLite begins.
    process.env['SQLITE_TMPDIR'] ??= folder
    const own = makeFolder(folder, option)
    try {
      const file = join(own, 'scratch')
      closeSync(openSync(file, 'wx', 0o600))
      this.#database = openDatabase(file)
      // Nothing of it is needed after a crash.
      this.#database.exec(
        `PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA cache_size = -${CACHE_KIB}`,
      )
      const all = only === undefined ? Array.from({ length: SHARDS }, (_, shard) => hex(shard)) : [hex(only)]
      const columns = 'uuid BLOB, place INTEGER, name INTEGER, size INTEGER, modified INTEGER, md5 BLOB'
      this.#database.exec(`BEGIN; ${all.map(name => `CREATE TABLE s${name} (${columns});`).join('')} COMMIT`)
      if (mostPages !== undefined) this.#database.exec(`PRAGMA max_page_count = ${mostPages}`)
      this.#inserts = all.map(name =>
        this.#database.prepare(`INSERT INTO s${name} VALUES (coalesce(unhex(?, '-'), ?), ?, ?, ?, ?, unhex(?))`),
      )
      this.#database.exec('CREATE TABLE findings (kind TEXT, finding TEXT)')
      this.#database.exec('BEGIN')
    } catch (error) {
      throw databaseFault(this.#name, error)
    } finally {
      rmSync(own, { recursive: true, force: true }) // it stays open, and cannot stay behind
    }
  }

  addIndexed({ uuid, type, size, md5 }: Indexed): void {
    this.#add(uuid, 0, TYPES.indexOf(type), size, null, md5 ?? null)
  }

  addSeen(uuid: string, { place, name, size, modified, md5 }: Seen): void {
    this.#add(uuid, place + 1, name, size, Number.isNaN(modified) ? null : modified, md5 ?? null)
  }

  /** All groups of a shard, from 0 to 255, in the order of their UUIDs. Nothing may be added meanwhile. */
  *groups(shard: number): Iterable<Group> {
    try {
      const rows = this.#database
        .prepare(
          `SELECT iif(typeof(uuid) = 'blob', lower(hex(uuid)), uuid) AS uuid, place, name, size, modified,
           lower(hex(md5)) AS md5 FROM s${hex(shard)} ORDER BY s${hex(shard)}.uuid, rowid`,
        )
        .iterate() as Iterable<unknown> as Iterable<Row>
      let group: Row[] = []
      for (const row of rows) {
        if (group[0] && group[0].uuid !== row.uuid) {
          yield groupOf(group)
          group = []
        }
        group.push(row)
      }
      if (group.length > 0) yield groupOf(group)
    } catch (error) {
      throw databaseFault(this.#name, error)
    }
  }

  addFinding(finding: Finding): void {
    this.#insert(() =>
      this.#database.prepare('INSERT INTO findings VALUES (?, ?)').run(finding.kind, JSON.stringify(finding)),
    )
  }

  /** In the order in which they were added. Nothing may be added meanwhile. */
  *findings(kind: Finding['kind']): Iterable<Finding> {
    try {
      const rows = this.#database.prepare('SELECT finding FROM findings WHERE kind = ? ORDER BY rowid').iterate(kind)
      for (const { finding } of rows) yield JSON.parse(String(finding)) as Finding
    } catch (error) {
      throw databaseFault(this.#name, error)
    }
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close()
  }

  #add(uuid: string, place: number, name: number, size: number, modified: number | null, md5: string | null): void {
    const insert = this.#inserts[this.#inserts.length === 1 ? 0 : shardOfAny(uuid)] as StatementSync
    this.#insert(() => insert.run(USUAL.test(uuid) ? uuid : null, uuid, place, name, size, modified, md5))
  }

  #insert(run: () => unknown): void {
    try {
      run()
      if (++this.#rows % MOST_ROWS === 0) this.#database.exec('COMMIT; BEGIN')
    } catch (error) {
      throw databaseFault(this.#name, error)
    }
  }
}

/** What came last counts: an index or a listing may name something twice. */
function groupOf(rows: readonly Row[]): Group {
  const [first] = rows as readonly [Row]
  const uuid = USUAL_HEX.test(first.uuid) ? first.uuid.replace(USUAL_HEX, '$1-$2-$3-$4-$5') : first.uuid
  let file: Indexed | undefined
  const seen: Seen[] = []
  for (const { place, name, size, modified, md5 } of rows) {
    if (place === 0) {
      file = { uuid, type: TYPES[name] as ContentType, size, md5: md5 || undefined }
      continue
    }
    const again = seen.findIndex(other => other.place === place - 1 && other.name === name)
    const one = { place: place - 1, name, size, modified: modified ?? Number.NaN, md5: md5 || undefined }
    if (again === -1) seen.push(one)
    else seen[again] = one
  }
  return { uuid, file, seen }
}

const USUAL_HEX = /^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/

function makeFolder(folder: string, option: string): string {
  try {
    return mkdtempSync(join(folder, 'orthanc-cloud-storage-'))
  } catch (cause) {
    throw new Fault('BadRequest', `no scratch file can be made in ${folder}: ${messageWithoutPath(cause)}`, {
      cause,
      remedy: `Name another folder with ${option}.`,
    })
  }
}
