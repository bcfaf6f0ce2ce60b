/** The job MoveStorage: from Orthanc's disk to an S3 server that is a round trip of 20 ms away. */
import { rmSync, writeFileSync } from 'node:fs'
import { makeImage } from '../harness/dicom.ts'
import { startOrthanc } from '../harness/orthanc.ts'
import { peakOf } from './measure.ts'
import { temporaryFolder } from './subjects.ts'

export interface MoveFigures {
  readonly concurrency: number
  readonly filesPerSecond: number
  /** Peak resident memory of the engine in MB. */
  readonly enginePeak: number
}

export const MOVED_FILES = 1000
const ROWS = 332 // 220 KB

/** `section`: of the provider, the object store behind the delay. One at a time is how the official plugins move. */
export async function measureMoves(section: Readonly<Record<string, unknown>>): Promise<MoveFigures[]> {
  const figures: MoveFigures[] = []
  for (const concurrency of [8, 1]) figures.push(await measureMove(section, concurrency))
  return figures
}

async function measureMove(section: Readonly<Record<string, unknown>>, concurrency: number): Promise<MoveFigures> {
  const dir = temporaryFolder()
  const [[name, options] = ['', {}]] = Object.entries(section)
  const orthanc = await startOrthanc({
    config: {
      [name]: { ...(options as object), HybridMode: 'WriteToFileSystem' },
      CloudStorage: { MoveConcurrency: concurrency },
    },
    dir,
    verbose: false,
  })
  try {
    const pixels = Buffer.alloc(ROWS * ROWS * 2, 'pixels')
    let study = ''
    for (let i = 0; i < MOVED_FILES; i++) {
      const file = makeImage({ seed: i + 1, rows: ROWS, columns: ROWS, study: 1 }, () => pixels)
      study = (await orthanc.postJson('/instances', file)).ParentStudy
    }
    const engine = orthanc.enginePid() as number
    writeFileSync(`/proc/${engine}/clear_refs`, '5') // forgets the peak of the uploads
    const began = performance.now()
    const body = Buffer.from(JSON.stringify({ Resources: [study], TargetStorage: 'object-storage' }))
    const { Moved } = await orthanc.postJson('/move-storage', body)
    const seconds = (performance.now() - began) / 1000
    if (Moved.Files !== MOVED_FILES) throw new Error(`${Moved.Files} of ${MOVED_FILES} files were moved`)
    return { concurrency, filesPerSecond: MOVED_FILES / seconds, enginePeak: peakOf(engine) }
  } finally {
    await orthanc.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}
