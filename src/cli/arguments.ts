/** How the command line understands what is given to its options. */
import { InvalidArgumentError, Option } from 'commander'
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

/** `--older-than`, `--settle`. */
export const ageOption = (flags: string, description: string, milliseconds: number, shown: string) =>
  new Option(flags, description).argParser(age).default(milliseconds, shown)
