import { Fault, type FaultCode } from '../fault.ts'

/** From grave to harmless: what a person must hear of when two tiers fail in two ways. An outage is no absence. */
const gravity: readonly FaultCode[] = [
  'Corrupt',
  'Internal',
  'BadConfig',
  'Denied',
  'Archived',
  'TooLarge',
  'Unavailable',
  'Timeout',
  'BadRequest',
  'Canceled',
  'NotFound',
]

/** One fault for two: the graver one's code, place and remedy, and both reasons. Of two absences the first is told. */
export function graver(first: Fault, second: Fault): Fault {
  const [told, other] = gravity.indexOf(second.code) < gravity.indexOf(first.code) ? [second, first] : [first, second]
  if (other.code === 'NotFound') return told
  return new Fault(told.code, `${told.message}; and ${other.describe()}`, {
    where: told.where,
    cause: new AggregateError([first, second]),
    remedy: told.remedy || other.remedy,
    retryable: first.retryable || second.retryable,
    retryAfterMs: told.retryAfterMs,
  })
}

/** Both, whatever becomes of the other; then the graver of the faults, if any. */
export async function both(first: Promise<void>, second: Promise<void>): Promise<void> {
  const faults = (await Promise.all([first, second].map(done => done.then(() => undefined, Fault.from)))).filter(
    fault => fault !== undefined,
  )
  const [one, two] = faults
  if (one) throw two ? graver(one, two) : one
}
