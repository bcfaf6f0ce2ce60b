/** `node:sqlite`, without the line that Node.js prints about it, and its failures as faults. */
import type { DatabaseSync } from 'node:sqlite'
import { Fault, isObject } from '../fault.ts'

/** Result codes of SQLite: https://www.sqlite.org/rescode.html */
const FULL = 13

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

/** What SQLite throws, in the words of whoever chose the folder. */
export function scratchFault(folder: string, error: unknown): Fault {
  if (error instanceof Fault) return error
  if (!isObject(error) || error['code'] !== 'ERR_SQLITE_ERROR') return Fault.from(error)
  const remedy = 'Make room there, or name a folder on a larger disk with --scratch.'
  if (Number(error['errcode']) % 256 === FULL)
    return new Fault('TooLarge', `the scratch file does not fit into ${folder}: the disk is full`, {
      cause: error,
      remedy,
    })
  return new Fault('Unavailable', `the scratch file in ${folder} fails: ${String(error['errstr'] ?? error)}`, {
    cause: error,
    retryable: false,
    remedy: 'Look at the disk and at its quota, or name another folder with --scratch.',
  })
}
