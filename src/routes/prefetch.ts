import { isObject } from '../fault.ts'
import type { PrefetchJobs } from '../prefetch/job.ts'
import { json, jsonOf, OrthancError, type Route } from '../wire/router.ts'
import { bad, grouped, idsOf, jobOptionsOf, waitFor } from './job-request.ts'

/**
 * `POST /cloud-storage/prefetch`: a job that reads files into the cache. `jobs`: undefined without a cache. `isOn`:
 * whether it keeps anything now.
 */
export function prefetchRoute(jobs: PrefetchJobs | undefined, isOn: () => boolean): Route {
  return {
    pattern: '/cloud-storage/prefetch',
    methods: {
      async POST(request, orthanc, signal) {
        const body = await jsonOf(request)
        if (!isObject(body)) throw bad('the body of the request must be a JSON object')
        const ids = idsOf(body['Resources'])
        const { wait, priority } = jobOptionsOf(body)
        if (!jobs) throw bad('there is no cache: set CloudStorage.Cache in the configuration of Orthanc')
        if (!isOn()) return { error: OrthancError.plugin, details: "the cache is off: Orthanc's log says why" }
        const resources = await grouped(ids, orthanc, signal)
        if (resources === 'unknown') return { error: OrthancError.unknownResource, details: '' }
        const id = await orthanc.submit(jobs.create(resources), priority, signal)
        return wait ? await waitFor(id, 'read', orthanc, signal) : json({ ID: id, Path: `/jobs/${id}` })
      },
    },
  }
}
