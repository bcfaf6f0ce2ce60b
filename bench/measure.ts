/** One measurement: a number of uploads and reads in fresh Orthancs, with what they cost Orthanc and engine. */
import { hash } from 'node:crypto'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { makeImage } from '../test/dicom.ts'
import { type Orthanc, startOrthanc } from '../test/live/orthanc.ts'
import { type Client, clients, type Kind } from './clients.ts'
import { type Subject, temporaryFolder } from './subjects.ts'

export interface Load {
  readonly name: string
  readonly count: number
  readonly rows: number
  readonly columns: number
  readonly clients: number
  readonly client: Kind
  readonly reads: boolean
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

/** Uploads and reads before the measurement: compilers and pools are as warm as in a server that has run for a minute. */
export const WARM_UP = 300

const TICK_MS = 10 // utime and stime of /proc are in hundredths of a second on Linux

function cpuOf(pid: number | undefined): number {
  if (pid === undefined) return 0
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

export function peakOf(pid: number): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1000
}

/** Shared by all files of a size: what varies is the header. */
const pixels = new Map<number, Buffer>()
function fileOf(load: Load, seed: number): Buffer {
  const size = load.rows * load.columns * 2
  const made =
    pixels.get(size) ?? Buffer.alloc(size, Buffer.from(Array.from({ length: 65_537 }, (_, i) => (i * 31) & 0xff)))
  pixels.set(size, made)
  return makeImage({ seed, rows: load.rows, columns: load.columns, study: 1 + Math.floor(seed / 100) }, () => made)
}

/** Operations of one storage before the next one has its turn: long enough that disks do not just catch up meanwhile. */
const TURN = 200
/** Operations at the beginning of a turn that do not count. */
const RUN_UP = 50

/**
 * The storages of `subjects` in turns of some operations each, so that whatever the machine does meanwhile hits all alike.
 * Those that wait cost next to nothing. In the order of `subjects`.
 */
export async function measure(subjects: readonly Subject[], load: Load): Promise<Figures[]> {
  const started: Contender[] = []
  try {
    for (const subject of subjects) started.push(await Contender.start(subject, load))
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
    for (const contender of started) await contender.stop()
  }
}

/** What the turns of one storage took together. */
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
  readonly #load: Load
  readonly #dir: string
  readonly #orthanc: Orthanc
  readonly #engine: number | undefined
  readonly #client: Client
  readonly #stored: { id: string; seed: number }[] = []
  readonly #others: string[] = []
  #made = 0
  readonly #upload = nothing()
  readonly #read = nothing()

  private constructor(subject: Subject, load: Load, dir: string, orthanc: Orthanc) {
    this.#subject = subject
    this.#load = load
    this.#dir = dir
    this.#orthanc = orthanc
    this.#engine = orthanc.enginePid()
    this.#client = clients[load.client](load.clients)
  }

  static async start(subject: Subject, load: Load): Promise<Contender> {
    const dir = temporaryFolder()
    const { plugin, config } = subject
    const orthanc = await startOrthanc({ config, dir, verbose: false, ...(plugin === undefined ? {} : { plugin }) })
    return new Contender(subject, load, dir, orthanc)
  }

  async warmUp(): Promise<void> {
    await this.#together(WARM_UP, async () => this.#get(await this.#storeOther()))
    for (const pid of [this.#orthanc.pid, this.#engine]) if (pid) writeFileSync(`/proc/${pid}/clear_refs`, '5') // forgets the peak
  }

  async upload(from: number, to: number): Promise<void> {
    await this.#together(RUN_UP, async () => void (await this.#storeOther()))
    await this.#timed(this.#upload, to - from, async i => {
      const seed = 100_001 + from + i
      this.#stored.push({ id: await this.#store(fileOf(this.#load, seed)), seed })
    })
  }

  async read(from: number, to: number): Promise<void> {
    await this.#together(RUN_UP, () => this.#get(this.#others.at(-1)))
    await this.#timed(this.#read, to - from, i => this.#get(this.#stored[from + i]?.id))
  }

  async finish(): Promise<Figures> {
    // A figure of a storage that gives back other bytes is worth nothing. Not within the time: hashing is not its work.
    for (const { id, seed } of this.#load.reads ? this.#stored.slice(0, 20) : []) {
      const back = await this.#orthanc.getBytes(`/instances/${id}/file`)
      if (hash('sha256', back) !== hash('sha256', fileOf(this.#load, seed)))
        throw new Error(`${this.#subject.name} damaged a file`)
    }
    const engine = this.#engine
    const figures = {
      upload: this.#cost(this.#upload),
      read: this.#load.reads ? this.#cost(this.#read) : undefined,
      orthancPeak: peakOf(this.#orthanc.pid),
      enginePeak: engine === undefined ? undefined : peakOf(engine),
    }
    // Ten gigabytes that a server keeps in memory are missing to those that are measured after it.
    if (this.#subject.server)
      for (const patient of await this.#orthanc.getJson('/patients')) await this.#orthanc.delete(`/patients/${patient}`)
    return figures
  }

  async stop(): Promise<void> {
    this.#client.close()
    await this.#orthanc.stop()
    rmSync(this.#dir, { recursive: true, force: true })
  }

  /** A file of 220 KB that is not part of the load. */
  async #storeOther(): Promise<string> {
    const id = await this.#store(fileOf({ ...this.#load, rows: 332, columns: 332 }, 900_001 + this.#made++))
    this.#others.push(id)
    return id
  }

  async #store(file: Buffer): Promise<string> {
    return JSON.parse(await this.#client.post(`${this.#orthanc.url}/instances`, file)).ID
  }

  #get(id: string | undefined): Promise<unknown> {
    return this.#client.get(`${this.#orthanc.url}/instances/${id}/file`)
  }

  /** Shares `count` operations between the clients. */
  async #together(count: number, work: (i: number) => Promise<unknown>): Promise<void> {
    let next = 0
    const client = async () => {
      while (next < count) await work(next++)
    }
    await Promise.all(Array.from({ length: this.#load.clients }, client))
  }

  async #timed(sum: Sum, count: number, work: (i: number) => Promise<unknown>): Promise<void> {
    const before = [cpuOf(this.#orthanc.pid), cpuOf(this.#engine)] as const
    const began = performance.now()
    await this.#together(count, work)
    sum.seconds += (performance.now() - began) / 1000
    sum.orthancCpu += cpuOf(this.#orthanc.pid) - before[0]
    sum.engineCpu += cpuOf(this.#engine) - before[1]
    sum.count += count
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
