/** One measurement: a number of uploads and reads in fresh Orthancs, with what they cost Orthanc and engine. */
import { hash } from 'node:crypto'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type OrthancProcess, startOrthanc } from '../harness/orthanc.ts'
import type { DebianRelease } from '../harness/trees.ts'
import { BenchClients, type ClientKind, type Done, type Work } from './client.ts'
import { type BenchImage, imageOf } from './image.ts'
import { type Subject, temporaryFolder } from './subjects.ts'

export interface BenchLoad {
  readonly name: string
  readonly count: number
  readonly rows: number
  readonly columns: number
  readonly clients: number
  readonly client: ClientKind
  readonly reads: boolean
  /** Whose Orthanc; without it, this machine's. */
  readonly release?: DebianRelease
}

export interface Cost {
  readonly perSecond: number
  readonly megabytesPerSecond: number
  /** Milliseconds of CPU for each operation. */
  readonly orthancCpu: number
  readonly engineCpu: number
}

export interface Figures {
  readonly upload: Cost
  readonly read: Cost | undefined
  /** Peak resident memory in MB, since the load began. */
  readonly orthancPeak: number
  readonly enginePeak: number | undefined
}

/** Uploads and reads before the measurement. Compilers and pools are then as in a server that has run for a minute. */
export const WARM_UP = 300

const TICK_MS = 10 // utime and stime of /proc are in hundredths of a second on Linux

export function cpuOf(pid: number | undefined): number {
  if (pid === undefined) return 0
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

export function peakOf(pid: number): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1000
}

/** Operations of one storage before the next has its turn. With fewer, disks would still write for the last one. */
export const TURN = 200
/** Operations at the beginning of a turn that do not count. */
const RUN_UP = 100

/**
 * The storages of `subjects` in turns of some operations each: what else the machine does affects all of them alike.
 * Those that wait cost next to nothing. The figures have the order of `subjects`.
 */
export async function measure(subjects: readonly Subject[], load: BenchLoad): Promise<Figures[]> {
  const started: Contender[] = []
  const clients = new BenchClients(load.client, load.clients)
  try {
    for (const subject of subjects) started.push(await Contender.start(subject, load, clients))
    for (const contender of started) await contender.warmUp()
    const inTurns = async (work: (contender: Contender, from: number, to: number) => Promise<void>) => {
      for (let from = 0; from < load.count; from += TURN)
        for (const contender of started) await work(contender, from, Math.min(from + TURN, load.count))
    }
    await inTurns((contender, from, to) => contender.upload(from, to))
    if (load.reads) await inTurns((contender, from, to) => contender.read(from, to))
    const figures: Figures[] = []
    for (const contender of started) figures.push(await contender.finish())
    return figures
  } finally {
    clients.stop()
    for (const contender of started) await contender.stop()
  }
}

/** The sums of all turns of one storage. */
interface Sum {
  count: number
  seconds: number
  orthancCpu: number
  engineCpu: number
}

const nothing = (): Sum => ({ count: 0, seconds: 0, orthancCpu: 0, engineCpu: 0 })

/** One storage under load. */
class Contender {
  readonly #subject: Subject
  readonly #load: BenchLoad
  readonly #dir: string
  readonly #orthanc: OrthancProcess
  readonly #engine: number | undefined
  readonly #clients: BenchClients
  readonly #stored: string[] = []
  /** What was uploaded beside the load. */
  readonly #others: string[] = []
  readonly #upload = nothing()
  readonly #read = nothing()

  private constructor(subject: Subject, load: BenchLoad, clients: BenchClients, dir: string, orthanc: OrthancProcess) {
    this.#subject = subject
    this.#load = load
    this.#clients = clients
    this.#dir = dir
    this.#orthanc = orthanc
    this.#engine = orthanc.enginePid()
  }

