/** What `usage` has counted, as a table for people and as lines for programs. */
import type { Line, Tally } from '../bulk/work.ts'
import { amount } from '../bytes.ts'
import type { Prices } from '../config/prices.ts'
import { AGES, type Cell, cellsOf, type Sum } from '../usage/cells.ts'
import type { UsagePlace } from '../usage/usage.ts'
import type { Wording } from './bulk.ts'
import { objects } from './terminal.ts'

interface UsageReport {
  readonly places: readonly UsagePlace[]
  /** Undefined: nobody asked what it costs. */
  readonly prices: Prices | undefined
  /** Whether strangers were looked for. */
  readonly all: boolean
}

type Counted = Cell & Sum

/** `price`: of a month; undefined where a class in it has no price. */
interface Row extends Sum {
  readonly name: string
  readonly price: number | undefined
}

const COLUMNS: readonly (readonly [string, (cell: Cell) => string])[] = [
  ['type', ({ type }) => type],
  ['storage class', cell => cell.class],
  ['age', ({ age }) => age],
  ['encryption', ({ encryption }) => encryption],
]

export function usageWording({ places, prices, all }: UsageReport): Wording {
  const priceOf = (cell: Counted) => {
    const price = prices?.perGBMonth.get(cell.class)
    return price === undefined || !prices ? undefined : (cell.bytes / prices.bytesPerGB) * price
  }
  const money = (value: number | undefined) =>
    value === undefined ? '?' : value > 0 && value < 0.01 ? '< 0.01' : value.toFixed(2)
  const perMonth = (name: string, cells: readonly Counted[]): Row => ({
    name,
    objects: sumOf(cells, cell => cell.objects),
    bytes: sumOf(cells, cell => cell.bytes),
    price: cells.some(cell => priceOf(cell) === undefined) ? undefined : sumOf(cells, cell => priceOf(cell) ?? 0),
  })
  const size = (row: Row) => `${row.name}: ${objects(row.objects)} (${amount(row.bytes)})`
  const total = (row: Row) => {
    if (!prices || row.objects === 0) return size(row)
    return `${size(row)}, ${row.price === undefined ? 'no price for all of it' : `${money(row.price)} ${prices.currency} a month`}`
  }

  function tableOf(cells: readonly Counted[]): readonly string[] {
    const rows = COLUMNS.flatMap(([title, keyOf]) => {
      const groups = [...Map.groupBy(cells, keyOf)].map(([name, group]) => perMonth(`  ${name}`, group))
      const order = title === 'age' ? inOrderOfAge : (one: Row, other: Row) => other.bytes - one.bytes
      return [title, ...groups.sort(order)]
    })
    const head = ['', 'objects', 'bytes', ...(prices ? [`${prices.currency} a month`] : [])]
    const lines = rows.map(row =>
      typeof row === 'string'
        ? [row]
        : [row.name, String(row.objects), amount(row.bytes), ...(prices ? [money(row.price)] : [])],
    )
    return aligned([head, ...lines]).map(line => `  ${line}`)
  }

  function summary(tally: Tally): readonly string[] {
    const cells = cellsOf(tally['cells'] as Tally)
    const ofPlaces = places.flatMap(({ tier, store }) => {
      const here = cells.filter(cell => cell.tier === tier)
      const of = (kind: Cell['of']) => here.filter(cell => cell.of === kind)
      const strangers = perMonth(`${store.name}, objects with a key that no file of Orthanc's has`, of('strangers'))
      const files = of('files')
      return [
        total(perMonth(`${store.name}, files of Orthanc`, files)),
        ...(files.length > 0 ? tableOf(files) : []),
        total(perMonth(`${store.name}, trash`, of('trash'))),
        all ? total(strangers) : `${strangers.name}: not looked for, that needs --all`,
      ]
    })
    return [...ofPlaces, ...(prices ? inAll(cells, prices) : [])]
  }

  function inAll(cells: readonly Counted[], { currency }: Prices): readonly string[] {
    const [priced, others] = [
      cells.filter(cell => priceOf(cell) !== undefined),
      cells.filter(cell => priceOf(cell) === undefined),
    ]
    const known = money(sumOf(priced, cell => priceOf(cell) ?? 0))
    const unpriced = [...Map.groupBy(others, cell => cell.class)].map(
      ([name, group]) => `${size(perMonth(`no price for "${name}"`, group))}, not in the sum`,
    )
    return [`in all: ${unpriced.length > 0 ? 'more than ' : ''}${known} ${currency} a month`, ...unpriced]
  }

  return {
    position: ({ objects: count, bytes }) => `${objects(Number(count))} counted (${amount(Number(bytes))})`,
    done: ({ objects: count }) => Number(count),
    sentence: () => undefined,
    summary,
    forPrograms: ({ cells, ...sums }) => ({
      lines: cellsOf(cells as Tally).map((cell): Line => {
        const store = places.find(({ tier }) => tier === cell.tier)?.store.name ?? ''
        return { kind: 'usage', store, ...cell, ...(prices && { perMonth: priceOf(cell) ?? null }) }
      }),
      summary: { ...sums },
    }),
  }
}

const sumOf = (cells: readonly Counted[], keyOf: (cell: Counted) => number) =>
  cells.reduce((sum, cell) => sum + keyOf(cell), 0)

const ages: readonly string[] = AGES.map(age => `  ${age}`)
const inOrderOfAge = (one: Row, other: Row) => ages.indexOf(one.name) - ages.indexOf(other.name)

/** The first column begins on the left, numbers end on the right. All texts are Latin, so a character is a column. */
function aligned(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map(row => row[at]?.length ?? 0)))
  return rows.map(row =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('   ')
      .trimEnd(),
  )
}
