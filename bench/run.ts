/**
 * npm run bench: how fast, and at what cost, does Orthanc store and read on each kind of storage? Storages take turns,
 * so that what else the machine does affects all of them alike. Each figure is the median of the rounds. Each
 * comparison is the median of the comparisons within the rounds.
 * Writes docs/benchmarks.md and docs/speed.md, and prints this project's own targets.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
// @ts-expect-error plain JavaScript, as all scripts
import { wrapped } from '../scripts/pages.mjs'
import type { Result } from './compare.ts'
import { type Floor, measureFloor } from './floor.ts'
import { type BenchLoad, measure } from './measure.ts'
import { type MoveFigures, measureMoves } from './moves.ts'
import { benchmarksPage } from './report.ts'
import { measureSealing } from './seal.ts'
import type { SpeedLoad } from './speed/load.ts'
import { measureSpeed, speedLoads } from './speed/run.ts'
import { studiesTable } from './studies.ts'
import { BEHIND_DELAY, cleanUp, forget, type Subject, subjects } from './subjects.ts'
import { targetLines } from './targets.ts'

const small = { count: 400, rows: 332, columns: 332, reads: true, client: 'lean' } as const
const large = { count: 8, rows: 10_000, columns: 5_000, reads: true, client: 'lean' } as const
const huge = { count: 10, rows: 10_000, columns: 10_000, reads: false, client: 'lean' } as const
const loads: readonly BenchLoad[] = [
  { name: '400 files of 220 KB, 1 client', ...small, clients: 1 },
  { name: '400 files of 220 KB, 10 clients', ...small, clients: 10 },
  { name: '400 files of 220 KB, 1 client with fetch', ...small, clients: 1, client: 'fetch' },
  { name: '400 files of 220 KB, 10 clients with fetch', ...small, clients: 10, client: 'fetch' },
  { name: '10 files of 200 MB at once', ...huge, clients: 10 },
  { name: '8 files of 100 MB, 1 client', ...large, clients: 1 },
  { name: '8 files of 100 MB, 10 clients', ...large, clients: 10 },
]

/** For files of 100 and 200 MB, which take long. */
const LARGE_ROUNDS = 3

/** What is measured in a round, and what together: small files in turns, large ones one storage after the other. */
function groupsOf(all: readonly Subject[], load: BenchLoad, round: number): Subject[][] {
  if (load.count >= 100) {
    // A delay is about round trips: one client shows it. The second kind of client is not there to show the speed of
    // servers.
    const group = all.filter(
      ({ name, server }) =>
        (name !== BEHIND_DELAY || load.clients === 1) && (load.client === 'lean' || !(server || name === BEHIND_DELAY)),
    )
    return group.length > 0 ? [group] : []
  }
  if (round >= LARGE_ROUNDS) return []
  // For servers one round is enough: it shows how they take large files.
  return all.filter(({ name, server }) => name !== BEHIND_DELAY && !(server && round > 0)).map(subject => [subject])
}

const names = (all: readonly SpeedLoad[]) => all.map(({ name }) => name).join(', ')

/** What `--only` calls the measurement of moves. */
const MOVES = 'moves'

const options = new Command('npm run bench --')
  .option('--rounds <n>', 'rounds; 5 unless given, 3 with --speed; large files have 3 at most')
  .option('--only <text>', `only loads whose name contains this, "moves", ${names(speedLoads)}`)
  .option('--subject <text>', 'only storages whose name contains this')
  .option('--plugin <so>', "another storage plugin's library, measured in the same run")
  .option('--section <json>', "its configuration: a file with the sections of Orthanc's configuration")
  .option('--studies', 'only how long two studies take: the table of docs/comparison.md')
  .option('--speed', `only the loads of docs/speed.md: ${names(speedLoads)}`)
  .option('--before <folder>', 'in these, an older build of ours: the folder that holds its plugin and engine')
  .option('--what <text>', 'in these, only what has this in its name')
  .option('--write', 'what --speed or --only measured goes into docs/speed.md, and not to build/')
  .parse()
  .opts<Options>()

interface Options {
  readonly rounds?: string
  readonly only?: string
  readonly subject?: string
  readonly plugin?: string
  readonly section?: string
  readonly studies?: true
  readonly speed?: true
  readonly before?: string
  readonly what?: string
  readonly write?: true
}

process.setMaxListeners(0) // each Orthanc has one, and some ten are alive at once

if (options.studies) {
  console.log(await studiesTable(Number(options.rounds ?? 5)))
  process.exit(0)
}

async function speed(loads: readonly SpeedLoad[], write: boolean): Promise<void> {
  const { rounds = 3, before, what = '' } = options
  // Half a table is not for a page.
  await measureSpeed(loads, { rounds: Number(rounds), before, isWanted: name => name.includes(what) }, write && !what)
}

const speedOnly = options.speed ? speedLoads : speedLoads.filter(({ name }) => name === options.only)
if (speedOnly.length > 0) {
  try {
    await speed(speedOnly, options.write === true)
  } finally {
    await cleanUp()
  }
  process.exit(0)
}

const rounds = Number(options.rounds ?? 5)
const folder = join(import.meta.dirname, '..', options.only || options.subject ? 'build' : 'docs')
mkdirSync(folder, { recursive: true })
const file = join(folder, 'benchmarks.md')
const { plugin, section } = options
const sealing = options.only ? undefined : await measureSealing()
const results: Result[] = []
let floor: Floor | undefined
let moves: MoveFigures[] = []
try {
  const isWanted = (name: string) => name.toLowerCase().includes((options.subject ?? '').toLowerCase())
  const { subjects: wanted, stub, far } = await subjects(plugin && section ? { plugin, section } : undefined, isWanted)
  floor = await measureFloor(stub)
  if (!options.only || MOVES.includes(options.only)) moves = await measureMoves(far)
  const more = { sealing, floor, moves, rounds }
  const write = async () => writeFileSync(file, await wrapped(benchmarksPage(results, more)))
  await write()
  for (const load of loads.filter(({ name }) => name.includes(options.only ?? ''))) {
    for (let round = 0; round < rounds; round++)
      for (const group of groupsOf(wanted, load, round)) {
        const measured = await measure(group, load)
        forget()
        for (const [i, figures] of measured.entries()) {
          const subject = group[i] as Subject
          results.push({ subject, load, round, figures })
          const { upload, read } = figures
          const rates = `${upload.perSecond.toFixed(1)} uploads/s, ${read?.perSecond.toFixed(1) ?? '-'} reads/s`
          console.error(`${load.name}; ${subject.name}: ${rates}, engine ${figures.enginePeak?.toFixed(0) ?? '-'} MB`)
        }
      }
    await write() // after each load: half an hour is long, and what was measured is measured
  }
  for (const line of targetLines(results, more)) console.error(line)
  if (!options.only && !options.subject) await speed(speedLoads, true)
} finally {
  await cleanUp()
}
console.error(`written: ${file}`)
process.exit(0)
