/** What the requests for jobs have in common: ids of Orthanc's, its job options, and waiting for the end of a job. */
import { Fault, isObject } from '../fault.ts'
import type { ResourceLevel } from '../moves/walk.ts'
import type { Orthanc } from '../orthanc.ts'
import { json, OrthancError, type RouteAnswer } from '../wire/router.ts'

/** How long a synchronous request waits before it looks for the end of its job again: short at first, then longer. */
const POLL_MS = { first: 20, longest: 1000 }

const ORTHANC_ID = /^[0-9a-f]{8}(-[0-9a-f]{8}){4}$/

export function idsOf(resources: unknown): readonly string[] {
  if (!Array.isArray(resources)) throw bad('"Resources" must be an array of Orthanc ids')
  if (resources.length === 0) throw bad('"Resources" is empty')
  if (!resources.every(id => typeof id === 'string')) throw bad('"Resources" must have only strings')
  return resources
}

/** Orthanc's own job options. */
export function jobOptionsOf(body: Record<string, unknown>): { wait: boolean; priority: number } {
  const synchronous = flag(body, 'Synchronous')
  const asynchronous = flag(body, 'Asynchronous')
  return { wait: synchronous ?? !(asynchronous ?? false), priority: priorityOf(body['Priority']) }
}

export function flag(body: Record<string, unknown>, name: string): boolean | undefined {
  const value = body[name]
  if (value === undefined || typeof value === 'boolean') return value
  throw bad(`"${name}" must be true or false`)
}

function priorityOf(value: unknown): number {
  if (value === undefined) return 0
  if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) < 2 ** 31) return value
  throw bad('"Priority" must be an integer')
}

export const bad = (details: string) => new Fault('BadRequest', details)

/** The ids by their level. If one of them is unknown, nothing is done. */
export async function grouped(ids: readonly string[], orthanc: Orthanc, signal: AbortSignal) {
  const groups: Record<ResourceLevel, string[]> = { Patients: [], Studies: [], Series: [], Instances: [] }
  for (const id of ids) {
    const level = ORTHANC_ID.test(id) ? await levelOf(id, orthanc, signal) : undefined
    if (!level) return 'unknown'
    groups[level].push(id)
  }
  return groups
}

async function levelOf(id: string, orthanc: Orthanc, signal: AbortSignal): Promise<ResourceLevel | undefined> {
  for (const level of ['Studies', 'Series', 'Instances', 'Patients'] as const)
    if ((await orthanc.get(`/${level.toLowerCase()}/${id}`, signal)) !== undefined) return level
  return undefined
}

export async function waitFor(
  id: string,
  /** What the job does with files, for its failure: `moved`. */
  done: string,
  orthanc: Orthanc,
  signal: AbortSignal,
): Promise<RouteAnswer> {
  for (let pause = POLL_MS.first; ; pause = Math.min(pause * 1.5, POLL_MS.longest)) {
    const job = await orthanc.get(`/jobs/${id}`, signal)
    if (!isObject(job))
      return {
        error: OrthancError.plugin,
        details: `Orthanc has no job ${id} any more. Set JobsHistorySize in its configuration to more than 0`,
      }
    if (job['State'] === 'Success') return json(job['Content'] ?? {})
    if (job['State'] === 'Failure') return { error: OrthancError.plugin, details: failureOf(id, done, job['Content']) }
    await new Promise(resolve => setTimeout(resolve, pause))
    signal.throwIfAborted()
  }
}

function failureOf(id: string, done: string, content: unknown): string {
  const failed = isObject(content) ? content['Failed'] : undefined
  return typeof failed === 'number' && failed > 0
    ? `${failed} ${failed === 1 ? 'file' : 'files'} could not be ${done}, see "Failures" in /jobs/${id}`
    : `the job was canceled or has failed, see /jobs/${id}`
}
