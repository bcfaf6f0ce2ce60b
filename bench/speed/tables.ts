/** The figures of docs/speed.md as Markdown, and the targets for the terminal. */
import { compared, median, type Row, rateOf, type SpeedLoad, type Target } from './load.ts'

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

/** A small number has a digit more: a large file may take seconds. */
const cell = (value: number | undefined, digits: number) =>
  value?.toFixed(digits > 0 && value !== 0 && value < 1 ? 2 : digits) ?? '–'

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

/** Without what read-ahead may hold, and that. MB. */
const ENGINE_LIMIT = 300
const READ_AHEAD_MEMORY = 64

export function targetLinesOf(load: SpeedLoad, rows: readonly Row[]): string[] {
  const lines: string[] = []
  const judge = (what: string, measured: number | undefined, { least, most }: Pick<Target, 'least' | 'most'>) => {
    if (measured === undefined) return
    // Nothing that is not a number is met.
    const met = least === undefined ? measured <= (most ?? Number.NaN) : measured >= least
    const limit = least === undefined ? `at most ${most}` : `at least ${least}`
    lines.push(`${met ? 'met    ' : 'NOT MET'}  ${what}: ${measured.toFixed(2)}, ${limit}`)
  }
  for (const target of load.targets) {
    const { what, of = what, subject, beside, value = rateOf, unit } = target
    const measured = beside ? compared(rows, of, [subject, beside], value) : median(rows, of, subject, value)
    judge(`${what}; ${subject}, ${beside ? `times "${beside}"` : unit}`, measured, target)
  }
  for (const subject of new Set(rows.map(row => row.subject))) {
    const peaks = rows.filter(row => row.subject === subject).flatMap(({ spent }) => spent.enginePeak ?? [])
    const most = ENGINE_LIMIT + (load.holds(subject) ? READ_AHEAD_MEMORY : 0)
    judge(`${load.title}; ${subject}, engine's memory in MB`, peaks.length > 0 ? Math.max(...peaks) : undefined, {
      most,
    })
  }
  return lines
}
