/** What a load of docs/speed.md is, and how storages are compared in it. */
import { middle } from '../compare.ts'
import type { Spent } from './bed.ts'

export interface Row {
  /** What is done. */
  readonly what: string
  readonly subject: string
  readonly round: number
  /** Files. */
  readonly count: number
  readonly spent: Spent
  /** Seconds after which it was as if nothing waited any more, where that is something else. */
  readonly settled?: number
}

export interface Settings {
  readonly rounds: number
  /** The folder of an older build of ours. */
  readonly before: string | undefined
  /** What is not wanted is left out. */
  isWanted(what: string): boolean
}

export interface Target {
  readonly what: string
  /** The rows that it is about, when they have another name. */
  readonly of?: string
  readonly subject: string
  /** Compared with it, by rate; without it, `limit` is of `value`. */
  readonly beside?: string
  readonly value?: (row: Row) => number | undefined
  readonly least?: number
  readonly most?: number
  readonly unit?: string
}

export interface SpeedLoad {
  /** For `--only`. */
  readonly name: string
  readonly title: string
  readonly text: string
  /** The storage that the others are compared with. */
  readonly base: string
  /** Whether read-ahead is on in a storage: its memory comes on top of what the engine may take. */
  holds(subject: string): boolean
  readonly targets: readonly Target[]
  /** Rounds in turns. */
  measure(settings: Settings): AsyncGenerator<Row>
}

/** Names of storages. */
export const BEFORE = 'the build before'

export const rateOf = ({ count, spent }: Row) => count / spent.seconds

export function median(
  rows: readonly Row[],
  what: string,
  subject: string,
  value: (row: Row) => number | undefined,
): number | undefined {
  const found = rows
    .filter(row => row.what === what && row.subject === subject)
    .map(value)
    .filter(one => one !== undefined)
  return found.length === 0 ? undefined : middle(found)
}

/** The median of the comparisons within each round. */
export function compared(
  rows: readonly Row[],
  what: string,
  [subject, other]: readonly [string, string],
  value: (row: Row) => number | undefined = rateOf,
): number | undefined {
  const of = (name: string) => rows.filter(row => row.what === what && row.subject === name)
  const ratios = of(subject).flatMap(mine => {
    const theirs = of(other).find(({ round }) => round === mine.round)
    const [a, b] = [value(mine), theirs && value(theirs)]
    return a === undefined || b === undefined ? [] : [a / b]
  })
  return ratios.length === 0 ? undefined : middle(ratios)
}
