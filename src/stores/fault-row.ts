/** What the tables from a provider's errors to faults are made of: s3-faults.ts, azure-faults.ts, gcs-faults.ts. */
import { Fault, type FaultCode } from '../fault.ts'
import type { Answer } from './dialect.ts'

/** `Asked`: what of a store's options a remedy may name. */
export interface Row<Asked> {
  readonly code: FaultCode
  /** As in FaultOptions. */
  readonly retryable?: boolean
  readonly remedy?: string | ((asked: Asked, answer: Answer) => string)
}

const busy = { code: 'Unavailable' } as const

/** What a status means where nothing more is known. */
export const usualStatus: Readonly<Record<number, Row<unknown>>> = {
  400: { code: 'BadRequest' },
  403: { code: 'Denied' },
  404: { code: 'NotFound' },
  408: { code: 'Timeout' },
  412: { code: 'Corrupt', remedy: 'The object was replaced while it was read; objects of Orthanc never are.' },
  413: { code: 'TooLarge' },
  416: { code: 'BadRequest' },
  429: busy,
  500: busy,
  502: busy,
  503: busy,
  504: busy,
  507: { code: 'TooLarge' },
}

/** `words`: the provider's own; '' = it gave none. */
export function faultOfRow<Asked>(row: Row<Asked> | undefined, words: string, answer: Answer, asked: Asked): Fault {
  const { code, retryable, remedy } = row ?? { code: 'Internal' as const }
  const retryAfter = Number(answer.headers['retry-after'])
  return new Fault(code, `${words || 'the server gave no reason'} (HTTP ${answer.status})`, {
    remedy: typeof remedy === 'function' ? remedy(asked, answer) : remedy,
    ...(retryable === undefined ? {} : { retryable }),
    ...(retryAfter > 0 ? { retryAfterMs: retryAfter * 1000 } : {}),
  })
}
