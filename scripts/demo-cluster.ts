/** npm start -- --cluster: two Orthancs over one PostgreSQL and one bucket. One is killed, and a new one comes. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { makeImage } from '../harness/dicom.ts'
import { type OrthancProcess, PLUGIN, startOrthanc } from '../harness/orthanc.ts'
import { indexIn, POSTGRESQL_INDEX, type PostgreSql, startPostgresql } from '../harness/postgresql.ts'
import { free, SLICES, say, shown, slices, TUNED } from './demo-run.ts'
import type { DemoStore } from './demo-stores.ts'

export interface ClusterDemo {
  readonly place: DemoStore
  readonly folder: string
  /** Resolves at Ctrl-C. */
  readonly interrupted: Promise<void>
}

const DATABASE = 'orthanc'

class Interrupted extends Error {}

export async function showCluster({ place, folder, interrupted }: ClusterDemo): Promise<number> {
  say('Starting PostgreSQL ...')
  const postgresql = await startPostgresql()
  const nodes = new Map<string, OrthancProcess>()
  let over = false
  void interrupted.then(() => {
    over = true
  })
  /** Nothing more is begun after Ctrl-C. */
  const step = async <T>(work: () => Promise<T>): Promise<T> => {
    if (over) throw new Interrupted()
    const result = await work()
    if (over) throw new Interrupted()
    return result
  }
  const dirOf = (name: string) => join(folder, name.at(-1)?.toLowerCase() ?? '')
  const start = async (name: string, http: number) => {
    const dir = dirOf(name)
    rmSync(dir, { recursive: true, force: true })
    const ports = { http: await free(http, `HTTP of ${name}`), dicom: await free(http - 3800, `DICOM of ${name}`) }
    // The socket of an Orthanc that is killed stays there, and not in the machine's temporary folder.
    const temporary = join(dir, 'temporary')
    mkdirSync(temporary, { recursive: true })
    const config = { ...configOf(postgresql, place), Name: name, TemporaryDirectory: temporary }
    const node = await startOrthanc({ config, dir, ports, verbose: false })
    nodes.set(name, node)
    return node
  }
  try {
    await step(() => postgresql.makeDatabase(DATABASE))
    say('Starting two Orthancs ...')
    const a = await step(() => start('Orthanc A', 8042))
    const b = await step(() => start('Orthanc B', 8043))
    say()
    say(`  Orthanc A  ${a.url}/`)
    say(`  Orthanc B  ${b.url}/`)
    say(`  Index      PostgreSQL at 127.0.0.1:${postgresql.port}, database "${DATABASE}"`)
    say(`  Files      ${place.where}`)
    say()
    const study = await step(() => tour(a, b))
    say('Killing A ...')
    nodes.delete('Orthanc A')
    a.kill('SIGKILL')
    await a.exited
    say(`B still serves all ${await step(() => readable(b))} images, and stores another one through itself.`)
    await b.postJson('/instances', makeImage({ seed: 100, rows: 64, columns: 64, studyDescription: 'Made-up head' }))
    const fresh = await step(() => start('Orthanc C', 8044))
    const served = await step(() => readable(fresh))
    say(`C started with nothing but its configuration, at ${fresh.url}/. It serves all ${served} images.`)
    say()
    for (const name of nodes.keys()) {
      say(`  Configuration of ${name}  ${shown(join(dirOf(name), 'orthanc.json'))}`)
      say(`  Log of ${name}            ${shown(join(dirOf(name), 'orthanc.log'))}`)
    }
    say(`\n  Try  curl ${b.url}/studies/${study}/archive -o study.zip`)
    say(`       curl ${fresh.url}/statistics`)
    say('\nHow to run such a cluster yourself: docs/cluster.md')
    say(`Ctrl-C stops everything and removes the database. The objects stay in ${shown(folder)} until the next run.`)
    const ended = await Promise.race([
      interrupted.then(() => false),
      b.exited.then(() => true),
      fresh.exited.then(() => true),
    ])
    say(ended ? '\nAn Orthanc has ended by itself. See its log.' : '\nStopping ...')
    return ended ? 1 : 0
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error
    say('\nStopping ...')
    return 0
  } finally {
    for (const node of nodes.values()) await node.stop()
    await postgresql.stop()
  }
}

/** What all nodes have in common, which is all of it but their names and ports. */
function configOf(postgresql: PostgreSql, place: DemoStore): Readonly<Record<string, unknown>> {
  return { ...place.config, ...TUNED, PostgreSQL: indexIn(postgresql, DATABASE), Plugins: [POSTGRESQL_INDEX, PLUGIN] }
}

/** Stores through one and reads through the other. Returns the id of the study. */
async function tour(a: OrthancProcess, b: OrthancProcess): Promise<string> {
  let study = ''
  for (const file of slices()) {
    const { ID, ParentStudy } = await a.postJson('/instances', file)
    if (!(await b.getBytes(`/instances/${ID}/file`)).equals(file)) throw new Error('B gives other bytes than A stored')
    study = ParentStudy
  }
  say(`${SLICES} made-up CT images were stored through A, and read through B: the same bytes.`)
  return study
}

/** Reads all of it, and returns how many that are. */
async function readable(node: OrthancProcess): Promise<number> {
  const ids: string[] = await node.getJson('/instances')
  for (const id of ids) await node.getBytes(`/instances/${id}/file`)
  return ids.length
}
