/** The measured parts of docs/speed.md: each load writes what is between its two marks, and nothing else. */
import { cpus, release, totalmem } from 'node:os'
import type { Row, SpeedLoad } from './load.ts'
import { tableOf } from './tables.ts'

export function withSection(page: string, load: SpeedLoad, rows: readonly Row[], conditions: string): string {
  const [begin, end] = [`<!-- measured: ${load.name} -->`, `<!-- end of ${load.name} -->`]
  const [from, to] = [page.indexOf(begin), page.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`docs/speed.md has no part between "${begin}" and "${end}"`)
  const section = [begin, '', load.text, '', ...tableOf(load, rows), '', conditions, '', end]
  return page.slice(0, from) + section.join('\n') + page.slice(to + end.length)
}

/** Of one run. `orthanc`: its version. */
export function conditionsOf(rounds: number, orthanc: string): string {
  const [cpu] = cpus()
  const machine = `${cpus().length} cores (${cpu?.model.trim()}), ${(totalmem() / 1e9).toFixed(0)} GB, Linux ${release()}`
  const day = new Date().toISOString().slice(0, 10)
  return `${day}, medians of ${rounds} rounds, Orthanc ${orthanc}, Node.js ${process.versions.node}, ${machine}.`
}
