/** From JSON text to checked options, with messages that name the option's path and never show a secret. */
import type { z } from 'zod'
import { Fault, isObject } from '../fault.ts'
import { didYouMean, kindOf, nearest, quoted, shown } from './shown.ts'

export const aliases: Readonly<Record<string, string>> = { ConnectTimeout: 'ConnectionTimeout' }
const UNSET_BY_IMAGE = 'MUST BE DEFINED BY YOU' // what the usual Docker image fills in for options
/** No value of use is larger, and some patterns would take very long for one that is. */
const LONGEST_TEXT = 10_000
const MOST_MEMBERS = 1_000
const DEEPEST = 8

export function bad(message: string): Fault {
  return new Fault('BadConfig', message)
}

/** A number that JavaScript cannot hold exactly, such as a secret of 20 digits, is kept as it is written. */
export function readJson(json: string): Record<string, unknown> {
  let root: unknown
  try {
    root = JSON.parse(json, (_name, value, context?: { source?: string }) =>
      typeof value === 'number' && context?.source !== undefined && String(value) !== context.source
        ? Number.isSafeInteger(value)
          ? value
          : context.source
        : value,
    )
  } catch (cause) {
    const why = cause instanceof RangeError ? 'nested too deeply' : 'not JSON'
    throw new Fault('BadConfig', `Orthanc's configuration is ${why}`, { cause })
  }
  if (!isObject(root)) throw bad("Orthanc's configuration is not a JSON object")
  return root
}

/** An option that is not defined counts as absent. So does an empty one, which environment variables often make. */
export function isUnset(value: unknown): boolean {
  return (
    value === undefined || value === null || (typeof value === 'string' && ['', UNSET_BY_IMAGE].includes(value.trim()))
  )
}

/** Checks one section. First its aliases are renamed, and there is a warning for each unknown option. */
export function section<T extends z.ZodObject>(
  schema: T,
  name: string,
  value: unknown,
  warnings: string[],
): z.output<T> {
  if (!isObject(value)) refuseImpossible(name, value)
  if (!isObject(value)) throw bad(`${name} is ${kindOf(value)}, but must be an object`)
  const options: Record<string, unknown> = {}
  const known = Object.keys(schema.shape)
  for (const [given, content] of Object.entries(value)) {
    const alias = aliases[given]
    const option = alias && known.includes(alias) && isUnset(value[alias]) ? alias : given
    // Files may not be stored plain because a placeholder was left where encryption was meant.
    if (isUnset(content) && option !== 'StorageEncryption') continue
    if (known.includes(option)) options[option] = content
    else ignored(name, given, known, warnings)
  }
  return checked(schema, name, options)
}

/** Whether an option was most probably meant to be StorageEncryption. */
export function meansEncryption(given: string): boolean {
  return /^storage[^a-z]?encrypt/i.test(given) || nearest(given, ['StorageEncryption']) !== undefined
}

function ignored(name: string, given: string, known: readonly string[], warnings: string[]): void {
  const line = `${name}.${quoted(given)} is not an option of this plugin`
  // The files would be stored plain.
  if (known.includes('StorageEncryption') && meansEncryption(given))
    throw bad(`${line}; did you mean StorageEncryption?`)
  warnings.push(`${line} and is ignored${didYouMean(given, known)}`)
}

/**
 * Throws for values that no option can have: too long, too many members, too deep, or with half a character, which can
 * be neither sent nor signed.
 */
function refuseImpossible(path: string, value: unknown, depth = 0): void {
  if (typeof value === 'string' && value.length > LONGEST_TEXT)
    throw bad(`${path} has ${value.length} characters, but must not have more than ${LONGEST_TEXT}`)
  const names = typeof value === 'object' && value !== null ? Object.keys(value) : []
  if ([value, ...names].some(text => typeof text === 'string' && !text.isWellFormed()))
    throw bad(`${path} has broken characters: type it again`)
  if (typeof value !== 'object' || value === null) return
  const members = Object.values(value)
  if (members.length > MOST_MEMBERS)
    throw bad(`${path} has ${members.length} members, but must not have more than ${MOST_MEMBERS}`)
  if (depth > DEEPEST) throw bad(`${path} is nested too deeply`)
  for (const member of members) refuseImpossible(path, member, depth + 1)
}

export function checked<T extends z.ZodObject>(schema: T, name: string, value: Record<string, unknown>): z.output<T> {
  for (const option of Object.keys(schema.shape)) refuseImpossible(name ? `${name}.${option}` : option, value[option])
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const steps = issue?.path ?? []
  const path = steps.reduce<string>(
    (above, step) =>
      typeof step === 'number' ? `${above}[${step}]` : [above, quoted(String(step))].filter(Boolean).join('.'),
    name,
  )
  const given = steps.reduce<unknown>((at, step) => (at as Record<PropertyKey, unknown> | undefined)?.[step], value)
  if (given === undefined) throw bad(`${path} is missing; it must be ${issue?.message}`)
  const values = issue?.code === 'invalid_value' ? issue.values.map(String) : []
  const meant = issue?.message ?? ''
  const near = typeof given === 'string' ? didYouMean(given, values) : ''
  throw bad(`${path} is ${shown(path, given, meant)}, but must be ${meant}${near}`)
}

/** One line for each section whose name is nearly one of `ours`. */
export function* misspelt(root: Record<string, unknown>, ours: readonly string[]): Iterable<string> {
  for (const given of Object.keys(root)) {
    const right = ours.includes(given) ? undefined : nearest(given.trim(), ours, () => 2)
    if (right) yield `the section "${quoted(given)}" is ignored; did you mean "${right}"?`
  }
}

export function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const member of Object.values(value)) freeze(member)
    Object.freeze(value)
  }
  return value
}
