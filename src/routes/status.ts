import { Fault } from '../fault.ts'
import { json, type Route } from '../wire/router.ts'

/** What the engine knows without a question to a store or to Orthanc. */
export interface Status {
  readonly Version: string
  /** Where files go, for people. */
  readonly Store: string
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
}

/** A readiness probe does not wait longer. */
const CHECK_MS = 5000

/**
 * `GET /cloud-storage/status`. `check` proves that the object store answers and accepts our credentials. Requests that
 * come during a check, also during one that hangs, share it.
 */
export function statusRoute(
  status: () => Status,
  check: (signal: AbortSignal) => Promise<void>,
  checkMs = CHECK_MS,
): Route {
  let asked: Promise<Fault | undefined> | undefined

  function problem(): Promise<Fault | undefined> {
    asked ??= check(AbortSignal.timeout(checkMs))
      .then(() => undefined, Fault.from)
      .finally(() => {
        asked = undefined
      })
    return asked
  }

  /** A disk that hangs does not heed signals. */
  async function problemInTime(): Promise<Fault | undefined> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<Fault>(resolve => {
      timer = setTimeout(() => resolve(new Fault('Timeout', 'the store does not answer')), checkMs)
    })
    return Promise.race([problem(), late]).finally(() => clearTimeout(timer))
  }

  return {
    pattern: '/cloud-storage/status',
    asksOrthanc: false,
    methods: {
      async GET() {
        const fault = await problemInTime()
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
