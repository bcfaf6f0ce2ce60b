import { json, type Route } from '../wire/router.ts'
import { sharedLook } from './look.ts'

/** What the engine knows without a question to a store or to Orthanc. */
export interface Status {
  readonly Version: string
  /** Where files go, for people. */
  readonly Store: string
  /** Where the object store is, as one text that another store cannot have; and the root path of its keys. */
  readonly StoreIdentity: string
  readonly RootPath: string
  readonly HybridMode: 'Disabled' | 'WriteToFileSystem' | 'WriteToObjectStorage'
  /** How often an engine was started again since Orthanc started. The counts below belong to the running engine. */
  readonly EngineRestarts: number
  readonly RunningMoves: number
  readonly Reads: number
  readonly Writes: number
  readonly Removals: number
  readonly Errors: number
  readonly BytesRead: number
  readonly BytesWritten: number
  /** Removals that Orthanc was promised and that are not sent yet, the age of the oldest, and what was given up. */
  readonly PendingDeletions: number
  readonly OldestDeletionSeconds: number
  readonly DeletionFindings: number
  /** Of the cache on disk. `Off`: its disk or folder cannot be used now. */
  readonly Cache: 'Disabled' | 'On' | 'Off'
  readonly CacheHits: number
  readonly CacheMisses: number
  readonly CacheFiles: number
  readonly CacheBytes: number
  readonly CacheEvictions: number
  readonly CacheDropped: number
  /** Files that were read ahead, those of them that Orthanc then read, and those that were dropped before it did. */
  readonly FetchedAhead: number
  readonly FetchedAheadUsed: number
  readonly FetchedAheadUnused: number
  readonly BytesFetchedAhead: number
  /** In memory now, and on their way to it. */
  readonly BytesHeldAhead: number
}

/** Nobody who looks at the status waits longer. */
const CHECK_MS = 5000

/**
 * `GET /cloud-storage/status`. `check` proves that the object store answers and accepts our credentials.
 */
export function statusRoute(
  status: () => Status,
  check: (signal: AbortSignal) => Promise<void>,
  checkMs = CHECK_MS,
): Route {
  const problem = sharedLook(check, checkMs)
  return {
    pattern: '/cloud-storage/status',
    asksOrthanc: false,
    methods: {
      async GET() {
        const fault = await problem()
        return json({ ...status(), Reachable: fault === undefined, ...(fault && { Problem: fault.code }) })
      },
    },
  }
}

const prometheus: Readonly<Partial<Record<keyof Status, string>>> = {
  EngineRestarts: 'engine_restarts',
  RunningMoves: 'running_moves',
  Reads: 'reads',
  Writes: 'writes',
  Removals: 'removals',
  Errors: 'errors',
  BytesRead: 'bytes_read',
  BytesWritten: 'bytes_written',
  PendingDeletions: 'pending_deletions',
  OldestDeletionSeconds: 'oldest_deletion_seconds',
  DeletionFindings: 'deletion_findings',
  CacheHits: 'cache_hits',
  CacheMisses: 'cache_misses',
  CacheFiles: 'cache_files',
  CacheBytes: 'cache_bytes',
  CacheEvictions: 'cache_evictions',
  CacheDropped: 'cache_dropped',
  FetchedAhead: 'fetched_ahead',
  FetchedAheadUsed: 'fetched_ahead_used',
  FetchedAheadUnused: 'fetched_ahead_unused',
  BytesFetchedAhead: 'bytes_fetched_ahead',
  BytesHeldAhead: 'bytes_held_ahead',
}

/** The figures of the status, for `/tools/metrics-prometheus`. */
export function metricsOf(status: Status): ReadonlyMap<string, number> {
  const names = Object.entries(prometheus) as [keyof Status, string][]
  return new Map(names.map(([figure, name]) => [`orthanc_cloud_storage_${name}`, Number(status[figure])]))
}
