/**
 * CRC-32C (Castagnoli), the checksum of Google Cloud Storage (RFC 3720, appendix B.4); Node has only the other CRC-32.
 * Sixteen bytes at a time ("slicing by 16"), read as words: measured at 2.9 GB/s, where eight bytes read one by one
 * made 1.8, OpenSSL's MD5 0.9, and zlib's CRC-32 6.5.
 */
const POLYNOMIAL = 0x82f63b78 // its bits reversed
const WAYS = 16

type Numbers = { readonly [at: number]: number } // no index below is outside

/** WAYS tables of 256, one after the other: table k has what a byte does to the remainder k bytes later. */
const tables = new Int32Array(256 * WAYS)
const t: Numbers = tables
for (let byte = 0; byte < 256; byte++) {
  let remainder = byte
  for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? (remainder >>> 1) ^ POLYNOMIAL : remainder >>> 1
  tables[byte] = remainder
}
for (let at = 256; at < tables.length; at++) {
  const before = tables[at - 256] ?? 0
  tables[at] = (before >>> 8) ^ (tables[before & 0xff] ?? 0)
}

/** Words are read in the order of the processor's bytes. All processors that we have packages for are little-endian. */
const isLittleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1

/** `soFar`: what the call for the bytes before these returned. */
export function crc32c(bytes: Uint8Array, soFar = 0): number {
  const { buffer, byteOffset, length } = bytes
  const aligned = Math.min(-byteOffset & 3, length)
  const words = isLittleEndian ? ((length - aligned) >>> 4) * 4 : 0
  const crc = byBytes(bytes, 0, aligned, ~soFar)
  if (words === 0) return ~byBytes(bytes, aligned, length, crc)
  const whole = byWords(new Int32Array(buffer, byteOffset + aligned, words), crc)
  return ~byBytes(bytes, aligned + words * 4, length, whole)
}

function byBytes(bytes: Numbers, from: number, to: number, before: number): number {
  let crc = before
  for (let i = from; i < to; i++) crc = (crc >>> 8) ^ at(t, (crc ^ at(bytes, i)) & 0xff)
  return crc
}

function byWords(words: Int32Array, before: number): number {
  const w: Numbers = words
  let crc = before
  for (let i = 0; i < words.length; i += 4)
    crc = word(0xc00, crc ^ at(w, i)) ^ word(0x800, at(w, i + 1)) ^ word(0x400, at(w, i + 2)) ^ word(0, at(w, i + 3))
  return crc
}

/** What four bytes do to the remainder: the first of them by the last of the four tables from `table` on. */
function word(table: number, four: number): number {
  return (
    at(t, table + 0x300 + (four & 0xff)) ^
    at(t, table + 0x200 + ((four >>> 8) & 0xff)) ^
    at(t, table + 0x100 + ((four >>> 16) & 0xff)) ^
    at(t, table + (four >>> 24))
  )
}

function at(numbers: Numbers, index: number): number {
  return numbers[index] as number
}
