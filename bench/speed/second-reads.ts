/** Files are read for the second time: from the cache on disk, beside Orthanc's own file system. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { ENCRYPTED, FILE_SYSTEM, newKeyFile, s3Section, startStub, temporaryFolder } from '../subjects.ts'
import { Bed, ROUND_TRIP, type SpeedSubject, type Stored } from './bed.ts'
import type { Row, Settings, SpeedLoad } from './load.ts'

const FILES = 400
/** Readings of each file in a turn: a turn is then long enough for its processor time to be seen. */
const TIMES = 3
const CACHE = 'with a cache on disk'
const FIRST = 'first reading'
const SECOND = 'second reading'

const CACHED = `${CACHE}${ENCRYPTED}`

async function* measure({ rounds }: Settings): AsyncGenerator<Row> {
  const stub = await startStub(ROUND_TRIP)
  const { count } = stub
  const endpoint = `http://127.0.0.1:${stub.port}`
  const cached = (name: string, more: object): SpeedSubject & { path: string } => {
    const path = join(temporaryFolder(), 'cache')
    // Without read-ahead: it would hold some of the files in memory.
    const options = { Cache: { Path: path, MaxSize: 1024, OnWrite: false }, ReadAhead: false }
    return { name, plugin: undefined, config: { ...s3Section(endpoint, more), CloudStorage: options }, count, path }
  }
  const encryption = { StorageEncryption: { MasterKey: [1, newKeyFile()] } }
  const subjects = [
    { name: FILE_SYSTEM, plugin: null, config: {}, path: undefined },
    cached(CACHE, {}),
    cached(CACHED, encryption),
  ]
  const beds: Bed[] = []
  try {
    for (const subject of subjects) beds.push(await Bed.start(subject))
    for (const bed of beds) {
      const { ids } = await bed.store(100, '220 KB')
      for (let i = 0; i < TIMES; i++) await bed.perform({ ids })
    }
    for (let round = 0; round < rounds; round++) {
      const stored: Stored[] = []
      for (const bed of beds) stored.push(await bed.store(FILES, '220 KB'))
      for (const [what, times] of [
        [FIRST, 1],
        [SECOND, TIMES],
      ] as const)
        for (const [i, bed] of beds.entries()) {
          const ids = Array.from({ length: times }, () => stored[i]?.ids ?? []).flat()
          const spent = await bed.spent(() => bed.perform({ ids }))
          yield { what, subject: bed.subject.name, round, count: ids.length, spent }
        }
      for (const [i, bed] of beds.entries()) await bed.check(stored[i] as Stored)
      stub.forget()
    }
  } finally {
    for (const bed of beds) await bed.stop()
    for (const { path } of subjects) if (path) rmSync(path, { recursive: true, force: true })
  }
}

export const secondReads: SpeedLoad = {
  name: 'cache',
  title: 'Files are read again',
  text: `${FILES} files of 220 KB, one client, a network of 20 ms between Orthanc and the store, \`ReadAhead\` off. In a second reading, each file is read ${TIMES} times.`,
  base: FILE_SYSTEM,
  holds: () => false,
  targets: [
    { what: SECOND, subject: CACHE, beside: FILE_SYSTEM, least: 0.7 },
    { what: SECOND, subject: CACHED, beside: FILE_SYSTEM, least: 0.6 },
    { what: SECOND, subject: CACHE, value: ({ spent }) => spent.requests, most: 0, unit: 'requests' },
  ],
  measure,
}
