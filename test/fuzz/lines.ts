/** What may stand in a log: one line that somebody can read to its end, and that moves no cursor. */
import { Fault } from '../../src/fault.ts'

const LONGEST = 1500

export function isOneLine(line: string): boolean {
  return line.length <= LONGEST && line.isWellFormed() && !/[\p{Cc}\u2028\u2029]/u.test(line)
}

const CODES: readonly string[] = [
  'NotFound',
  'Denied',
  'Archived',
  'Corrupt',
  'Unavailable',
  'Timeout',
  'TooLarge',
  'BadRequest',
  'BadConfig',
  'Canceled',
  'Internal',
]

/**
 * Whether all of a failure was made by us: what a library or the language threw by itself is Internal, and nobody
 * foresaw it.
 */
export function isForeseen(error: Fault): boolean {
  if (!CODES.includes(error.code)) return false
  for (let at: unknown = error; at instanceof Fault; at = at.cause)
    if (at.code === 'Internal' && at.cause !== undefined && !(at.cause instanceof Fault)) return false
  return true
}
