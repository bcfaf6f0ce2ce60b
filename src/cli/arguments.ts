/** How the command line understands what is given to its options. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { Fault } from '../fault.ts'
import type { RateLimit } from '../stores/wrappers/rate-limit.ts'
import { ageOf } from '../verify/age.ts'

export const several =
  <T>(parse: (text: string) => T) =>
  (text: string, before: readonly T[] | undefined): readonly T[] => [...(before ?? []), parse(text)]

export const CONFIG = "Orthanc's configuration: a file or a folder of *.json; may be given several times"

/** Milliseconds. */
export function age(text: string): number {
  const milliseconds = ageOf(text)
  if (milliseconds === undefined)
    throw new InvalidArgumentError('It is a number of minutes, hours or days, such as 90m, 24h or 7d.')
  return milliseconds
}

export function concurrency(text: string): number {
  const count = Number(text)
  if (!/^\d+$/.test(text) || count < 1 || count > 256) throw new InvalidArgumentError('It is a number from 1 to 256.')
  return count
}

export function count(text: string): number {
  const number = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number)) throw new InvalidArgumentError('It is a whole number.')
  return number
}

const UNITS: Readonly<Record<string, number>> = { '': 1, KB: 1e3, MB: 1e6, GB: 1e9 }

/** `--rate-limit`, given once or twice: `200/s` is objects, `50MB/s` is bytes. */
export function rateLimit(text: string, before: RateLimit = {}): RateLimit {
  const [, number = '', unit = ''] = /^(\d{1,9}(?:\.\d{1,3})?)\s?([kmg]?b?)\/s$/i.exec(text.trim()) ?? []
  const rate = Number(number) * (UNITS[unit.toUpperCase()] ?? Number.NaN)
  if (number === '' || !(rate >= 1))
    throw new InvalidArgumentError('It is a number of objects or bytes a second, such as 200/s or 50MB/s.')
  return unit === '' ? { ...before, objects: rate } : { ...before, bytes: Math.round(rate) }
}

/** For a command of bulk work. */
export const rateLimitOption = (description = 'such as 200/s (objects) or 50MB/s; may be given twice') =>
  new Option('--rate-limit <RATE>', description).argParser(rateLimit)

/** `--older-than`, `--settle`. */
export const ageOption = (flags: string, description: string, milliseconds: number, shown: string) =>
  new Option(flags, description).argParser(age).default(milliseconds, shown)

/** A command whose options do not fit together was not understood. `check` throws a Fault that says why. */
export function mustFit(command: Command, check: () => void): void {
  try {
    check()
  } catch (error) {
    const { message, remedy } = Fault.from(error)
    command.error(`error: ${message}${remedy ? `. ${remedy}` : ''}`)
  }
}
