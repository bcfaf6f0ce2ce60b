import type { Fault } from '../fault.ts'
import { json, type Route, type RouteAnswer } from '../wire/router.ts'
import { sharedLook } from './look.ts'

/** The store that Orthanc cannot work without. */
export interface Watched {
  readonly store: string
  /** When it last served us, by `now`; undefined = never since this engine started. */
  servedAt(): number | undefined
  /** One cheap question, whose success `servedAt` shows, too. */
  check(signal: AbortSignal): Promise<void>
  readonly warn: (line: string) => void
}

export interface ReadyOptions {
  readonly now?: () => number
  readonly lookMs?: number
}

/** So long after the store has served us, nobody asks it. No question comes sooner after another one, either. */
const FRESH_MS = 10_000
/** So long after the store has served us, this Orthanc is ready. */
const READY_MS = 30_000
/** The longest that a probe waits. The plugin waits a second longer for us. */
const LOOK_MS = 4_000

/**
 * `GET /cloud-storage/ready`, for load balancers and Kubernetes: 200, or 503 with the reason. Ordinary work that the
 * store has just done for us is an answer. `watched`: undefined = Orthanc works without a store, so only the engine
 * must serve.
 */
export function readyRoute(watched: Watched | undefined, options: ReadyOptions = {}): Route {
  const answer = watched ? watcher(watched, options) : async () => json({ Ready: true })
  return { pattern: '/cloud-storage/ready', asksOrthanc: false, probe: true, methods: { GET: answer } }
}

function watcher(watched: Watched, { now = () => performance.now(), lookMs = LOOK_MS }: ReadyOptions) {
  const { store, warn } = watched
  const startedAt = now()
  const look = sharedLook(watched.check, lookMs)
  let lookedAt = Number.NEGATIVE_INFINITY
  let looking: Promise<Fault | undefined> = Promise.resolve(undefined)
  let saidReady = true

  const age = () => now() - (watched.servedAt() ?? Number.NEGATIVE_INFINITY)

  /** Why not, or undefined. */
  async function problem(): Promise<Fault | undefined> {
    if (age() >= FRESH_MS && now() - lookedAt >= FRESH_MS) {
      lookedAt = now()
      looking = look().then(fault => fault?.at({ verb: 'use', store }))
    }
    if (age() < READY_MS) return undefined // the next probe sees what the look finds
    const fault = await looking
    return age() < READY_MS ? undefined : fault
  }

  return async (): Promise<RouteAnswer> => {
    const fault = await problem()
    if (saidReady !== !fault)
      warn(fault ? `not ready, which readiness probes are told: ${fault.describe()}` : `ready again: ${store} answers`)
    saidReady = !fault
    if (!fault) return json({ Ready: true, Store: store })
    const silence = now() - (watched.servedAt() ?? startedAt)
    const since = new Date(Date.now() - silence).toISOString()
    return {
      ...json({ Ready: false, Store: store, Since: since, Problem: fault.code, Details: fault.describe() }),
      status: 503,
    }
  }
}
