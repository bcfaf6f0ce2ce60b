/** What the tables from a provider's errors to faults are made of: s3-faults.ts, azure-faults.ts, gcs-faults.ts. */
import { Fault, type FaultCode } from '../../fault.ts'
import type { Answer } from './dialect.ts'
import { retryAfter, saidIn, strangersFault } from './stranger.ts'

/** `Asked`: what of a store's options a remedy may name. */
export interface Row<Asked> {
  readonly code: FaultCode
  /** These four as in FaultOptions. */
  readonly retryable?: boolean
  readonly beginAnew?: boolean
  readonly doubtful?: boolean
  readonly perhapsAbsent?: (answer: Answer) => boolean
  readonly remedy?: string | ((asked: Asked, answer: Answer) => string)
}

const busy = { code: 'Unavailable' } as const
/** The same request would fail again; reading from the first byte helps. */
export const replaced: Row<unknown> = {
  code: 'Corrupt',
  retryable: true,
  beginAnew: true,
  remedy: 'The object was replaced while it was read, as rotate-keys does; nothing else should.',
}

/** Whoever answers saw the connection end before the request was done: MinIO and nginx say 499, load balancers of AWS 460. */
const cut: Row<unknown> = { code: 'Unavailable', doubtful: true }

/** What a status means where the store's words tell nothing more. A status alone never proves an absence. */
export const usualStatus: Readonly<Record<number, Row<unknown>>> = {
  400: { code: 'BadRequest' },
  403: { code: 'Denied' },
  404: busy,
  408: { code: 'Timeout' },
  412: replaced,
  413: { code: 'TooLarge' },
  416: { code: 'BadRequest' },
  425: busy,
  429: busy,
  460: cut,
  499: cut,
  500: busy,
  502: busy,
  503: busy,
  504: busy,
  507: { code: 'TooLarge' },
}

/** A status that is in no table: what a server or gateway makes of its own troubles passes, what it lacks does not. */
function unknown(status: number): Row<unknown> {
  return status > 500 && status !== 501 && status !== 505 ? busy : { code: 'Internal' }
}

/**
 * Who writes an object, or lists them all, misses none. A server that says so all the same has lost its way, as Ceph does
 * between two writes of one object; and it may have written.
 */
const lost = { code: 'Unavailable', doubtful: true } as const
const missesNothing = ({ verb }: Answer) => verb === 'write' || verb === 'list'

/** Asking about one object: here some stores say "forbidden" for what is absent. */
export const asksForOne = ({ verb }: Answer) => verb === 'read' || verb === 'stat'

/** `words`: the store's own; '' = it gave none. `own`: whether the answer is the store's at all. */
export function faultOfRow<Asked>(
  row: Row<Asked> | undefined,
  words: string,
  own: boolean,
  answer: Answer,
  asked: Asked,
): Fault {
  if (!own) return strangersFault(answer)
  const told = row?.code === 'NotFound' && missesNothing(answer) ? lost : (row ?? unknown(answer.status))
  const { code, retryable, beginAnew = false, doubtful = false, perhapsAbsent, remedy }: Row<Asked> = told
  return new Fault(code, `${saidIn(words) || 'the server gave no reason'} (HTTP ${answer.status})`, {
    remedy: typeof remedy === 'function' ? remedy(asked, answer) : remedy,
    ...(retryable === undefined ? {} : { retryable }),
    beginAnew,
    doubtful,
    perhapsAbsent: perhapsAbsent?.(answer) ?? false,
    ...retryAfter(answer),
  })
}
