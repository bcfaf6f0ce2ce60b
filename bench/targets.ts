import { costs, cpuBeyond, longer, medianFigures, paired, type Result, speeds, verbs } from './compare.ts'
import type { Figures } from './measure.ts'
import type { More } from './report.ts'
import { BEHIND_DELAY, ENCRYPTED, FILE_SYSTEM } from './subjects.ts'

/** This project's own targets beside what this run measured: lines for the terminal. */
export function targetLines(results: readonly Result[], { sealing, moves }: More): string[] {
  const rows: string[] = []
  const add = (what: string, measured: number | undefined, limit: number, unit: string, least: boolean) => {
    if (measured === undefined) return
    const met = least ? measured >= limit : measured <= limit
    const comparison = `${measured.toFixed(2)} ${unit}, ${least ? 'at least' : 'at most'} ${limit.toFixed(2)}`
    rows.push(`${met ? 'met    ' : 'NOT MET'}  ${what}: ${comparison}`)
  }
  const least = { upload: 1, read: 0.65 }
  const mostCpu = { upload: 0.5, read: 1.2 }
  for (const load of new Set(results.map(result => result.load))) {
    if (load.count < 100) continue
    const beside = (name: string, compare: (ours: Figures, other: Figures) => number | undefined) =>
      paired(results, load.name, name, FILE_SYSTEM, compare)
    const clients = load.name.replace(/^.*, /, '')
    for (const name of ['S3 (stub)', 'DirectoryStorage'])
      for (const verb of verbs) {
        const what = `${name}, ${clients}`
        add(`${what}: ${verb}s, times the file system's rate`, beside(name, speeds(costs[verb])), least[verb], '', true)
        const cpu = beside(name, cpuBeyond(costs[verb]))
        add(`${what}: CPU of each ${verb} beyond the file system's`, cpu, mostCpu[verb], 'ms', false)
      }
    for (const verb of verbs)
      add(
        `${BEHIND_DELAY}: a${verb === 'upload' ? 'n' : ''} ${verb} beyond the file system's time`,
        beside(BEHIND_DELAY, longer(costs[verb])),
        25,
        'ms',
        false,
      )
  }
  for (const [name, limit] of [
    ['S3 (stub)', 300],
    ['S3 (stub), transfer manager', 300],
    [`S3 (stub)${ENCRYPTED}`, 350],
    [`DirectoryStorage${ENCRYPTED}`, 350],
  ] as const) {
    const peak = medianFigures(results, '10 files of 200 MB at once', name)?.enginePeak
    add(`${name}: the engine's memory with 10 uploads of 200 MB at once`, peak, limit, 'MB', false)
  }
  const [several, one] = moves
  if (several && one) {
    const ratio = several.filesPerSecond / one.filesPerSecond
    add(`moves of ${several.concurrency} files at a time, times the speed of one at a time`, ratio, 6, '', true)
    add("moves: the engine's memory", several.enginePeak, 250, 'MB', false)
  }
  if (sealing)
    for (const what of ['seal', 'unseal'] as const) add(`${what}, one core`, sealing[what], 1.6, 'GB/s', true)
  for (const load of new Set(results.map(result => result.load.name)))
    for (const name of ['S3 (stub)', 'DirectoryStorage'])
      for (const verb of verbs) {
        // The plain one is this many times as fast, so the encrypted one takes this many times as long.
        const ratio = paired(results, load, name, `${name}${ENCRYPTED}`, speeds(costs[verb]))
        add(`${name}, ${load}: time of an encrypted ${verb}`, ratio, 1.15, 'times', false)
      }
  return ['Targets of this project:', ...rows]
}
