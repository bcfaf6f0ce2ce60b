import { Fault } from '../fault.ts'
import { ageOf } from '../verify/age.ts'

/** What is to be verified, and how: as it is asked for, saved and shown. */
export interface VerifyRequest {
  readonly [name: string]: string | boolean
  readonly Digests: boolean
  readonly Deep: boolean
  /** Such as `24h`. */
  readonly OlderThan: string
  /** Such as `1m`. */
  readonly Settle: string
}

export const REQUEST_NAMES: readonly string[] = ['Digests', 'Deep', 'OlderThan', 'Settle']

/** What is not given is as on the command line. Throws `BadRequest`. */
export function requestOf(given: Readonly<Record<string, unknown>>): VerifyRequest {
  const flag = (name: string) => {
    const value = given[name] ?? false
    if (typeof value === 'boolean') return value
    throw bad(`"${name}" must be true or false`)
  }
  return {
    Digests: flag('Digests'),
    Deep: flag('Deep'),
    OlderThan: age('OlderThan', hours(given['OlderThan'] ?? '24h')),
    Settle: age('Settle', given['Settle'] ?? '1m'),
  }
}

/** A number is one of hours. */
const hours = (value: unknown) => (typeof value === 'number' ? `${value}h` : value)

function age(name: string, value: unknown): string {
  if (typeof value === 'string' && ageOf(value) !== undefined) return value
  throw bad(`"${name}" must be a number of minutes, hours or days, such as "90m", "24h" or "7d"`)
}

const bad = (message: string) => new Fault('BadRequest', message)
