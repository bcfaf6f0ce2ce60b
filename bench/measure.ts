/** One measurement: a number of uploads and reads in a fresh Orthanc, with what they cost its two processes. */
import { hash } from 'node:crypto'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { makeImage } from '../test/dicom.ts'
import { type Orthanc, startOrthanc } from '../test/live/orthanc.ts'
import { type Subject, temporaryFolder } from './subjects.ts'

export interface Load {
  readonly name: string
  readonly count: number
  readonly rows: number
  readonly columns: number
  readonly clients: number
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

export async function measure(subject: Subject, load: Load): Promise<Figures> {
  const dir = temporaryFolder()
  const { plugin } = subject
  const orthanc = await startOrthanc({
    config: subject.config,
    dir,
    verbose: false,
    ...(plugin === undefined ? {} : { plugin }),
  })
  const agent = new Agent({ keepAlive: true, maxSockets: load.clients })
  try {
    const warm = { ...load, rows: 332, columns: 332 }
    for (let i = 0; i < WARM_UP; i++) {
      const answer = await run(orthanc, agent, 'POST', '/instances', fileOf(warm, 900_001 + i), true)
      await run(orthanc, agent, 'GET', `/instances/${JSON.parse(answer).ID}/file`)
    }
    const engine = orthanc.enginePid()
    for (const pid of [orthanc.pid, engine]) if (pid) writeFileSync(`/proc/${pid}/clear_refs`, '5') // forgets the peak
    const stored: { id: string; seed: number }[] = []
    const upload = await timed(orthanc, engine, load, async i => {
      const seed = 100_001 + i
      const answer = await run(orthanc, agent, 'POST', '/instances', fileOf(load, seed), true)
      stored.push({ id: JSON.parse(answer).ID, seed })
    })
    const read = load.reads
      ? await timed(orthanc, engine, load, async i => {
          await run(orthanc, agent, 'GET', `/instances/${stored[i]?.id}/file`)
        })
      : undefined
    // A figure of a storage that gives back other bytes is worth nothing. Not within the time: hashing is not its work.
    for (const { id, seed } of load.reads ? stored.slice(0, 20) : []) {
      const back = await orthanc.getBytes(`/instances/${id}/file`)
      if (hash('sha256', back) !== hash('sha256', fileOf(load, seed))) throw new Error(`${subject.name} damaged a file`)
    }
    // Ten gigabytes that a server keeps in memory are missing to those that are measured after it.
    if (subject.server)
      for (const patient of await orthanc.getJson('/patients'))
        await run(orthanc, agent, 'DELETE', `/patients/${patient}`)
    return {
      upload,
      read,
      orthancPeak: peakOf(orthanc.pid),
      enginePeak: engine === undefined ? undefined : peakOf(engine),
    }
  } finally {
    agent.destroy()
    await orthanc.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

async function timed(
  orthanc: Orthanc,
  engine: number | undefined,
  load: Load,
  work: (i: number) => Promise<void>,
): Promise<Cost> {
  const before = [cpuOf(orthanc.pid), cpuOf(engine)] as const
  const began = performance.now()
  let next = 0
  const client = async () => {
    while (next < load.count) await work(next++)
  }
  await Promise.all(Array.from({ length: load.clients }, client))
  const seconds = (performance.now() - began) / 1000
  return {
    perSecond: load.count / seconds,
    megabytesPerSecond: (load.count * load.rows * load.columns * 2) / 1e6 / seconds,
    orthancCpu: (cpuOf(orthanc.pid) - before[0]) / load.count,
    engineCpu: (cpuOf(engine) - before[1]) / load.count,
  }
}

/** Plain node:http with the least work per byte: the client shares the machine with what it measures. */
function run(
  orthanc: Orthanc,
  agent: Agent,
  method: string,
  path: string,
  body?: Buffer,
  keep = false,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = body ? { 'content-length': body.byteLength } : {}
    const sent = request(`${orthanc.url}${path}`, { method, agent, headers }, answer => {
      let text = ''
      answer.on('data', chunk => {
        if (keep) text += chunk
      })
      answer.on('end', () =>
        answer.statusCode === 200 ? resolve(text) : reject(new Error(`HTTP ${answer.statusCode}`)),
      )
    })
    sent.on('error', reject)
    sent.end(body)
  })
}
