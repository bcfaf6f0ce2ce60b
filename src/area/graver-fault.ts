import { Fault, type FaultCode } from '../fault.ts'

/** From grave to harmless: of two faults, a person must see the first one here. An outage is no absence. */
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

/** One fault for two: the graver one, with both reasons. Of two absences it is the first. */
export function graver(first: Fault, second: Fault): Fault {
  const [main, other] = gravity.indexOf(second.code) < gravity.indexOf(first.code) ? [second, first] : [first, second]
  if (other.code === 'NotFound') return main
  return new Fault(main.code, `${main.message}; and ${other.describe()}`, {
    where: main.where,
    cause: new AggregateError([first, second]),
    remedy: main.remedy || other.remedy,
    retryable: first.retryable || second.retryable,
    retryAfterMs: main.retryAfterMs,
  })
}

/** Waits for both, also when one fails. Then it rejects with the graver of the faults, if any. */
export async function both(first: Promise<void>, second: Promise<void>): Promise<void> {
  const faults = (await Promise.all([first, second].map(done => done.then(() => undefined, Fault.from)))).filter(
    fault => fault !== undefined,
  )
  const [one, two] = faults
  if (one) throw two ? graver(one, two) : one
}
