/** What the shards of a verification write for its last step, and the last step for the report. */
import type { Line, ShardTally, Tally } from '../bulk/work.ts'
import type { Indexed } from '../orthanc-index/orthanc-index.ts'
import type { Finding } from './finding.ts'
import type { Group, Seen } from './scratch.ts'
import type { PlaceTally, VerifyTally } from './tally.ts'
import { emptyTally } from './tally.ts'

/** What is to be looked at again. */
export interface SuspectLine {
  readonly kind: 'suspect'
  readonly group: Group
  /** What its bytes have shown; undefined = the index and the listing say what is wrong. */
  readonly findings: readonly Finding[] | undefined
}

/** Its digest in the listing is another one, which proves something only where others of the same place were right. */
export interface DoubtLine {
  readonly kind: 'doubt'
  readonly group: Group
  /** Index of the place. */
  readonly place: number
}

/** What a shard has learnt of a place. */
export interface PlaceLine {
  readonly kind: 'place'
  readonly place: number
  /** See StoreClock. */
  readonly told: number | null
  readonly newest: number | null
  /** Whether a digest of its listing was right. */
  readonly areMd5: boolean
}

export interface FoundLine {
  readonly kind: 'found'
  readonly finding: Finding
}

/** What is not a number in the tally of a place. */
export interface EndLine extends Pick<PlaceTally, 'clock'> {
  readonly kind: 'end'
  readonly place: number
  readonly notLookedFor: string | undefined
}

export type SharedLine = SuspectLine | DoubtLine | PlaceLine | FoundLine | EndLine

/** JSON has neither NaN nor undefined. */
export const toLine = (line: SharedLine) => line as unknown as Line

export function fromLine(line: Line): SharedLine {
  const some = line as unknown as SharedLine
  if (some.kind !== 'suspect' && some.kind !== 'doubt') return some
  const { uuid, file, seen } = some.group
  const group = {
    uuid,
    file: file && { ...file, md5: (file as Partial<Indexed>).md5 },
    seen: seen.map(one => ({ ...one, modified: (one.modified as number | null) ?? Number.NaN, md5: md5Of(one) })),
  }
  return { ...some, group }
}

const md5Of = ({ md5 }: Partial<Pick<Seen, 'md5'>>) => md5

/** What only a shared verification counts. */
export interface SharedCounts {
  /** Files of the index that were given to the shards. */
  read: number
  /** Shards that were compared. */
  compared: number
  /** Suspects that may be a removal or a move that is under way. */
  passing: number
}

export const COUNTS: Readonly<SharedCounts> = { read: 0, compared: 0, passing: 0 }

/** The numbers of a tally, which can be added. */
export function countsOf(tally: VerifyTally, shared: SharedCounts): ShardTally {
  return { ...numbersIn(tally), shared: { ...shared }, failures: tally.failures }
}

function numbersIn(value: object): Tally {
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, member]): readonly (readonly [string, number | Tally])[] => {
      if (typeof member === 'number') return [[name, member]]
      return typeof member === 'object' && member !== null ? [[name, numbersIn(member)]] : []
    }),
  )
}

/** The way back. `stores`: the names of the places. */
export function tallyOf(counts: Tally, stores: readonly string[]): VerifyTally & { readonly shared: SharedCounts } {
  const tally = { ...emptyTally(stores), shared: { ...COUNTS } }
  fill(tally, counts)
  return tally
}

function fill(tally: object, counts: Tally): void {
  for (const [name, member] of Object.entries(tally)) {
    const count = counts[name]
    if (typeof member === 'number') Object.assign(tally, { [name]: typeof count === 'number' ? count : 0 })
    else if (typeof member === 'object' && member !== null && typeof count === 'object') fill(member, count)
  }
}
