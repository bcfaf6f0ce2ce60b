/** A series is read as viewers, archives and other nodes read it, behind a round trip of 20 ms. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { freePort } from '../../harness/child.ts'
import { run } from '../../harness/run.ts'
import { until } from '../../harness/until.ts'
import { FILE_SYSTEM, s3Section, startStub } from '../subjects.ts'
import { Bed, ROUND_TRIP, type Size, type SpeedSubject, type Stored } from './bed.ts'
import { BEFORE, type Row, type Settings, type SpeedLoad, type Target } from './load.ts'

export const AHEAD = 'with read-ahead'
export const NOT_AHEAD = 'without read-ahead'

const FILES = 400
const RECEIVER = 'RECEIVER'
/** Debian's DCMTK, which Orthanc uses as well, else waits 40 ms for each file that it sends, whatever the storage. */
const DCMTK = { TCP_NODELAY: '1' }

interface Reading {
  readonly what: string
  readonly size: Size
  /** One, unless it says otherwise. */
  readonly series?: number
  read(bed: Bed, stored: Stored): Promise<{ readonly seconds: number } | undefined>
}

const readings: readonly Reading[] = [
  { what: 'file after file, in order', size: '220 KB', read: (bed, { ids }) => bed.perform({ ids }) },
  { what: 'file after file, at random', size: '220 KB', read: (bed, { ids }) => bed.perform({ ids: shuffled(ids) }) },
  {
    what: 'file after file, at random of 40 series',
    size: '220 KB',
    series: 40,
    read: (bed, { ids }) => bed.perform({ ids: shuffled(ids) }),
  },
  {
    what: 'instances-tags',
    size: '220 KB',
    read: (bed, { study }) => bed.perform({ paths: [`/studies/${study}/instances-tags`] }),
  },
  { what: 'C-MOVE', size: '220 KB', read: (bed, { series }) => move(bed, series) },
  {
    what: 'archive',
    size: '220 KB',
    read: (bed, { series }) => bed.perform({ paths: [`/series/${series}/archive`] }),
  },
  {
    what: 'archive',
    size: '20 KB',
    read: (bed, { series }) => bed.perform({ paths: [`/series/${series}/archive`] }),
  },
]

const nameOf = ({ what, size }: Reading) => `${what}, ${size}`

/** The same order in each round and for each storage. */
function shuffled(ids: readonly string[]): string[] {
  const rest = [...ids]
  let state = 1
  return ids.map(() => {
    state = (state * 48_271) % 2_147_483_647
    return rest.splice(state % rest.length, 1)[0] as string
  })
}

/** DCMTK asks Orthanc to send the series to `storescp`, which drops it. */
async function move({ orthanc }: Bed, id: string): Promise<undefined> {
  const { MainDicomTags: tags, ParentStudy } = await orthanc.getJson(`/series/${id}`)
  const { MainDicomTags: study } = await orthanc.getJson(`/studies/${ParentStudy}`)
  const keys = [
    'QueryRetrieveLevel=SERIES',
    `StudyInstanceUID=${study.StudyInstanceUID}`,
    `SeriesInstanceUID=${tags.SeriesInstanceUID}`,
  ]
  const options = ['-S', '-aet', 'BENCH', '-aec', 'ORTHANC', '-aem', RECEIVER, ...keys.flatMap(key => ['-k', key])]
  await run('movescu', [...options, '127.0.0.1', String(orthanc.dicomPort)], { env: { ...process.env, ...DCMTK } })
}

/** `storescp`, which counts what it receives. */
async function receiver(): Promise<{ port: number; received(): number; stop(): Promise<unknown> }> {
  const port = await freePort()
  const child = spawn('storescp', ['--verbose', '--ignore', '-aet', RECEIVER, String(port)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...DCMTK },
  })
  await once(child, 'spawn')
  const ended = once(child, 'exit')
  let received = 0
  for (const input of [child.stdout, child.stderr])
    createInterface({ input }).on('line', line => {
      if (line.includes('Received Store Request')) received++
    })
  const answers = () =>
    run('echoscu', ['127.0.0.1', String(port)]).then(
      () => true,
      () => false,
    )
  await until('storescp to listen', answers)
  return {
    port,
    received: () => received,
    stop: () => {
      child.kill('SIGKILL')
      return ended
    },
  }
}

