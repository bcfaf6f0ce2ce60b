/** npm run bench -- --speed: the loads of docs/speed.md, and its plot. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { orthancTree } from '../../harness/trees.ts'
// @ts-expect-error plain JavaScript, as all scripts
import { wrapped } from '../../scripts/pages.mjs'
import { temporaryFolder } from '../subjects.ts'
import { RELEASE } from './bed.ts'
import { cycles } from './cycles.ts'
import { deletions } from './deletions.ts'
import { type Row, rateOf, type Settings, type SpeedLoad } from './load.ts'
import { mount } from './mount.ts'
import { conditionsOf, withSection } from './page.ts'
import { plot } from './plot.ts'
import { curvesOf, roundTrips } from './round-trips.ts'
import { secondReads } from './second-reads.ts'
import { series } from './series.ts'
import { targetLinesOf } from './tables.ts'

export const speedLoads: readonly SpeedLoad[] = [series, roundTrips, deletions, secondReads, mount, cycles]

const root = join(import.meta.dirname, '..', '..')
const PAGE = join(root, 'docs', 'speed.md')

/**
 * Prints what it finds as it goes. `write`: into docs/speed.md and its plot. Otherwise they go to build/, as figures of
 * a machine that does something else as well should.
 */
export async function measureSpeed(loads: readonly SpeedLoad[], settings: Settings, write: boolean): Promise<void> {
  const folder = write ? join(root, 'docs') : join(root, 'build')
  mkdirSync(join(folder, 'images'), { recursive: true })
  const conditions = conditionsOf(settings.rounds, (await orthancTree(RELEASE)).version)
  const build = settings.before === undefined ? undefined : copied(settings.before)
  let page = readFileSync(PAGE, 'utf8')
  const verdicts: string[] = []
  for (const load of loads) {
    const rows: Row[] = []
    for await (const row of load.measure({ ...settings, before: build })) {
      rows.push(row)
      console.error(lineOf(row))
    }
    page = await wrapped(withSection(page, load, rows, conditions))
    writeFileSync(join(folder, 'speed.md'), page) // after each load: what was measured is measured
    if (load === roundTrips && rows.length > 0) {
      const { curves, disk } = curvesOf(rows)
      writeFileSync(join(folder, 'images', 'read-ahead.svg'), await plot(curves, disk))
    }
    const judged = targetLinesOf(load, rows)
    for (const line of judged) console.error(line)
    verdicts.push(...judged)
  }
  console.error(['', 'All targets of this run:', ...verdicts, `written: ${join(folder, 'speed.md')}`].join('\n'))
}

/** To where the Orthanc of another Debian sees it. */
function copied(build: string): string {
  const folder = temporaryFolder()
  for (const file of ['libOrthancCloudStorage.so', 'engine.mjs']) copyFileSync(join(build, file), join(folder, file))
  return folder
}

function lineOf(row: Row): string {
  const { seconds, requests, sentBytes, enginePeak } = row.spent
  const more = [
    ...(requests === undefined ? [] : [`${requests} requests, ${sentBytes} bytes`]),
    ...(enginePeak === undefined ? [] : [`engine ${enginePeak.toFixed(0)} MB`]),
  ]
  return [`${row.what}; ${row.subject}: ${seconds.toFixed(2)} s, ${rateOf(row).toFixed(1)}/s`, ...more].join(', ')
}
