/** The rows of the tables from a provider's errors to faults: s3/faults.ts, azure/faults.ts, gcs/faults.ts. */
import { Fault, type FaultCode, sameRow } from '../../fault.ts'
import type { HttpRefusal } from './dialect.ts'
import { quoteOf, retryAfter, strangersFault } from './stranger.ts'

/** `RemedyContext`: what of a store's options a remedy may name. */
export interface FaultRow<RemedyContext> {
  readonly code: FaultCode
  /** These four as in FaultOptions. */
  readonly retryable?: boolean
  readonly startOver?: boolean
  readonly doubtful?: boolean
  readonly perhapsAbsent?: (answer: HttpRefusal) => boolean
  readonly remedy?: string | ((context: RemedyContext, answer: HttpRefusal) => string)
}

export const busy = { code: 'Unavailable' } as const
/** What arrived is not what was sent. */
export const damaged = { code: 'Corrupt', retryable: true } as const
/** The same request would fail again; reading from the first byte helps. */
export const replaced: FaultRow<unknown> = {
  code: 'Corrupt',
  retryable: true,
  startOver: true,
  remedy: 'The object was replaced while it was being read. Only rotate-keys should do that.',
}

/** The server saw the connection end before the request did: MinIO and nginx say 499, load balancers of AWS 460. */
const brokenOff: FaultRow<unknown> = { code: 'Unavailable', doubtful: true }

/** What a status means where the store's text says nothing more. A status alone never proves an absence. */
export const usualStatus: Readonly<Record<number, FaultRow<unknown>>> = {
  400: { code: 'BadRequest' },
  403: { code: 'Denied' },
  408: { code: 'Timeout' },
  412: replaced,
  413: { code: 'TooLarge' },
  416: { code: 'BadRequest' },
  507: { code: 'TooLarge' },
  ...sameRow(busy, '404', '425', '429', '500', '502', '503', '504'),
  ...sameRow(brokenOff, '460', '499'),
}

/** A status in no table. Troubles of a server or gateway (5xx) pass; a feature that it lacks (501, 505) stays away. */
function unknown(status: number): FaultRow<unknown> {
  return status > 500 && status !== 501 && status !== 505 ? busy : { code: 'Internal' }
}

/**
 * A write or a listing cannot miss an object. A server that says so all the same is confused, as Ceph is between two
 * writes of one object, and it may have written.
 */
const lostItsWay = { code: 'Unavailable', doubtful: true } as const
const missesNothing = ({ verb }: HttpRefusal) => verb === 'write' || verb === 'list'

/** Requests about one object. For these, some stores answer "forbidden" when the object is absent. */
export const asksForOne = ({ verb }: HttpRefusal) => verb === 'read' || verb === 'stat'

/** `words`: the store's own; '' = it gave none. `own`: whether the answer is the store's at all. */
export function faultOfRow<RemedyContext>(
  row: FaultRow<RemedyContext> | undefined,
  words: string,
  own: boolean,
  answer: HttpRefusal,
  context: RemedyContext,
): Fault {
  if (!own) return strangersFault(answer)
  const used = row?.code === 'NotFound' && missesNothing(answer) ? lostItsWay : (row ?? unknown(answer.status))
  const { code, retryable, startOver = false, doubtful = false, perhapsAbsent, remedy }: FaultRow<RemedyContext> = used
  return new Fault(code, `${quoteOf(words) || 'the server gave no reason'} (HTTP ${answer.status})`, {
    remedy: typeof remedy === 'function' ? remedy(context, answer) : remedy,
    ...(retryable === undefined ? {} : { retryable }),
    startOver,
    doubtful,
    perhapsAbsent: perhapsAbsent?.(answer) ?? false,
    ...retryAfter(answer),
  })
}
