import type { FaultCode } from '../fault.ts'

/** What Orthanc answers its HTTP client. The details are in Orthanc's log, because they must not leave the machine. */
interface HttpReply {
  /** The number of the fault on the socket, and of the error code that the plugin registers. */
  readonly number: number
  readonly http: number
  readonly message: string
}

const see = "see Orthanc's log for the cause"

export const httpReplies: Readonly<Record<FaultCode, HttpReply>> = {
  NotFound: { number: 1, http: 404, message: `The file is not in the object storage: ${see}` },
  Denied: { number: 2, http: 502, message: `The object storage refuses Orthanc's credentials or permissions: ${see}` },
  Corrupt: { number: 3, http: 502, message: `The object storage delivered damaged bytes: ${see}` },
  Unavailable: { number: 4, http: 503, message: `The object storage is not available now: ${see}` },
  Timeout: { number: 5, http: 504, message: `The object storage did not answer in time: ${see}` },
  TooLarge: { number: 6, http: 507, message: `The object storage has no room for the file: ${see}` },
  BadRequest: { number: 7, http: 400, message: `The object storage cannot answer such a request: ${see}` },
  BadConfig: { number: 8, http: 500, message: `The configuration of the object storage must be changed: ${see}` },
  Canceled: { number: 9, http: 503, message: `The operation on the object storage was given up: ${see}` },
  Archived: {
    number: 11,
    http: 409,
    message: `The file is archived in the object storage and must be restored first: ${see}`,
  },
  Internal: { number: 10, http: 500, message: `The object storage plugin met an unforeseen problem: ${see}` },
}
