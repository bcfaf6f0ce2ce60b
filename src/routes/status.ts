import { Fault } from '../fault.ts'
import { json, type Route } from '../wire/routes.ts'

/** What is known without asking anybody. */
export interface Status {
  readonly Version: string
  /** Where files go, for people. */
  readonly Store: string
  readonly HybridMode: 'Disabled' | 'WriteToFileSystem' | 'WriteToObjectStorage'
  /** How often the engine had to be started again since Orthanc started. The counts are those of the engine that runs. */
  readonly EngineRestarts: number
  readonly RunningMoves: number
  readonly Reads: number
  readonly Writes: number
  readonly Removals: number
  readonly Errors: number
  readonly BytesRead: number
  readonly BytesWritten: number
}

/** A readiness probe does not wait longer. */
const CHECK_MS = 5000

/** `GET /cloud-storage/status`. `check` proves that the object store answers and lets us in. */
export function statusRoute(status: () => Status, check: (signal: AbortSignal) => Promise<void>): Route {
  return {
    pattern: '/cloud-storage/status',
    asksOrthanc: false,
    methods: {
      async GET(_request, _host, signal) {
        const fault = await check(AbortSignal.any([signal, AbortSignal.timeout(CHECK_MS)])).then(
          () => undefined,
          Fault.from,
        )
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
}

/** The figures of the status, for `/tools/metrics-prometheus`. */
export function metricsOf(status: Status): ReadonlyMap<string, number> {
  const names = Object.entries(prometheus) as [keyof Status, string][]
  return new Map(names.map(([figure, name]) => [`orthanc_cloud_storage_${name}`, Number(status[figure])]))
}