  static async start(subject: Subject, load: BenchLoad, clients: BenchClients): Promise<Contender> {
    const dir = temporaryFolder()
    const { plugin, config } = subject
    const orthanc = await startOrthanc({
      config,
      dir,
      verbose: false,
      ...(plugin === undefined ? {} : { plugin }),
      ...(load.release && { release: load.release }),
    })
    return new Contender(subject, load, clients, dir, orthanc)
  }

  async warmUp(): Promise<void> {
    await this.#storeOthers(WARM_UP)
    await this.#perform({ ids: this.#others })
    // This makes the kernel forget the peak.
    for (const pid of [this.#orthanc.pid, this.#engine]) if (pid) writeFileSync(`/proc/${pid}/clear_refs`, '5')
  }

  async upload(from: number, to: number): Promise<void> {
    await this.#storeOthers(RUN_UP)
    const images = Array.from({ length: to - from }, (_, i) => this.#image(from + i))
    this.#stored.push(...(await this.#timed(this.#upload, { images })).ids)
  }

  async read(from: number, to: number): Promise<void> {
    await this.#perform({ ids: this.#others.slice(0, RUN_UP) })
    await this.#timed(this.#read, { ids: this.#stored.slice(from, to) })
  }

  async finish(): Promise<Figures> {
    // A figure of a storage that gives back other bytes is worth nothing. This takes none of its time: hashing is not
    // its work.
    for (const [i, id] of this.#load.reads ? this.#stored.slice(0, 20).entries() : []) {
      const back = await this.#orthanc.getBytes(`/instances/${id}/file`)
      if (hash('sha256', back) !== hash('sha256', imageOf(this.#image(i))))
        throw new Error(`${this.#subject.name} damaged a file`)
    }
    const engine = this.#engine
    const figures = {
      upload: this.#cost(this.#upload),
      read: this.#load.reads ? this.#cost(this.#read) : undefined,
      orthancPeak: peakOf(this.#orthanc.pid),
      enginePeak: engine === undefined ? undefined : peakOf(engine),
    }
    // A server that keeps ten gigabytes in memory leaves too little for those that are measured after it.
    if (this.#subject.server)
      for (const patient of await this.#orthanc.getJson('/patients')) await this.#orthanc.delete(`/patients/${patient}`)
    return figures
  }

  async stop(): Promise<void> {
    await this.#orthanc.stop()
    rmSync(this.#dir, { recursive: true, force: true })
  }

  /** Image number `i` of the load. */
  #image(i: number): BenchImage {
    return { seed: 100_001 + i, rows: this.#load.rows, columns: this.#load.columns }
  }

  /** Images of 220 KB that are not part of the load. */
  async #storeOthers(count: number): Promise<void> {
    const images = Array.from({ length: count }, (_, i) => ({
      seed: 900_001 + this.#others.length + i,
      rows: 332,
      columns: 332,
    }))
    this.#others.push(...(await this.#perform({ images })).ids)
  }

  #perform(work: Omit<Work, 'url'>): Promise<Done> {
    return this.#clients.perform({ url: this.#orthanc.url, ...work })
  }

  async #timed(sum: Sum, work: Omit<Work, 'url'>): Promise<Done> {
    const before = [cpuOf(this.#orthanc.pid), cpuOf(this.#engine)] as const
    const done = await this.#perform(work)
    sum.seconds += done.seconds
    sum.orthancCpu += cpuOf(this.#orthanc.pid) - before[0]
    sum.engineCpu += cpuOf(this.#engine) - before[1]
    sum.count += work.images?.length ?? work.ids?.length ?? 0
    return done
  }

  #cost({ count, seconds, orthancCpu, engineCpu }: Sum): Cost {
    return {
      perSecond: count / seconds,
      megabytesPerSecond: (count * this.#load.rows * this.#load.columns * 2) / 1e6 / seconds,
      orthancCpu: orthancCpu / count,
      engineCpu: engineCpu / count,
    }
  }
}
