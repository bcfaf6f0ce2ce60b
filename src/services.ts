/** What the engine offers Orthanc besides the storage area, made from the composition. */
import type { CacheFigures, Composition } from './compose.ts'
import { explorer } from './explorer/script.ts'
import type { Logger } from './log.ts'
import { prefetchJobs } from './prefetch/job.ts'
import { moveStorageRoute } from './routes/move-storage.ts'
import { prefetchRoute } from './routes/prefetch.ts'
import { readyRoute } from './routes/ready.ts'
import { metricsOf, type Status, statusRoute } from './routes/status.ts'
import { verifyRoute } from './routes/verify.ts'
import { whereRoute } from './routes/where.ts'
import { version } from './version.ts'
import { Jobs } from './wire/jobs.ts'
import type { Services } from './wire/service-calls.ts'

export function servicesOf(
  {
    store,
    identity,
    rootPath,
    area,
    withoutAhead,
    prefetchedAtOnce,
    verifications,
    tiers,
    hybrid,
    ahead,
    counts,
    deletions,
    cache,
  }: Composition,
  engineRestarts: number,
  log: Pick<Logger, 'warn' | 'error'>,
): Services {
  const moves = hybrid?.jobs
  const prefetches =
    cache &&
    prefetchJobs({
      area: withoutAhead,
      isOn: () => cache.on,
      concurrency: prefetchedAtOnce,
      error: line => log.error(line),
    })
  const kinds = [moves, prefetches, verifications].filter(kind => kind !== undefined)
  const [first = verifications, ...others] = kinds
  const jobs = new Jobs(first, ...others)
  const status = (): Status => ({
    Version: version,
    Store: area.name,
    StoreIdentity: identity,
    RootPath: rootPath,
    HybridMode: hybrid ? hybrid.mode : 'Disabled',
    EngineRestarts: engineRestarts,
    RunningMoves: jobs.running.filter(({ type }) => type === moves?.type).length,
    Reads: counts.reads,
    Writes: counts.writes,
    Removals: counts.removals,
    Errors: counts.errors,
    BytesRead: counts.bytesRead,
    BytesWritten: counts.bytesWritten,
    PendingDeletions: deletions?.status.pending ?? 0,
    OldestDeletionSeconds: Math.floor((deletions?.status.oldestMs ?? 0) / 1000),
    DeletionFindings: deletions?.status.findings ?? 0,
    ...cacheStatus(cache?.figures()),
    FetchedAhead: ahead?.counts.fetched ?? 0,
    FetchedAheadUsed: ahead?.counts.used ?? 0,
    FetchedAheadUnused: ahead?.counts.unused ?? 0,
    BytesFetchedAhead: ahead?.counts.bytes ?? 0,
    BytesHeldAhead: ahead?.held ?? 0,
  })
  const check = (signal: AbortSignal) => store.check(signal, { purpose: 'status' })
  const watched = {
    store: store.name,
    servedAt: () => counts.servedAt,
    check,
    warn: (line: string) => log.warn(line),
  }
  // New files go to the disk: an Orthanc without its store still receives, and shows most of what was received lately.
  const needsStore = hybrid?.mode !== 'WriteToFileSystem'
  const routes = [statusRoute(status, check), readyRoute(needsStore ? watched : undefined), whereRoute(tiers)]
  if (moves) routes.push(moveStorageRoute(moves))
  routes.push(
    prefetchRoute(prefetches, () => cache?.on === true),
    verifyRoute(verifications),
  )
  return {
    area,
    routes,
    jobs,
    ...(ahead && { background: ahead.run }),
    metrics: () => metricsOf(status()),
    explorer,
  }
}

function cacheStatus(figures: CacheFigures | undefined) {
  const { hits = 0, misses = 0, files = 0, bytes = 0, evictions = 0, dropped = 0 } = figures ?? {}
  return {
    Cache: figures ? (figures.on ? 'On' : 'Off') : 'Disabled',
    CacheHits: hits,
    CacheMisses: misses,
    CacheFiles: files,
    CacheBytes: bytes,
    CacheEvictions: evictions,
    CacheDropped: dropped,
  } as const
}
