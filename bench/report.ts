import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import type { Floor } from './floor.ts'
import { type Cost, type Figures, TURN, WARM_UP } from './measure.ts'
import { MOVED_FILES, type MoveFigures } from './moves.ts'
import type { Result } from './run.ts'
import { CHUNK_BYTES, type SealFigures } from './seal.ts'
import { BEHIND_DELAY, ENCRYPTED, FILE_SYSTEM } from './subjects.ts'

/** What is measured beside storages under load. */
export interface More {
  readonly sealing: SealFigures | undefined
  readonly floor: Floor | undefined
  readonly moves: readonly MoveFigures[]
  readonly rounds: number
}

/** docs/benchmarks.md: machine, tables, and the targets beside what was measured. */
export function report(results: readonly Result[], more: More): string {
  const { sealing, floor, moves, rounds } = more
  const orthanc = execFileSync('Orthanc', ['--version'], { encoding: 'utf8' }).split('\n')[0]
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  const [cpu] = cpus()
  const lines = [
    '# Benchmarks',
    '',
    'Written by `npm run bench`; do not edit. Every figure is of a real Orthanc with `MaximumStorageCacheSize` 0, so that reads are real.',
    `Before each measurement there are ${WARM_UP} uploads and reads that do not count. Figures are medians of ${rounds} rounds, of three at most for files of 100 and 200 MB, of one for those on servers other than the stub; what is said of one storage beside another is the median`,
    `of the comparisons within each round. With small files, storages take turns of ${TURN} operations within a round. "Stub" is \`bench/s3-stub.ts\`, an in-memory stand-in for an S3 server that costs little;`,
    'Ceph is a real server, which takes its own share of the same cores. Processor time is per operation, of Orthanc and engine apart.',
    '',
    'The clients run on the same machine, and what they cost themselves is part of every rate. There are two kinds. Without a word about it, a client is plain `node:http` that drops what it reads, so that hardly anything',
    'is measured but Orthanc and its storage: that shows differences at their largest. "With fetch", it uses the `fetch` of Node.js and has each file in memory in the end, as an application does.',
    '',
    `- Date: ${new Date().toISOString().slice(0, 10)}`,
    `- Machine: ${cpus().length} cores (${cpu?.model.trim()}), ${(totalmem() / 1e9).toFixed(0)} GB, Linux ${release()}`,
    `- ${orthanc}, orthanc-cloud-storage ${version}, Node.js ${process.versions.node}`,
    '',
  ]
  for (const load of new Set(results.map(result => result.load))) {
    lines.push(`## ${load.name}`, '')
    lines.push(
      '| storage | uploads/s | MB/s | of file system | CPU ms, Orthanc + engine | reads/s | MB/s | of file system | CPU ms, Orthanc + engine | peak MB, Orthanc / engine |',
    )
    lines.push('|---|---|---|---|---|---|---|---|---|---|')
    for (const name of new Set(results.filter(result => result.load === load).map(result => result.subject.name))) {
      const figures = median(results, load.name, name)
      if (!figures) continue
      const { upload, read, orthancPeak, enginePeak } = figures
      const peaks = `${orthancPeak.toFixed(0)} / ${enginePeak?.toFixed(0) ?? '–'}`
      const rate = (of: CostOf) => paired(results, load.name, name, FILE_SYSTEM, speeds(of))
      const [uploads, reads] = [rate(costs.upload), rate(costs.read)]
      lines.push(`| ${name} | ${cells(upload, uploads)} | ${cells(read, reads)} | ${peaks} |`)
    }
    lines.push('')
  }
  if (floor) lines.push(...floorTable(results, floor))
  if (sealing) lines.push(...sealingTable(sealing))
  if (moves.length > 0) lines.push(...movesTable(moves))
  return `${[...lines, ...targets(results, more)].join('\n')}\n`
}

function cells(cost: Cost | undefined, ofFileSystem: number | undefined): string {
  if (!cost) return '– | – | – | –'
  const ratio = ofFileSystem?.toFixed(2) ?? '–'
  const cpu = `${cost.orthancCpu.toFixed(1)} + ${cost.engineCpu.toFixed(1)}`
  return `${cost.perSecond.toFixed(1)} | ${cost.megabytesPerSecond.toFixed(0)} | ${ratio} | ${cpu}`
}

