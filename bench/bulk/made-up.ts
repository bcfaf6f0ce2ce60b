/** A made-up index and listing of any size: file `i` is the same in both, and nothing of it is kept. */
import { createHash } from 'node:crypto'

/** In the order of a listing. */
export function uuidOf(i: number, count: number): string {
  const first = Math.floor((i * 2 ** 32) / count)
    .toString(16)
    .padStart(8, '0')
  const md5 = createHash('md5').update(String(i)).digest('hex')
  return `${first}-${md5.slice(0, 4)}-4${md5.slice(4, 7)}-8${md5.slice(7, 10)}-${md5.slice(10, 22)}`
}

/** The same in SQL, of a column `i`. */
export const uuidInSql = (count: number) =>
  `lpad(to_hex(floor(i * 4294967296::numeric / ${count})::bigint), 8, '0') || '-' || substr(md5(i::text), 1, 4) || ` +
  `'-4' || substr(md5(i::text), 5, 3) || '-8' || substr(md5(i::text), 8, 3) || '-' || substr(md5(i::text), 11, 12)`

/** Bytes. */
export const sizeOf = (i: number) => 1000 + (i % 500_000)
export const SIZE_IN_SQL = '1000 + i % 500000'