async function* measure({ rounds, before, isWanted }: Settings): AsyncGenerator<Row> {
  const stub = await startStub(ROUND_TRIP)
  const scp = await receiver()
  const dicom = {
    DicomServerEnabled: true,
    DicomAet: 'ORTHANC',
    DicomModalities: { receiver: [RECEIVER, '127.0.0.1', scp.port], bench: ['BENCH', '127.0.0.1', scp.port] },
  }
  const config = { ...s3Section(`http://127.0.0.1:${stub.port}`), ...dicom }
  const { count } = stub
  const env = DCMTK
  const subjects: SpeedSubject[] = [
    { name: FILE_SYSTEM, plugin: null, config: dicom, env },
    ...(before ? [{ name: BEFORE, plugin: `${before}/libOrthancCloudStorage.so`, config, count, env }] : []),
    { name: NOT_AHEAD, plugin: undefined, config: { ...config, CloudStorage: { ReadAhead: false } }, count, env },
    { name: AHEAD, plugin: undefined, config: { ...config, CloudStorage: { ReadAhead: true } }, count, env },
  ]
  const beds: Bed[] = []
  try {
    for (const subject of subjects) beds.push(await Bed.start(subject))
    for (const bed of beds) await warmUp(bed)
    for (let round = 0; round < rounds; round++)
      for (const reading of readings.filter(one => isWanted(nameOf(one))))
        for (const bed of beds) {
          // A series that was never read before: nothing of it is held.
          const stored = await bed.store(FILES, reading.size, { series: reading.series ?? 1 })
          const before = scp.received()
          const spent = await bed.spent(() => reading.read(bed, stored))
          if (reading.what === 'C-MOVE')
            await until(
              () => `${FILES} files to be received, not ${scp.received() - before}`,
              () => scp.received() - before === FILES,
            )
          stub.forget()
          yield { what: nameOf(reading), subject: bed.subject.name, round, count: FILES, spent }
        }
    // At the end: a reader who stops in the middle would count against the next reading.
    for (const bed of beds) await bed.check(await bed.store(50, '220 KB'))
  } finally {
    for (const bed of beds) await bed.stop()
    await scp.stop()
  }
}

/** Compilers and pools are then as in a server that has run for a minute. */
async function warmUp(bed: Bed): Promise<void> {
  const stored = await bed.store(100, '220 KB')
  for (const reading of readings) await reading.read(bed, stored)
}

const faster = (what: string, least: number): Target => ({ what, subject: AHEAD, beside: NOT_AHEAD, least })
const bytes = (what: string, most: number): Target => ({
  what: `bytes, ${what}`,
  of: what,
  subject: AHEAD,
  beside: NOT_AHEAD,
  value: ({ spent }) => spent.sentBytes,
  most,
})

export const series: SpeedLoad = {
  name: 'series',
  title: `A series of ${FILES} files is read`,
  text: `One client, a network of 20 ms between Orthanc and the store. Each time it is a series that was not read before. "MB" is what the store sent. Of 40 series, each has 10 files. C-MOVE is DCMTK's \`movescu\` with Orthanc, which sends to \`storescp\`.`,
  base: NOT_AHEAD,
  holds: subject => subject === AHEAD,
  targets: [
    faster('file after file, in order, 220 KB', 5),
    faster('instances-tags, 220 KB', 5),
    faster('C-MOVE, 220 KB', 4),
    faster('file after file, at random, 220 KB', 0.95),
    faster('file after file, at random of 40 series, 220 KB', 0.95),
    bytes('file after file, at random, 220 KB', 1.3),
    bytes('file after file, at random of 40 series, 220 KB', 1.3),
    faster('archive, 20 KB', 2.5),
    { what: 'archive, 220 KB', subject: AHEAD, beside: FILE_SYSTEM, least: 0.95 },
  ],
  measure,
}
