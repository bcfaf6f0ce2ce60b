/**
 * One line of the journal: a checksum, a space, and what happened as JSON. A line that a crash cut off, or that a disk
 * changed, does not have its checksum, and says nothing.
 */
import { crc32 } from 'node:zlib'

export type JournalRecord =
  /** The object is to be removed. `at`: when Orthanc removed it, in milliseconds since 1970. */
  | { readonly kind: 'removal'; readonly store: string; readonly key: string; readonly at: number }
  /** There is nothing to be removed any more. */
  | { readonly kind: 'done'; readonly store: string; readonly key: string }
  /** The store refused for so long that nobody asks it again by itself. `words`: its last ones. */
  | {
      readonly kind: 'finding'
      readonly store: string
      readonly key: string
      readonly at: number
      readonly words: string
    }

const SIGNS = { removal: '-', done: '=', finding: '!' } as const

export function lineOf(record: JournalRecord): string {
  const { kind, store, key } = record
  const more = kind === 'done' ? [] : kind === 'removal' ? [record.at] : [record.at, record.words]
  const json = JSON.stringify([SIGNS[kind], store, key, ...more])
  return `${checksum(json)} ${json}\n`
}

/** `line`: without its end. */
export function recordOf(line: string): JournalRecord | undefined {
  const json = line.slice(9)
  if (line.slice(0, 9) !== `${checksum(json)} `) return undefined
  try {
    const [sign, store, key, at, words] = JSON.parse(json)
    if (typeof store !== 'string' || typeof key !== 'string') return undefined
    if (sign === SIGNS.done) return { kind: 'done', store, key }
    if (!Number.isFinite(at)) return undefined
    if (sign === SIGNS.removal) return { kind: 'removal', store, key, at }
    if (sign === SIGNS.finding) return { kind: 'finding', store, key, at, words: String(words) }
  } catch {
    // It says nothing.
  }
  return undefined
}

const checksum = (text: string) => crc32(text).toString(16).padStart(8, '0')
