/** `node:sqlite`, without the line that Node.js prints about it, and its failures as faults. */
import type { DatabaseSync } from 'node:sqlite'
import { Fault, isObject } from '../fault.ts'

/** Result codes of SQLite: https://www.sqlite.org/rescode.html */
const FULL = 13
const BUSY = 5
const NOT_A_DATABASE = 26

/**
 * Opens a database file. Node.js 22 and 24 warn that the module is experimental: nobody who runs a command can do
 * anything about it. Every other warning is still shown.
 */
export function openDatabase(file: string): DatabaseSync {
  const warn = process.emitWarning
  process.emitWarning = ((...words: unknown[]) => {
    if (!String(words[0]).startsWith('SQLite is an experimental feature')) Reflect.apply(warn, process, words)
  }) as typeof warn
  try {
    const { DatabaseSync } = process.getBuiltinModule('node:sqlite')
    return new DatabaseSync(file)
  } finally {
    process.emitWarning = warn
  }
}

/** A file of SQLite's, and the option that names it or its folder. */
export interface DatabaseName {
  /** Such as `the scratch file in /tmp`. */
  readonly what: string
  /** Such as `--scratch`. */
  readonly option: string
}

/** What SQLite throws, in the words of whoever chose the file. */
export function databaseFault({ what, option }: DatabaseName, error: unknown): Fault {
  if (error instanceof Fault) return error
  if (!isObject(error) || error['code'] !== 'ERR_SQLITE_ERROR') return Fault.from(error)
  const code = Number(error['errcode']) % 256
  const fault = (kind: 'TooLarge' | 'Unavailable' | 'BadRequest', said: string, remedy: string) =>
    new Fault(kind, `${what} ${said}`, { cause: error, retryable: false, remedy })
  if (code === FULL)
    return fault('TooLarge', 'has no room: the disk is full', `Make room, or name a larger disk with ${option}.`)
  if (code === BUSY)
    return fault('Unavailable', 'is in use by another run', `Wait for its end, or name another one with ${option}.`)
  if (code === NOT_A_DATABASE)
    return fault('BadRequest', 'is something else', `Name a file that does not exist yet with ${option}.`)
  const said = `fails: ${String(error['errstr'] ?? error)}`
  return fault('Unavailable', said, `Look at the disk and at its quota, or name another one with ${option}.`)
}
