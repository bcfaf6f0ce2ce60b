import { json, type Route } from '../wire/routes.ts'

/** What is known without asking anybody. */
export interface Status {
  readonly Version: string
  /** For people: where files go. */
  readonly Store: string
  /** How often the engine had to be started again since Orthanc started. */
  readonly EngineRestarts: number
}

/** `GET /cloud-storage/status`. */
export function statusRoute(status: () => Status): Route {
  return { pattern: '/cloud-storage/status', methods: { GET: async () => json(status()) } }
}
