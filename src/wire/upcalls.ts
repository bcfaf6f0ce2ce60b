import { Fault } from '../fault.ts'
import type { Job, Json, Orthanc } from '../orthanc.ts'
import { type Frame, unowned } from './connection.ts'
import type { Conversation } from './conversation.ts'
import { Kind, MAX_PAYLOAD } from './frames.ts'

/** Orthanc's own numbers (OrthancPluginHttpMethod). */
export const methods = { GET: 1, POST: 2, PUT: 3, DELETE: 4 } as const
export type Method = keyof typeof methods

/** The flags of a REPLY. */
const STOPPING = 1

/** Error codes of Orthanc, in answers without an HTTP status: an item or a resource is not there. */
const NOT_THERE: readonly number[] = [7, 17]
const DATABASE_UNAVAILABLE = 36

/** Priorities are signed, the arguments of frames are not. */
const PRIORITY_ZERO = 2 ** 31

/**
 * Orthanc, for the time of one call. A rejection needs no handler: the caller may be gone when the call ends. `types`:
 * of jobs, in the order of their numbers.
 */
export function orthancDuring(conversation: Conversation, types: readonly string[] = []): Orthanc {
  async function request(method: Method, uri: string, body: string, signal: AbortSignal): Promise<Json | undefined> {
    const reply = await conversation.ask(Kind.upcall, { flags: methods[method] }, [uri, body], signal)
    if (reply.status === 404 || NOT_THERE.includes(reply.argument)) return undefined
    return parsed(checked(reply, `${method} ${uri}`))
  }

  async function post(uri: string, body: Json, signal: AbortSignal): Promise<Json> {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const answer = await request('POST', uri, text, signal)
    if (answer === undefined) throw new Fault('NotFound', `Orthanc has no ${uri}`)
    return answer
  }

  async function submit(job: Job, priority: number, signal: AbortSignal): Promise<string> {
    if (!Number.isInteger(priority) || Math.abs(priority) >= PRIORITY_ZERO)
      throw new Fault('BadRequest', `a priority is a 32-bit integer, not ${priority}`)
    const fields = { argument: PRIORITY_ZERO + priority, flags: Math.max(0, types.indexOf(job.type ?? '')) }
    const reply = await conversation.ask(Kind.submit, fields, textsOf(job), signal)
    return checked(reply, 'the submission of a job').toString('utf8')
  }

  return {
    get: (uri, signal) => unowned(request('GET', uri, '', signal)),
    post: (uri, body, signal) => unowned(post(uri, body, signal)),
    submit: (job, priority, signal) => unowned(submit(job, priority, signal)),
  }
}

/** What Orthanc keeps of a job: its content and its serialized state. */
export function textsOf(job: Job): [string, string] {
  return [JSON.stringify(job.content()), JSON.stringify(job.serialize())]
}

function checked(reply: Frame, what: string): Buffer {
  const { status, argument, flags, payload } = reply
  if (flags & STOPPING) throw new Fault('Canceled', 'Orthanc is stopping')
  if (status >= 200 && status < 300) return payload
  const answered = `Orthanc answered ${what} with ${status ? `HTTP ${status}` : `its error ${argument}`}`
  if (status === 413) throw new Fault('TooLarge', `Orthanc's answer to ${what} is larger than ${MAX_PAYLOAD} bytes`)
  if (status === 503 || argument === DATABASE_UNAVAILABLE) throw new Fault('Unavailable', answered)
  throw new Fault(status >= 400 && status < 500 ? 'BadRequest' : 'Internal', answered)
}

function parsed(body: Buffer): Json {
  if (body.byteLength === 0) return null
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw new Fault('Internal', "Orthanc's answer is not JSON", { cause: error })
  }
}
