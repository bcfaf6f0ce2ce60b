/** What the engine offers Orthanc besides the storage area, made from the composition. */
import type { Composition } from './compose.ts'
import { explorer } from './explorer/script.ts'
import type { Logger } from './log.ts'
import { moveStorageRoute } from './routes/move-storage.ts'
import { readyRoute } from './routes/ready.ts'
import { metricsOf, type Status, statusRoute } from './routes/status.ts'
import { whereRoute } from './routes/where.ts'
import { version } from './version.ts'
import { Jobs } from './wire/jobs.ts'
import type { Services } from './wire/service-calls.ts'

export function servicesOf(
  { store, area, tiers, hybrid, ahead, counts }: Composition,
  engineRestarts: number,
  log: Pick<Logger, 'warn'>,
): Services {
  const moves = hybrid?.jobs
  const jobs = moves && new Jobs(moves)
  const status = (): Status => ({
    Version: version,
    Store: area.name,
    HybridMode: hybrid ? hybrid.mode : 'Disabled',
    EngineRestarts: engineRestarts,
    RunningMoves: jobs?.running.length ?? 0,
    Reads: counts.reads,
    Writes: counts.writes,
    Removals: counts.removals,
    Errors: counts.errors,
    BytesRead: counts.bytesRead,
    BytesWritten: counts.bytesWritten,
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
  return {
    area,
    routes,
    ...(jobs && { jobs }),
    ...(ahead && { background: ahead.run }),
    metrics: () => metricsOf(status()),
    explorer,
  }
}
