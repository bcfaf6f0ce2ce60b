/** Several Orthancs of one Debian release over one PostgreSQL and one bucket. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type OrthancProcess, PLUGIN, startOrthanc } from '../../../harness/orthanc.ts'
import { indexIn, POSTGRESQL_INDEX, type PostgreSql } from '../../../harness/postgresql.ts'
import type { DebianRelease } from '../../../harness/trees.ts'
import type { Place } from './places.ts'

export interface ClusterOptions {
  readonly postgresql: PostgreSql
  readonly release: DebianRelease
  /** Of the provider's section, beside the place's own. */
  readonly section?: object
  /** Of the section `PostgreSQL`. */
  readonly index?: object
  readonly more?: Readonly<Record<string, unknown>>
}

let databases = 0

export class Cluster {
  readonly place: Place
  readonly folder = mkdtempSync(join(tmpdir(), 'ocs-cluster-'))
  readonly #options: ClusterOptions
  readonly #disk: Readonly<Record<string, unknown>>
  readonly #database = `orthanc${++databases}`
  readonly #running = new Set<OrthancProcess>()
  #made: Promise<void> | undefined

  /** `disk`: the name of a folder of the cluster that is the `StorageDirectory` of all nodes. */
  constructor(place: Place, options: ClusterOptions, disk?: string) {
    this.place = place
    this.#options = options
    this.#disk = disk === undefined ? {} : { StorageDirectory: join(this.folder, disk) }
  }

  /** A node of a new name has nothing but its configuration. */
  async start(name: string): Promise<OrthancProcess> {
    const { postgresql, release, section, index, more } = this.#options
    const [[provider, options] = ['', {}]] = Object.entries(this.place.config)
    this.#made ??= postgresql.makeDatabase(this.#database)
    await this.#made
    mkdirSync(join(this.folder, name, 'tmp'), { recursive: true })
    const node = await startOrthanc({
      release,
      dir: join(this.folder, name),
      config: {
        Name: name,
        [provider]: { ...options, ...section },
        PostgreSQL: { ...indexIn(postgresql, this.#database), ...index },
        Plugins: [POSTGRESQL_INDEX, PLUGIN],
        TemporaryDirectory: join(this.folder, name, 'tmp'),
        ...this.#disk,
        ...more,
      },
    })
    this.#running.add(node)
    return node
  }

  async stop(node: OrthancProcess): Promise<void> {
    this.#running.delete(node)
    await node.stop()
  }

  async kill(node: OrthancProcess): Promise<void> {
    this.#running.delete(node)
    node.kill('SIGKILL')
    await node.exited
  }

  /** What a node has on its disk. */
  filesOf(name: string): string[] {
    const folder = join(this.folder, name)
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
    return entries
      .filter(entry => !entry.isDirectory())
      .map(entry => join(entry.parentPath, entry.name).slice(folder.length + 1))
  }

  async dispose(): Promise<void> {
    for (const node of this.#running) await node.stop()
    await this.place.dispose()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** All nodes as one, as behind a load balancer: each request goes to the next one. */
export function balanced(nodes: () => readonly OrthancProcess[]): OrthancProcess {
  let next = 0
  const request: OrthancProcess['request'] = (...asked) => {
    const all = nodes()
    return (all[next++ % all.length] as OrthancProcess).request(...asked)
  }
  return { request } as OrthancProcess
}

/** The files that the index knows of. */
export async function uuidsIn(node: OrthancProcess): Promise<Set<string>> {
  const uuids = new Set<string>()
  for (const id of await node.getJson('/instances'))
    for (const { uuid } of await node.attachmentsOf(id)) uuids.add(uuid)
  return uuids
}
