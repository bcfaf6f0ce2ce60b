/** What may stand in a log: one line that somebody can read to its end, and that moves no cursor. */
const LONGEST = 1500

export function isOneLine(line: string): boolean {
  return line.length <= LONGEST && line.isWellFormed() && !/[\p{Cc}\u2028\u2029]/u.test(line)
}
