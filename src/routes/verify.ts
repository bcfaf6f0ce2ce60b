import { isObject } from '../fault.ts'
import type { Orthanc } from '../orthanc.ts'
import type { VerifyJobs } from '../verify-job/job.ts'
import { REQUEST_NAMES, requestOf } from '../verify-job/request.ts'
import { json, jsonOf, type Route } from '../wire/router.ts'
import { bad, jobOptionsOf, waitFor } from './job-request.ts'

const NAMES: readonly string[] = [...REQUEST_NAMES, 'Synchronous', 'Asynchronous', 'Priority']
/** States of jobs that Orthanc has work for. */
const ACTIVE: readonly unknown[] = ['Pending', 'Running', 'Retry']

/** `POST /cloud-storage/verify`: a job that compares Orthanc's index with the stores. */
export function verifyRoute(jobs: VerifyJobs): Route {
  return {
    pattern: '/cloud-storage/verify',
    methods: {
      async POST(request, orthanc, signal) {
        const body = await jsonOf(request)
        if (!isObject(body)) throw bad('the body of the request must be a JSON object')
        // A misspelt "Deep" would look like a proof of what nobody has read.
        const unknown = Object.keys(body).find(name => !NAMES.includes(name))
        if (unknown !== undefined) throw bad(`"${unknown}" is unknown: there are ${NAMES.join(', ')}`)
        const asked = requestOf(body)
        const { wait, priority } = jobOptionsOf(body)
        const other = await activeJob(jobs.type, orthanc, signal)
        if (other !== undefined) throw bad(`a verification is under way already: /jobs/${other}`)
        const id = await orthanc.submit(jobs.create(asked), priority, signal)
        return wait ? await waitFor(id, 'looked at', orthanc, signal) : json({ ID: id, Path: `/jobs/${id}` })
      },
    },
  }
}

/** One by one: all of them in one answer may be too large. */
async function activeJob(type: string, orthanc: Orthanc, signal: AbortSignal): Promise<string | undefined> {
  const ids = await orthanc.get('/jobs', signal)
  for (const id of Array.isArray(ids) ? ids : []) {
    const job = await orthanc.get(`/jobs/${id}`, signal)
    if (isObject(job) && job['Type'] === type && ACTIVE.includes(job['State'])) return String(id)
  }
  return undefined
}
