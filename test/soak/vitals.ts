/** What Orthanc and the engine take of the machine, and whether it grows. */
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { until } from '../../harness/until.ts'

/** In MB what is memory, else counts. */
export const VITALS = [
  'memory of Orthanc',
  'descriptors of Orthanc',
  'threads of Orthanc',
  'memory of the engine',
  'descriptors of the engine',
  'threads of the engine',
  'heap of the engine', // after a collection, as the next two
  'buffers of the engine',
  'handles of the engine',
] as const
export type Vital = (typeof VITALS)[number]

const MB = 1024 * 1024

/** What may come and go: allocators keep what they had, and a sample is taken while requests are on their way. */
const SLACK: Readonly<Record<string, { readonly share: number; readonly more: number }>> = {
  memory: { share: 0.1, more: 8 },
  heap: { share: 0.05, more: 2 },
  buffers: { share: 0.05, more: 12 },
  descriptors: { share: 0.1, more: 16 },
  threads: { share: 0, more: 4 },
  handles: { share: 0.1, more: 16 },
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}

/**
 * Samples at even distances. The first quarter is for warming up; the last may be above the second by the slack only:
 * of 20 000 operations, 10 000 lie between the middles of the two.
 */
export function growth(vital: Vital, samples: readonly number[]): string | undefined {
  const quarter = Math.floor(samples.length / 4)
  if (quarter === 0) return `${vital}: too few samples`
  const second = median(samples.slice(quarter, 2 * quarter))
  const last = median(samples.slice(-quarter))
  const { share, more } = SLACK[vital.split(' ')[0] as string] as { share: number; more: number }
  if (last <= second * (1 + share) + more) return undefined
  return `${vital} grows: ${second.toFixed(1)} in the second quarter, ${last.toFixed(1)} in the last`
}

/** The engine's Node.js loads this before the engine: on SIGUSR2 it collects garbage, and reports what is left. */
export const PROBE = `
import { renameSync, writeFileSync } from 'node:fs'
process.on('SIGUSR2', () => {
  for (let i = 0; i < 3; i++) globalThis.gc()
  const { heapUsed, external } = process.memoryUsage()
  const handles = process.getActiveResourcesInfo().length
  const file = process.env.SOAK_PROBE
  writeFileSync(file + '.new', JSON.stringify({ heapUsed, external, handles }))
  renameSync(file + '.new', file)
})
`

export class Vitals {
  readonly samples: Record<Vital, number[]>

  constructor() {
    this.samples = Object.fromEntries(VITALS.map(vital => [vital, [] as number[]])) as Record<Vital, number[]>
  }

  sample(orthanc: number, engine: number): void {
    for (const [whose, pid] of [
      ['Orthanc', orthanc],
      ['the engine', engine],
    ] as const) {
      const { memory, threads, descriptors } = look(pid)
      this.samples[`memory of ${whose}`].push(memory)
      this.samples[`threads of ${whose}`].push(threads)
      this.samples[`descriptors of ${whose}`].push(descriptors)
    }
  }

  /** `file`: where the engine's probe writes. */
  async probe(engine: number, file: string): Promise<void> {
    rmSync(file, { force: true })
    process.kill(engine, 'SIGUSR2')
    const text = await until('the probe of the engine', () => {
      try {
        return readFileSync(file, 'utf8')
      } catch {
        return undefined
      }
    })
    const { heapUsed, external, handles } = JSON.parse(text)
    this.samples['heap of the engine'].push(heapUsed / MB)
    this.samples['buffers of the engine'].push(external / MB)
    this.samples['handles of the engine'].push(handles)
  }
}

function look(pid: number) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1])
  const descriptors = readdirSync(`/proc/${pid}/fd`).length
  return { memory: field('VmRSS') / 1024, threads: field('Threads'), descriptors }
}
