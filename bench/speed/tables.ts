/** The figures of docs/speed.md as Markdown, and the targets for the terminal. */
import { compared, median, type Row, rateOf, type SpeedLoad } from './load.ts'

type Value = (row: Row) => number | undefined
const each = (of: (row: Row) => number | undefined) => (row: Row) => {
  const value = of(row)
  return value === undefined ? undefined : value / row.count
}

interface Column {
  readonly title: string
  readonly value: Value
  readonly digits: number
}

const columns: readonly Column[] = [
  { title: 'seconds', value: ({ spent }) => spent.seconds, digits: 2 },
  { title: 'done after, s', value: ({ settled }) => settled, digits: 2 },
  { title: 'files/s', value: rateOf, digits: 1 },
  { title: 'requests', value: ({ spent }) => spent.requests, digits: 0 },
  { title: 'MB', value: ({ spent }) => spent.sentBytes && spent.sentBytes / 1e6, digits: 1 },
  { title: 'CPU ms a file, Orthanc', value: each(({ spent }) => spent.orthancCpu), digits: 2 },
  { title: 'engine', value: each(({ spent }) => spent.engineCpu || undefined), digits: 2 },
  { title: 'engine, peak MB', value: ({ spent }) => spent.enginePeak, digits: 0 },
]

const cell = (value: number | undefined, digits: number) => value?.toFixed(digits) ?? '–'

export function tableOf(load: SpeedLoad, rows: readonly Row[]): string[] {
  const shown = columns.filter(({ value }) => rows.some(row => value(row) !== undefined))
  const lines = [
    `| what | storage | ${shown.map(({ title }) => title).join(' | ')} | of "${load.base}" |`,
    `|---|---|${shown.map(() => '---|').join('')}---|`,
  ]
  for (const what of new Set(rows.map(row => row.what)))
    for (const subject of new Set(rows.filter(row => row.what === what).map(row => row.subject))) {
      const cells = shown.map(({ value, digits }) => cell(median(rows, what, subject, value), digits))
      lines.push(
        `| ${what} | ${subject} | ${cells.join(' | ')} | ${cell(compared(rows, what, [subject, load.base]), 2)} |`,
      )
    }
  return lines
}

export function targetLinesOf(load: SpeedLoad, rows: readonly Row[]): string[] {
  return load.targets.flatMap(({ what, of = what, subject, beside, value = rateOf, least, most, unit = 'times' }) => {
    const measured = beside ? compared(rows, of, [subject, beside], value) : median(rows, of, subject, value)
    if (measured === undefined) return []
    const met = measured >= (least ?? Number.NEGATIVE_INFINITY) && measured <= (most ?? Number.POSITIVE_INFINITY)
    const limit = least === undefined ? `at most ${most}` : `at least ${least}`
    const whose = beside ? ` "${beside}"` : ''
    return [`${met ? 'met    ' : 'NOT MET'}  ${what}; ${subject}: ${measured.toFixed(2)} ${unit}${whose}, ${limit}`]
  })
}
