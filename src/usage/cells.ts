/** What is counted: a small table of sums, whose size does not grow with the number of objects. */
import type { ContentType, TierName } from '../area/area.ts'
import type { Tally } from '../bulk/work.ts'

/** `trash`: what was put aside there. `strangers`: objects with a key that no file of Orthanc's has. */
export type Kind = 'files' | 'trash' | 'strangers'

/** What all objects of one sum have in common. */
export interface Cell {
  readonly tier: TierName
  readonly of: Kind
  readonly type: ContentType | typeof NOT_TOLD
  /** Storage class, in the provider's word. */
  readonly class: string
  readonly age: Age
  readonly encryption: string
}

export interface Sum {
  readonly objects: number
  readonly bytes: number
}

/** Where neither the name nor the store says it. */
export const NOT_TOLD = 'not told'

export const AGES = ['under 30 days', '30 to 90 days', '90 days to 1 year', 'over 1 year', NOT_TOLD] as const
export type Age = (typeof AGES)[number]

const DAY_MS = 24 * 3_600_000
const LIMITS: readonly (readonly [number, Age])[] = [
  [30, 'under 30 days'],
  [90, '30 to 90 days'],
  [365, '90 days to 1 year'],
]

/** `ms`: NaN where the store does not tell it; negative where clocks differ. */
export function ageOf(ms: number): Age {
  if (Number.isNaN(ms)) return NOT_TOLD
  return LIMITS.find(([days]) => ms < days * DAY_MS)?.[1] ?? 'over 1 year'
}

const NAMES = ['tier', 'of', 'type', 'class', 'age', 'encryption'] as const
/** In no value of a cell. */
const SEPARATOR = '/'
/** Providers have a dozen of them. What is no such word would make the table as long as the listing. */
const CLASS = /^[A-Za-z0-9][A-Za-z0-9 _.-]{0,40}$/

export const classOf = (told: string | undefined, tier: TierName): string =>
  told !== undefined && CLASS.test(told) ? told : tier === 'file-system' ? tier : NOT_TOLD

export class Cells {
  readonly #sums = new Map<string, { objects: number; bytes: number }>()
  objects = 0
  bytes = 0

  add(cell: Cell, bytes: number): void {
    const name = NAMES.map(part => cell[part]).join(SEPARATOR)
    const sum = this.#sums.get(name) ?? { objects: 0, bytes: 0 }
    this.#sums.set(name, sum)
    for (const one of [this, sum]) {
      one.objects++
      one.bytes += bytes
    }
  }

  get tally(): Tally {
    return Object.fromEntries([...this.#sums].map(([name, sum]) => [name, { ...sum }]))
  }
}

/** The reverse of `Cells.tally`. */
export function cellsOf(tally: Tally): readonly (Cell & Sum)[] {
  return Object.entries(tally).map(([name, sum]) => {
    const values = name.split(SEPARATOR)
    const cell = Object.fromEntries(NAMES.map((part, i) => [part, values[i]]))
    return { ...cell, ...(sum as object) } as unknown as Cell & Sum
  })
}
