/** A study is deleted, behind a round trip of 20 ms: how long does the client wait, and when is the bucket empty? */
import { until } from '../../harness/until.ts'
import { FILE_SYSTEM, s3Section, startStub } from '../subjects.ts'
import { Bed, ROUND_TRIP, type SpeedSubject } from './bed.ts'
import { BEFORE, type Row, type Settings, type SpeedLoad } from './load.ts'

const FILES = 1000
const DIRECT = 'without DeferredDeletion'
export const DEFERRED = 'with DeferredDeletion'
const WHAT = `a study of ${FILES} files`

async function* measure({ rounds, before }: Settings): AsyncGenerator<Row> {
  const stub = await startStub(ROUND_TRIP)
  const { count } = stub
  const config = s3Section(`http://127.0.0.1:${stub.port}`)
  const subjects: SpeedSubject[] = [
    { name: FILE_SYSTEM, plugin: null, config: {} },
    ...(before ? [{ name: BEFORE, plugin: `${before}/libOrthancCloudStorage.so`, config, count }] : []),
    { name: DIRECT, plugin: undefined, config, count },
    { name: DEFERRED, plugin: undefined, config: { ...config, CloudStorage: { DeferredDeletion: true } }, count },
  ]
  const beds: Bed[] = []
  try {
    for (const subject of subjects) beds.push(await Bed.start(subject))
    for (const bed of beds) {
      const { study } = await bed.store(20, '20 KB')
      await bed.perform({ removed: [`/studies/${study}`] })
    }
    for (let round = 0; round < rounds; round++)
      for (const bed of beds) {
        stub.forget() // what else is there
        const { study } = await bed.store(FILES, '20 KB')
        const began = performance.now()
        let settled = 0
        const spent = await bed.spent(async () => {
          const done = await bed.perform({ removed: [`/studies/${study}`] })
          if (bed.subject.count) await until('an empty bucket', async () => (await count()).objects === 0)
          settled = (performance.now() - began) / 1000
          return done
        })
        yield { what: WHAT, subject: bed.subject.name, round, count: FILES, spent, settled }
      }
  } finally {
    for (const bed of beds) await bed.stop()
  }
}

export const deletions: SpeedLoad = {
  name: 'deletions',
  title: 'A study is deleted',
  text: `${FILES} files of 20 KB, one request to Orthanc, a network of 20 ms between Orthanc and the store. "Seconds" is until Orthanc answers, "done after" until the bucket is empty.`,
  base: DIRECT,
  holds: () => true,
  targets: [
    { what: WHAT, subject: DEFERRED, value: ({ spent }) => spent.seconds, most: 3, unit: 's' },
    {
      what: `${WHAT}: from the answer to an empty bucket`,
      of: WHAT,
      subject: DEFERRED,
      value: ({ spent, settled }) => settled && settled - spent.seconds,
      most: 10,
      unit: 's',
    },
  ],
  measure,
}
