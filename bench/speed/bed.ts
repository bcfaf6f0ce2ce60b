/** One Orthanc on one storage, for the loads of docs/speed.md. */
import { rmSync, writeFileSync } from 'node:fs'
import { type OrthancProcess, startOrthanc } from '../../harness/orthanc.ts'
import type { DebianRelease } from '../../harness/trees.ts'
import { BenchClients, type Work } from '../client.ts'
import { type BenchImage, imageOf } from '../image.ts'
import { cpuOf, peakOf } from '../measure.ts'
import { type Counts, type Subject, temporaryFolder } from '../subjects.ts'

/** The newest Orthanc that the harness has: others read in other ways. */
export const RELEASE: DebianRelease = 'forky'

/** Between Orthanc and its store, in milliseconds. */
export const ROUND_TRIP = 20

/** What a storage stands for in a load. `count`: of the server's requests. */
export interface SpeedSubject extends Subject {
  readonly count?: () => Promise<Counts>
  readonly env?: Readonly<Record<string, string>>
}

export interface Spent {
  readonly seconds: number
  /** Milliseconds of processor time. */
  readonly orthancCpu: number
  readonly engineCpu: number
  /** Peak resident memory of the engine in MB, since this work began. */
  readonly enginePeak: number | undefined
  /** At the server, and the bytes of its answers. */
  readonly requests: number | undefined
  readonly sentBytes: number | undefined
}

/** Files of one study, in the order in which they were stored. */
export interface Stored {
  readonly images: readonly BenchImage[]
  readonly ids: readonly string[]
  /** The first one. */
  readonly series: string
  readonly study: string
  readonly seconds: number
}

/** Rows and columns: 220 KB, and 20 KB. */
export const SIDE = { '220 KB': 332, '20 KB': 100 } as const
export type Size = keyof typeof SIDE

interface StoreOptions {
  readonly clients?: 1 | 10
  readonly series?: number
}

/** Of a study, at most so many files are compared. */
const CHECKED = 50

export class Bed {
  readonly subject: SpeedSubject
  orthanc: OrthancProcess
  readonly #dir: string
  readonly #clients: BenchClients
  readonly #crowd: BenchClients
  #studies = 0
  #images = 0

  private constructor(subject: SpeedSubject, dir: string, orthanc: OrthancProcess) {
    this.subject = subject
    this.orthanc = orthanc
    this.#dir = dir
    this.#clients = new BenchClients('lean', 1)
    this.#crowd = new BenchClients('lean', 10)
  }

  static async start(subject: SpeedSubject): Promise<Bed> {
    const dir = temporaryFolder()
    return new Bed(subject, dir, await startOn(subject, dir))
  }

  async stop(): Promise<void> {
    this.#clients.stop()
    this.#crowd.stop()
    await this.orthanc.stop()
    rmSync(this.#dir, { recursive: true, force: true })
  }

  /** `between`: while no Orthanc runs. */
  async restart(between: () => Promise<unknown> = async () => {}): Promise<void> {
    await this.orthanc.stop()
    await between()
    this.orthanc = await startOn(this.subject, this.#dir)
  }

  /** A new study, of one series unless there are more. Ten clients store it, unless one is said to. */
  async store(count: number, size: Size, { clients = 10, series = 1 }: StoreOptions = {}): Promise<Stored> {
    const [rows, columns, study] = [SIDE[size], SIDE[size], ++this.#studies]
    const images: BenchImage[] = Array.from({ length: count }, (_, i) => ({
      seed: ++this.#images,
      rows,
      columns,
      study,
      series: 1 + (i % series),
      slice: true,
    }))
    const { ids, seconds } = await this.perform({ images }, clients)
    const { ID } = await this.orthanc.getJson(`/instances/${ids[0]}/series`)
    return { images, ids, seconds, series: ID, study: (await this.orthanc.getJson(`/series/${ID}`)).ParentStudy }
  }

  perform(work: Omit<Work, 'url'>, clients: 1 | 10 = 1) {
    return (clients === 1 ? this.#clients : this.#crowd).perform({ url: this.orthanc.url, ...work })
  }

  /** A figure of a storage that gives back other bytes is worth nothing. File after file, so some come from ahead. */
  async check({ images, ids }: Stored): Promise<void> {
    for (const [i, image] of images.slice(0, CHECKED).entries()) {
      const back = await this.orthanc.getBytes(`/instances/${ids[i]}/file`)
      if (!back.equals(imageOf(image))) throw new Error(`${this.subject.name} damaged a file`)
    }
  }

  /** What `work` takes, which resolves to its seconds, or else is timed here. */
  async spent(work: () => Promise<{ readonly seconds: number } | undefined>): Promise<Spent> {
    const { count } = this.subject
    const engine = this.subject.plugin === null ? undefined : this.orthanc.enginePid()
    if (engine) writeFileSync(`/proc/${engine}/clear_refs`, '5') // the kernel forgets the peak
    const [before, orthancCpu, engineCpu] = [await count?.(), cpuOf(this.orthanc.pid), cpuOf(engine)]
    const began = performance.now()
    const done = await work()
    const seconds = done?.seconds ?? (performance.now() - began) / 1000
    // What goes on after the last answer is part of the cost.
    const after = await count?.()
    return {
      seconds,
      orthancCpu: cpuOf(this.orthanc.pid) - orthancCpu,
      engineCpu: cpuOf(engine) - engineCpu,
      enginePeak: engine && peakOf(engine),
      requests: before && after && after.requests - before.requests,
      sentBytes: before && after && after.sentBytes - before.sentBytes,
    }
  }
}

function startOn({ plugin, config, env = {} }: SpeedSubject, dir: string): Promise<OrthancProcess> {
  const ours = plugin === undefined ? {} : { plugin }
  return startOrthanc({ release: RELEASE, dir, config, env, verbose: false, ...ours })
}
