import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { type CostOf, costs, medianFigures, paired, type Result, speeds } from './compare.ts'
import type { Floor } from './floor.ts'
import { machine } from './machine.ts'
import { type Cost, TURN, WARM_UP } from './measure.ts'
import { MOVED_FILES, type MoveFigures } from './moves.ts'
import { CHUNK_BYTES, type SealFigures } from './seal.ts'
import { FILE_SYSTEM } from './subjects.ts'

/** What is measured beside storages under load. */
export interface More {
  readonly sealing: SealFigures | undefined
  readonly floor: Floor | undefined
  readonly moves: readonly MoveFigures[]
  readonly rounds: number
}

/** docs/benchmarks.md: the machine, and tables of what was measured. */
export function benchmarksPage(results: readonly Result[], { sealing, floor, moves, rounds }: More): string {
  const orthanc = execFileSync('Orthanc', ['--version'], { encoding: 'utf8' }).split('\n')[0]
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  const lines = [
    '# Benchmarks',
    '',
    'Written by `npm run bench`; do not edit.',
    '',
    'The official plugin beside ours: [comparison.md](comparison.md).',
    '',
    '## How this is measured',
    '',
    'Every figure is of a real Orthanc with `MaximumStorageCacheSize` 0, so that reads are real. "Stub" is `bench/s3-stub.ts`, an in-memory stand-in for an S3 server that costs little. Ceph is a real server,',
    'which takes its own share of the same cores. Processor time is per operation, of Orthanc and engine apart.',
    '',
    `Before each measurement there are ${WARM_UP} uploads and reads that do not count. Figures are medians of ${rounds} rounds, of three at most for files of 100 and 200 MB, of one for servers other than the stub.`,
    `A comparison of two storages is the median of their comparisons within each round. With small files, storages take turns of ${TURN} operations within a round.`,
    '',
    'The clients run on the same machine, and what they cost themselves is part of every rate. There are two kinds. Most tables are of clients of plain `node:http` that drop what they read: then',
    'little else than Orthanc and its storage is measured, and differences are largest. A client "with fetch" uses the `fetch` of Node.js and has each file in memory in the end, as an application does.',
    '',
    `- Date: ${new Date().toISOString().slice(0, 10)}`,
    `- Machine: ${machine()}`,
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
      const figures = medianFigures(results, load.name, name)
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
  return `${lines.join('\n').trimEnd()}\n`
}

function cells(cost: Cost | undefined, ofFileSystem: number | undefined): string {
  if (!cost) return '– | – | – | –'
  const ratio = ofFileSystem?.toFixed(2) ?? '–'
  const cpu = `${cost.orthancCpu.toFixed(1)} + ${cost.engineCpu.toFixed(1)}`
  return `${cost.perSecond.toFixed(1)} | ${cost.megabytesPerSecond.toFixed(0)} | ${ratio} | ${cpu}`
}

/** How near to the file system any storage behind this HTTP server could come if our own code took no time. */
function floorTable(results: readonly Result[], floor: Floor): string[] {
  const base = medianFigures(results, '400 files of 220 KB, 1 client', FILE_SYSTEM)
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
    'The official plugins move one file at a time. Here this code does so, and it also reads back; moves of the official plugins were not measured.',
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
