import { collectSource, type Source } from '../bytes.ts'
import { Fault } from '../fault.ts'
import type { Orthanc } from '../orthanc.ts'
import { type Method, methods } from './upcalls.ts'

export interface RouteRequest {
  readonly method: Method
  readonly uri: string
  /** What the groups of the pattern have matched. */
  readonly groups: readonly string[]
  readonly body: Source
}

/** A body, or an error of Orthanc's, which it wraps into JSON with `Message` and `Details`, or the allowed methods. */
export type RouteAnswer =
  | { readonly status: number; readonly type: string; readonly body: Uint8Array }
  | { readonly error: number; readonly details: string }
  | { readonly allow: string }

export type Handler = (request: RouteRequest, orthanc: Orthanc, signal: AbortSignal) => Promise<RouteAnswer>

export interface Route {
  /** Matches the whole URI, in Orthanc (Perl syntax of boost) and here: use only what both understand. */
  readonly pattern: string
  /** The answer to another method is 405 with `Allow`. */
  readonly methods: Partial<Readonly<Record<Method, Handler>>>
  /** False: the handlers never ask Orthanc, so an old Orthanc can have the route, too. Default: true. */
  readonly asksOrthanc?: boolean
  /** True: monitors ask it, so the plugin itself answers 503 when the engine does not answer soon. Default: false. */
  readonly probe?: boolean
}

/** Error codes of Orthanc. Orthanc knows the HTTP status and the message of each. */
export const OrthancError = {
  plugin: 1, // 500
  badRequest: 8, // 400
  unknownResource: 17, // 404
} as const

/** The body of a request is a list of ids and some options. No larger one makes sense. */
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

/** The body as JSON. `BadRequest` when it is not JSON. */
export async function jsonOf(request: RouteRequest): Promise<unknown> {
  if (request.body.size > MAX_BODY) throw new Fault('BadRequest', `the body is larger than ${MAX_BODY} bytes`)
  const text = (await collectSource(request.body)).toString('utf8')
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Fault('BadRequest', 'the body of the request is not JSON', { cause: error })
  }
}

/** The client gets the details of its own mistakes. Details of all other faults go to the log, and it gets a code. */
function refusal(error: unknown): RouteAnswer {
  const fault = Fault.from(error)
  if (fault.code === 'BadRequest') return { error: OrthancError.badRequest, details: fault.message }
  if (fault.code === 'NotFound') return { error: OrthancError.unknownResource, details: fault.message }
  throw fault
}
