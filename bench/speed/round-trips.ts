/** The same reading behind networks of several round trips: the plot of docs/speed.md. */
import { FILE_SYSTEM, s3Section, startStub } from '../subjects.ts'
import { Bed, type SpeedSubject } from './bed.ts'
import { median, type Row, rateOf, type Settings, type SpeedLoad } from './load.ts'
import type { Curve } from './plot.ts'
import { AHEAD, NOT_AHEAD } from './series.ts'

const FILES = 200
const ROUND_TRIPS = [0, 2, 5, 10, 20, 40, 80]
const nameOf = (ms: number) => `${ms} ms`

async function* measure({ rounds, isWanted }: Settings): AsyncGenerator<Row> {
  for (const ms of ROUND_TRIPS.filter(one => isWanted(nameOf(one)))) {
    const stub = await startStub(ms)
    const { count } = stub
    const config = s3Section(`http://127.0.0.1:${stub.port}`)
    const subjects: SpeedSubject[] = [
      ...(ms === 0 ? [{ name: FILE_SYSTEM, plugin: null, config: {} }] : []),
      { name: NOT_AHEAD, plugin: undefined, config: { ...config, CloudStorage: { ReadAhead: false } }, count },
      { name: AHEAD, plugin: undefined, config: { ...config, CloudStorage: { ReadAhead: true } }, count },
    ]
    const beds: Bed[] = []
    try {
      for (const subject of subjects) beds.push(await Bed.start(subject))
      for (const bed of beds) await bed.perform({ ids: (await bed.store(100, '220 KB')).ids })
      for (let round = 0; round < rounds; round++)
        for (const bed of beds) {
          const { ids } = await bed.store(FILES, '220 KB')
          const spent = await bed.spent(() => bed.perform({ ids }))
          stub.forget()
          yield { what: nameOf(ms), subject: bed.subject.name, round, count: FILES, spent }
        }
      for (const bed of beds) await bed.check(await bed.store(50, '220 KB'))
    } finally {
      for (const bed of beds) await bed.stop()
    }
  }
}

export function curvesOf(rows: readonly Row[]): { curves: Curve[]; disk: number | undefined } {
  const curves = [AHEAD, NOT_AHEAD].map(name => ({
    name,
    points: ROUND_TRIPS.flatMap(ms => {
      const filesPerSecond = median(rows, nameOf(ms), name, rateOf)
      return filesPerSecond === undefined ? [] : [{ ms, filesPerSecond }]
    }),
  }))
  return { curves, disk: median(rows, nameOf(0), FILE_SYSTEM, rateOf) }
}

export const roundTrips: SpeedLoad = {
  name: 'round-trips',
  title: 'Files a second over the round trip',
  text: `A series of ${FILES} files of 220 KB, file after file, one client. The network has the round trip of the row and any bandwidth.`,
  base: NOT_AHEAD,
  holds: subject => subject === AHEAD,
  targets: [],
  measure,
}
