/** Processor time and rates without a network, beside an older build of ours. */
import { type BenchLoad, type Cost, type Figures, measure as measureLoad } from '../measure.ts'
import { s3Section, startStub } from '../subjects.ts'
import { RELEASE, type SpeedSubject } from './bed.ts'
import { BEFORE, type Row, type Settings, type SpeedLoad } from './load.ts'

const NOW = 'this build'
const AHEAD = `${NOW}, with read-ahead`
const MANAGER = ', transfer manager'

const small = { count: 600, rows: 332, columns: 332, reads: true, client: 'lean', release: RELEASE } as const
const large = { count: 8, rows: 10_000, columns: 5_000, reads: true, client: 'lean', release: RELEASE } as const
const loads: readonly BenchLoad[] = [
  { name: '220 KB, 1 client', ...small, clients: 1 },
  { name: '220 KB, 10 clients', ...small, clients: 10 },
  { name: '100 MB, 1 client', ...large, clients: 1 },
]

/** What one measurement says of uploads, and of reads. */
function rowsOf(name: string, count: number, subject: string, round: number, figures: Figures): Row[] {
  const row = (verb: string, cost: Cost): Row => ({
    what: `${verb} of ${name}`,
    subject,
    round,
    count,
    spent: {
      seconds: count / cost.perSecond,
      orthancCpu: cost.orthancCpu * count,
      engineCpu: cost.engineCpu * count,
      enginePeak: figures.enginePeak,
      requests: undefined,
      sentBytes: undefined,
    },
  })
  return [row('uploads', figures.upload), ...(figures.read ? [row('reads', figures.read)] : [])]
}

async function* measure({ rounds, before, isWanted }: Settings): AsyncGenerator<Row> {
  const stub = await startStub()
  const subjectsOf = (more: object, ahead = false): SpeedSubject[] => {
    const config = s3Section(`http://127.0.0.1:${stub.port}`, more)
    const now = { ...config, CloudStorage: { ReadAhead: false } }
    return [
      ...(before ? [{ name: BEFORE, plugin: `${before}/libOrthancCloudStorage.so`, config }] : []),
      { name: NOW, plugin: undefined, config: now },
      ...(ahead ? [{ name: AHEAD, plugin: undefined, config: { ...config, CloudStorage: { ReadAhead: true } } }] : []),
    ]
  }
  const plain = subjectsOf({}, true)
  const managed = subjectsOf({ UseTransferManager: true })
  const alone = (subjects: readonly SpeedSubject[]) => subjects.map(subject => [subject])
  const work = loads.flatMap(load =>
    // Small files in turns; large ones would be too many.
    load.count >= 100
      ? [{ load, name: load.name, groups: [plain] }]
      : [
          { load, name: load.name, groups: alone(plain) },
          { load, name: `${load.name}${MANAGER}`, groups: alone(managed) },
        ],
  )
  for (let round = 0; round < rounds; round++)
    for (const { load, name, groups } of work.filter(one => isWanted(one.name)))
      for (const group of groups) {
        const measured = await measureLoad(group, load)
        stub.forget()
        for (const [i, figures] of measured.entries())
          yield* rowsOf(name, load.count, group[i]?.name ?? '', round, figures)
      }
}

const engineCpu = ({ spent }: Row) => spent.engineCpu
const beside = { subject: NOW, beside: BEFORE }
const cpu = (of: string, most: number) => ({ what: `engine's CPU, ${of}`, of, ...beside, value: engineCpu, most })

export const cycles: SpeedLoad = {
  name: 'cycles',
  title: 'Without a network',
  text: 'The stub on the same machine, `ReadAhead` off. Nearly all of the time is processor time.',
  base: BEFORE,
  holds: subject => subject === AHEAD,
  targets: [
    cpu('reads of 220 KB, 1 client', 0.65),
    cpu('uploads of 220 KB, 1 client', 0.7),
    cpu('uploads of 100 MB, 1 client', 0.6),
    { what: 'reads of 220 KB, 1 client', ...beside, least: 1.2 },
    { what: 'uploads of 220 KB, 1 client', ...beside, least: 1.1 },
    { what: 'reads of 220 KB, 1 client', subject: AHEAD, beside: NOW, least: 0.95 },
    { what: 'reads of 220 KB, 10 clients', subject: AHEAD, beside: NOW, least: 0.95 },
    { what: `uploads of 100 MB, 1 client${MANAGER}`, ...beside, least: 1.3 },
  ],
  measure,
}