function middle(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

function median(results: readonly Result[], load: string, subject: string): Figures | undefined {
  const mine = results
    .filter(result => result.load.name === load && result.subject.name === subject)
    .map(r => r.figures)
  if (mine.length === 0) return undefined
  const cost = (of: CostOf): Cost | undefined => {
    const all = mine.map(of).filter(one => one !== undefined)
    if (all.length === 0) return undefined
    return {
      perSecond: middle(all.map(one => one.perSecond)),
      megabytesPerSecond: middle(all.map(one => one.megabytesPerSecond)),
      orthancCpu: middle(all.map(one => one.orthancCpu)),
      engineCpu: middle(all.map(one => one.engineCpu)),
    }
  }
  const engine = mine.map(one => one.enginePeak).filter(one => one !== undefined)
  return {
    upload: cost(costs.upload) as Cost,
    read: cost(costs.read),
    orthancPeak: Math.max(...mine.map(one => one.orthancPeak)),
    enginePeak: engine.length > 0 ? Math.max(...engine) : undefined,
  }
}

/** The median of what `compare` says of two storages in each round; undefined when they were not measured so. */
function paired(
  results: readonly Result[],
  load: string,
  ours: string,
  other: string,
  compare: (ours: Figures, other: Figures) => number | undefined,
): number | undefined {
  const of = (name: string) => results.filter(one => one.load.name === load && one.subject.name === name)
  const found = of(ours).flatMap(mine => {
    const theirs = of(other).find(({ round }) => round === mine.round)
    const value = theirs && compare(mine.figures, theirs.figures)
    return value === undefined ? [] : [value]
  })
  return found.length === 0 ? undefined : middle(found)
}

type CostOf = (figures: Figures) => Cost | undefined
const costs: Readonly<Record<'upload' | 'read', CostOf>> = { upload: one => one.upload, read: one => one.read }
const verbs = ['upload', 'read'] as const

const comparing = (compare: (ours: Cost, other: Cost) => number) => (of: CostOf) => (ours: Figures, other: Figures) => {
  const [mine, theirs] = [of(ours), of(other)]
  return mine && theirs && compare(mine, theirs)
}

/** How many times as fast. */
const speeds = comparing((ours, other) => ours.perSecond / other.perSecond)
/** Milliseconds that it takes longer. */
const longer = comparing((ours, other) => 1000 / ours.perSecond - 1000 / other.perSecond)
/** Milliseconds of processor time beyond the other's. */
const cpuBeyond = comparing((ours, other) => ours.orthancCpu + ours.engineCpu - other.orthancCpu - other.engineCpu)

/** How near to the file system any storage behind this HTTP server could come, with everything of ours taking no time. */
function floorTable(results: readonly Result[], floor: Floor): string[] {
  const base = median(results, '400 files of 220 KB, 1 client', FILE_SYSTEM)
  if (!base?.read) return []
  const bound = (cost: Cost, ms: number) => 1000 / cost.perSecond / (1000 / cost.perSecond + ms)
  return [
    '## What the stub itself takes',
    '',
    'One request after the other from a process that does nothing else, without Orthanc, plugin or engine. A storage that adds such a request to what Orthanc does',
    "anyway can reach at most the given part of the file system's rate with one client.",
    '',
    '| request of 220 KB | ms | at most, of file system |',
    '|---|---|---|',
    `| PUT | ${floor.put.toFixed(2)} | ${bound(base.upload, floor.put).toFixed(2)} (plus what the file system took to write) |`,
    `| GET | ${floor.get.toFixed(2)} | ${bound(base.read, floor.get).toFixed(2)} |`,
    '',
  ]
}

function sealingTable({ seal, unseal, openssl }: SealFigures): string[] {
  return [
    '## Encryption alone, on one core',
    '',
    `Format A1 in chunks of ${CHUNK_BYTES / 1024} KiB, the best of five rounds, beside \`openssl speed -evp aes-256-gcm\` in the same run.`,
    '',
    '| what | GB/s | of openssl |',
    '|---|---|---|',
    `| openssl speed | ${openssl.toFixed(2)} | 1.00 |`,
    `| seal | ${seal.toFixed(2)} | ${(seal / openssl).toFixed(2)} |`,
    `| unseal | ${unseal.toFixed(2)} | ${(unseal / openssl).toFixed(2)} |`,
    '',
  ]
}

function movesTable(moves: readonly MoveFigures[]): string[] {
  return [
    '## Moves',
    '',
    `The job MoveStorage takes ${MOVED_FILES} files of 220 KB from Orthanc's disk to the stub behind 20 ms: read, write, read back and compare, remove.`,
    'One at a time is the way of the official plugins, but by this code, which also reads back; the plugins themselves were not measured.',
    '',
    '| files at a time | files/s | engine, peak MB |',
    '|---|---|---|',
    ...moves.map(
      ({ concurrency, filesPerSecond, enginePeak }) =>
        `| ${concurrency} | ${filesPerSecond.toFixed(1)} | ${enginePeak.toFixed(0)} |`,
    ),
    '',
  ]
}

/** The targets that this project set itself, beside what this run measured. */
function targets(results: readonly Result[], { sealing, moves }: More): string[] {
  const rows: string[] = []
  const add = (what: string, measured: number | undefined, limit: number, unit: string, least: boolean) => {
    if (measured === undefined) return
    const met = least ? measured >= limit : measured <= limit
    rows.push(
      `| ${what} | ${least ? 'at least' : 'at most'} ${limit.toFixed(2)} ${unit} | ${measured.toFixed(2)} ${unit} | ${met ? 'met' : '**not met**'} |`,
    )
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
    const peak = median(results, '10 files of 200 MB at once', name)?.enginePeak
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
        // How many times as fast the plain one is, that is how many times the time of the encrypted one.
        const ratio = paired(results, load, name, `${name}${ENCRYPTED}`, speeds(costs[verb]))
        add(`${name}, ${load}: time of an encrypted ${verb}`, ratio, 1.15, 'times', false)
      }
  return [
    '## Targets',
    '',
    "The rates and costs beside the file system's come from a trial of this design against such a stub; they are compared for `DirectoryStorage` as well. By the trial's own figures its file system gave 231 uploads and 498 reads a second (one client),",
    '396 and 895 (ten): `fetch` comes nearest to them. How near to the file system a client can come that drops what it reads, "What the stub itself takes" tells.',
    '',
    '| what | target | measured | |',
    '|---|---|---|---|',
    ...rows,
  ]
}
