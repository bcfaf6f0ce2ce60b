/**
 * npm run bench -- --studies: how long does a study take, on each kind of storage, near and behind 20 ms? One of many
 * small files and one of a single large file, as in the comparison that the Orthanc Book links to. Prints the table of
 * docs/comparison.md. Each cell has a server, an Orthanc and clients of its own.
 */
import { rmSync } from 'node:fs'
import { startOrthanc } from '../harness/orthanc.ts'
import type { DebianRelease } from '../harness/trees.ts'
import { BenchClients } from './client.ts'
import { middle } from './compare.ts'
import type { BenchImage } from './image.ts'
import { behindDelay, cleanUp, FILE_SYSTEM, type ServerName, servers, temporaryFolder } from './subjects.ts'

interface Study {
  readonly name: string
  /** For a number of clients: a file cannot be shared, so each client has a large one of its own. */
  images(clients: number): readonly BenchImage[]
}

const copies = (count: number, image: Omit<BenchImage, 'seed'>): readonly BenchImage[] =>
  Array.from({ length: count }, (_, i) => ({ ...image, seed: i + 1 }))
const studies: readonly Study[] = [
  { name: '1 635 files, 356 MB', images: () => copies(1635, { rows: 330, columns: 330 }) },
  {
    name: '90 MB in 45 frames, one for each client',
    images: clients => copies(clients, { rows: 1000, columns: 1000, frames: 45 }),
  },
]

/** Files before the measurement, so that compilers and pools are as in a server that runs for a while. */
const WARM_UP = Array.from({ length: 100 }, (_, seed) => ({ seed: 1_000_000 + seed, rows: 330, columns: 330 }))

interface Seconds {
  readonly up: number
  readonly down: number
}

async function measure(
  name: ServerName | undefined,
  { study, clients, far, release }: { study: Study; clients: number; far: boolean; release: DebianRelease },
): Promise<Seconds> {
  const dir = temporaryFolder()
  const server = name && (await servers[name](temporaryFolder()))
  const near = server?.config ?? {}
  const orthanc = await startOrthanc({
    release,
    dir,
    ...(server ? {} : { plugin: null }),
    config: { ...(far ? await behindDelay(near) : near), StorageLoaderThreadsCount: 16 },
    verbose: false,
  })
  const load = new BenchClients('lean', clients)
  try {
    const { url } = orthanc
    const { ids: warm } = await load.perform({ url, images: WARM_UP })
    await load.perform({ url, ids: warm })
    const { seconds: up, ids } = await load.perform({ url, images: study.images(clients) })
    const { seconds: down } = await load.perform({ url, ids })
    return { up, down }
  } finally {
    load.stop()
    await orthanc.stop()
    await server?.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

const cell = (rounds: readonly Seconds[]) =>
  rounds.length === 0
    ? '–'
    : `${middle(rounds.map(one => one.up)).toFixed(1)} / ${middle(rounds.map(one => one.down)).toFixed(1)}`

export async function studiesTable(rounds: number, release: DebianRelease = 'forky'): Promise<string> {
  const lines = [
    '| study | clients | storage | near: up / down, s | behind 20 ms: up / down, s |',
    '|---|---|---|---|---|',
  ]
  try {
    for (const study of studies)
      for (const clients of [1, 10])
        for (const name of [undefined, ...(Object.keys(servers) as ServerName[])]) {
          const found: { near: Seconds[]; far: Seconds[] } = { near: [], far: [] }
          for (let round = 0; round < rounds; round++) {
            found.near.push(await measure(name, { study, clients, far: false, release }))
            if (name) found.far.push(await measure(name, { study, clients, far: true, release }))
          }
          const line = `| ${study.name} | ${clients} | ${name ?? FILE_SYSTEM} | ${cell(found.near)} | ${cell(found.far)} |`
          console.error(line)
          lines.push(line)
        }
    return lines.join('\n')
  } finally {
    await cleanUp()
  }
}
