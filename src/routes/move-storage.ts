import type { TierName } from '../area/area.ts'
import { isObject } from '../fault.ts'
import type { MoveJobs } from '../moves/job.ts'
import { json, jsonOf, OrthancError, type Route } from '../wire/router.ts'
import { bad, flag, grouped, idsOf, jobOptionsOf, waitFor } from './job-request.ts'

/** `POST /move-storage` of the official plugins (docs/contract.md), with `Scope`, `DryRun` and `KeepSource` besides. */
export function moveStorageRoute(jobs: MoveJobs): Route {
  return {
    pattern: '/move-storage',
    methods: {
      async POST(request, orthanc, signal) {
        const options = optionsOf(await jsonOf(request))
        const { ids, target, dryRun, keepSource } = options
        const resources = ids && (await grouped(ids, orthanc, signal))
        if (resources === 'unknown') return { error: OrthancError.unknownResource, details: '' }
        const job = jobs.create({ resources, target, dryRun, keepSource })
        const id = await orthanc.submit(job, options.priority, signal)
        return options.wait ? await waitFor(id, 'moved', orthanc, signal) : json({ ID: id, Path: `/jobs/${id}` })
      },
    },
  }
}

function optionsOf(body: unknown) {
  if (!isObject(body)) throw bad('the body of the request must be a JSON object')
  const all = body['Scope'] !== undefined
  if (all && body['Scope'] !== 'All') throw bad('"Scope" can only be "All"')
  if (all && body['Resources'] !== undefined) throw bad('"Scope" and "Resources" exclude each other')
  return {
    ids: all ? undefined : idsOf(body['Resources']),
    target: targetOf(body['TargetStorage']),
    ...jobOptionsOf(body),
    dryRun: flag(body, 'DryRun') ?? false,
    keepSource: flag(body, 'KeepSource') ?? false,
  }
}

function targetOf(target: unknown): TierName {
  if (target === 'file-system' || target === 'object-storage') return target
  throw bad('"TargetStorage" must be "file-system" or "object-storage"')
}
