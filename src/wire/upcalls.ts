import type { Host, Job, Json } from '../area/host.ts'
import { Fault } from '../fault.ts'
import type { Frame } from './connection.ts'
import { Kind, MAX_PAYLOAD } from './frames.ts'
import type { Turns } from './turns.ts'

/** Orthanc's own numbers (OrthancPluginHttpMethod). */
export const methods = { GET: 1, POST: 2, PUT: 3, DELETE: 4 } as const
export type Method = keyof typeof methods

/** REPLY's flags. */
const STOPPING = 1

/** Orthanc's error codes, for answers that have no HTTP status: an item or a resource is not there. */
const NOT_THERE: readonly number[] = [7, 17]
const DATABASE_UNAVAILABLE = 36

/** Priorities are signed, arguments are not. */
const PRIORITY_ZERO = 2 ** 31

/** Orthanc, for the time of one call. */
export function hostOf(turns: Turns): Host {
  const request = async (method: Method, uri: string, body: string, signal: AbortSignal): Promise<Json | undefined> => {
    const reply = await turns.ask(Kind.upcall, { flags: methods[method] }, [uri, body], signal)
    if (reply.status === 404 || NOT_THERE.includes(reply.argument)) return undefined
    return parsed(checked(reply, `${method} ${uri}`))
  }

  return {
    get: (uri, signal) => request('GET', uri, '', signal),

    async post(uri, body, signal) {
      const answer = await request('POST', uri, JSON.stringify(body), signal)
      if (answer === undefined) throw new Fault('NotFound', `Orthanc knows no ${uri}`)
      return answer
    },

    async submit(job, priority, signal) {
      if (!Number.isInteger(priority) || Math.abs(priority) >= PRIORITY_ZERO)
        throw new Fault('BadRequest', `a priority is a 32-bit integer, not ${priority}`)
      const fields = { argument: PRIORITY_ZERO + priority }
      const reply = await turns.ask(Kind.submit, fields, textsOf(job), signal)
      return checked(reply, 'the submission of a job').toString('utf8')
    },
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
