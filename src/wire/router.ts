import { collectSource, type Source } from '../bytes.ts'
import { Fault } from '../fault.ts'
import type { Orthanc } from '../orthanc.ts'
import { type Method, methods } from './upcalls.ts'

export interface RouteRequest {
  readonly method: Method
  readonly uri: string
  /** What the groups of the route's pattern matched. */
  readonly groups: readonly string[]
  readonly body: Source
}

/** A body, or one of Orthanc's own errors, which Orthanc wraps into JSON with `Message` and `Details`. */
export type RouteAnswer =
  | { readonly status: number; readonly type: string; readonly body: Uint8Array }
  | { readonly error: number; readonly details: string }
  | { readonly allow: string }

export type Handler = (request: RouteRequest, orthanc: Orthanc, signal: AbortSignal) => Promise<RouteAnswer>

export interface Route {
  /** Matches the whole URI, in Orthanc (Perl syntax, by boost) and here: keep to what both understand. */
  readonly pattern: string
  /** Any other method is answered with 405 and `Allow`. */
  readonly methods: Partial<Readonly<Record<Method, Handler>>>
  /** False: its handlers never ask Orthanc, so that an old Orthanc has the route, too. Default: true. */
  readonly asksOrthanc?: boolean
}

/** Error codes of Orthanc, which know their HTTP status and message. */
export const OrthancError = {
  plugin: 1, // 500
  badRequest: 8, // 400
  unknownResource: 17, // 404
} as const

/** A request's body is configuration or a list of ids; no larger one makes sense. */
const MAX_BODY = 64 * 1024 * 1024

export async function answerRequest(
  routes: readonly Route[],
  request: Omit<RouteRequest, 'groups' | 'method'> & { readonly method: number },
  orthanc: Orthanc,
  signal: AbortSignal,
): Promise<RouteAnswer> {
  for (const route of routes) {
    const match = new RegExp(`^(?:${route.pattern})$`).exec(request.uri)
    if (!match) continue
    const method = names.find(name => methods[name] === request.method)
    const handler = method && route.methods[method]
    if (!handler) return { allow: Object.keys(route.methods).join(',') }
    const groups = match.slice(1).map(group => group ?? '')
    return await handler({ ...request, method, groups }, orthanc, signal).catch(refusal)
  }
  return { error: OrthancError.unknownResource, details: '' }
}

const names = Object.keys(methods) as Method[]

export function json(value: unknown): RouteAnswer {
  return { status: 200, type: 'application/json', body: Buffer.from(`${JSON.stringify(value, undefined, 3)}\n`) }
}

/** The body as JSON. `BadRequest` when it is none. */
export async function jsonOf(request: RouteRequest): Promise<unknown> {
  if (request.body.size > MAX_BODY) throw new Fault('BadRequest', `the body is larger than ${MAX_BODY} bytes`)
  const text = (await collectSource(request.body)).toString('utf8')
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Fault('BadRequest', 'the body of the request is not JSON', { cause: error })
  }
}

/** What the caller did wrong is told to the caller; what went wrong here is for the log, with a code for the caller. */
function refusal(error: unknown): RouteAnswer {
  const fault = Fault.from(error)
  if (fault.code === 'BadRequest') return { error: OrthancError.badRequest, details: fault.message }
  if (fault.code === 'NotFound') return { error: OrthancError.unknownResource, details: fault.message }
  throw fault
}
