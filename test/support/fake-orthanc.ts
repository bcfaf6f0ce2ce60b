/**
 * As much of Orthanc's REST API as moving files needs, in memory; for tests of what happens when it changes meanwhile.
 */
import { createHash, randomUUID } from 'node:crypto'
import { Fault } from '../../src/fault.ts'
import type { Job, Json, Orthanc } from '../../src/orthanc.ts'

export interface FakeFile {
  readonly uuid: string
  readonly type: number
  readonly size: number
}

interface Resource {
  readonly level: 'patients' | 'studies' | 'series' | 'instances'
  readonly children: string[]
  readonly files: Map<string, FakeFile>
}

const childName = { patients: 'Studies', studies: 'Series', series: 'Instances', instances: undefined } as const
const below = { patients: 'studies', studies: 'series', series: 'instances', instances: undefined } as const

/** An id of Orthanc's shape, always the same for the same name. */
export function orthancId(name: string): string {
  const hex = createHash('sha1').update(name).digest('hex')
  return (hex.match(/.{8}/g) as string[]).join('-')
}

export class FakeOrthanc implements Orthanc {
  readonly resources = new Map<string, Resource>()
  readonly asked: string[] = []
  readonly submitted: { job: Job; priority: number }[] = []
  /** What GET /jobs/{id} answers, in turn; the last stays. */
  jobStates: Json[] = []
  fails: (uri: string) => boolean = () => false
  /** GET /system. Orthanc's own index has no plugin. */
  system: Json = { DatabaseBackendPlugin: null }

  /** `tree`: how many studies, series of each, instances of each. Every resource gets a file of its own. */
  addPatient(name: string, tree: readonly number[] = [1, 1, 1], size = 10): string {
    const add = (path: string, level: Resource['level'], counts: readonly number[]): string => {
      const id = orthancId(path)
      const next = below[level]
      const [count = 0, ...rest] = counts
      const children = next ? Array.from({ length: count }, (_, i) => add(`${path}/${i}`, next, rest)) : []
      const name = level === 'instances' ? 'dicom' : '1025'
      const type = level === 'instances' ? 1 : 1025
      this.resources.set(id, { level, children, files: new Map([[name, { uuid: randomUUID(), type, size }]]) })
      return id
    }
    return add(name, 'patients', tree)
  }

  remove(id: string): void {
    for (const child of this.resources.get(id)?.children ?? []) this.remove(child)
    this.resources.delete(id)
  }

  files(level?: Resource['level']): FakeFile[] {
    return [...this.resources.values()]
      .filter(resource => !level || resource.level === level)
      .flatMap(resource => [...resource.files.values()])
  }

  idsOf(level: Resource['level']): string[] {
    return [...this.resources].filter(([, resource]) => resource.level === level).map(([id]) => id)
  }

  async get(uri: string): Promise<Json | undefined> {
    this.asked.push(uri)
    await Promise.resolve()
    if (this.fails(uri)) throw new Fault('Unavailable', 'the database is locked')
    const [path = '', query = ''] = uri.split('?')
    const [, level, id = '', what, name = ''] = path.split('/')
    if (path === '/system') return this.system
    if (path === '/statistics') return { CountPatients: this.idsOf('patients').length }
    if (level === 'jobs') return (this.jobStates.length > 1 ? this.jobStates.shift() : this.jobStates[0]) as Json
    if (path === '/patients') {
      const page = new URLSearchParams(query)
      const since = Number(page.get('since'))
      return this.idsOf('patients').slice(since, since + Number(page.get('limit')))
    }
    const resource = this.resources.get(id)
    if (!resource || resource.level !== level) return undefined
    const children = childName[resource.level]
    if (!what) return { ID: id, ...(children && { [children]: [...resource.children] }) }
    if (!name) return [...resource.files.keys()]
    const file = resource.files.get(name)
    return file && { Uuid: file.uuid, ContentType: file.type, CompressedSize: file.size }
  }

  async post(): Promise<Json> {
    throw new Error('nobody posts here')
  }

  async submit(job: Job, priority: number): Promise<string> {
    this.submitted.push({ job, priority })
    return 'the-job'
  }
}
