/** From JSON text to checked options, with messages that name the option's path and never show a secret. */
import { closest, distance } from 'fastest-levenshtein'
import type { z } from 'zod'
import { Fault } from '../fault.ts'

const aliases: Readonly<Record<string, string>> = { ConnectTimeout: 'ConnectionTimeout' }
const secrets = /(Keys?|HttpProxy|ConnectionString|ServiceAccountFile)([.[]|$)/
const UNSET_BY_IMAGE = 'MUST BE DEFINED BY YOU' // what the usual Docker image fills in for options

export function bad(message: string): Fault {
  return new Fault('BadConfig', message)
}

/** Numbers that a JavaScript number cannot hold exactly, such as a secret of 20 digits, are kept as they are written. */
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
    throw new Fault('BadConfig', "Orthanc's configuration is not JSON", { cause })
  }
  if (!isObject(root)) throw bad("Orthanc's configuration is not a JSON object")
  return root
}

/** What nobody has defined counts as absent; nor has who left it empty, as a variable of the environment often is. */
export function isUnset(value: unknown): boolean {
  return (
    value === undefined || value === null || (typeof value === 'string' && ['', UNSET_BY_IMAGE].includes(value.trim()))
  )
}

/** Checks one section, after its aliases were renamed and its unknown options warned of. */
export function section<T extends z.ZodObject>(
  schema: T,
  name: string,
  value: unknown,
  warnings: string[],
): z.output<T> {
  if (!isObject(value)) throw bad(`${name} is ${kindOf(value)}, but must be an object`)
  const options: Record<string, unknown> = {}
  const known = Object.keys(schema.shape)
  for (const [given, content] of Object.entries(value)) {
    const alias = aliases[given]
    const option = alias && known.includes(alias) && isUnset(value[alias]) ? alias : given
    // Files may not be stored plain because a placeholder was left where encryption was meant.
    if (isUnset(content) && option !== 'StorageEncryption') continue
    if (known.includes(option)) options[option] = content
    else warnings.push(`${name}.${given} is not an option of this plugin and is ignored${nearest(given, known)}`)
  }
  return checked(schema, name, options)
}

export function checked<T extends z.ZodObject>(schema: T, name: string, value: Record<string, unknown>): z.output<T> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const steps = issue?.path ?? []
  const path = steps.reduce<string>(
    (above, step) =>
      typeof step === 'number' ? `${above}[${step}]` : above ? `${above}.${String(step)}` : String(step),
    name,
  )
  const given = steps.reduce<unknown>((at, step) => (at as Record<PropertyKey, unknown> | undefined)?.[step], value)
  if (given === undefined) throw bad(`${path} is missing; it must be ${issue?.message}`)
  const values = issue?.code === 'invalid_value' ? issue.values.map(String) : []
  const meant = issue?.message ?? ''
  throw bad(`${path} is ${shown(path, given, meant)}, but must be ${meant}${nearest(String(given), values)}`)
}

/** One line for each section whose name is nearly one of `ours`. */
export function* misspelt(root: Record<string, unknown>, ours: readonly string[]): Iterable<string> {
  for (const given of Object.keys(root)) {
    const near = closest(
      given.trim().toLowerCase(),
      ours.map(name => name.toLowerCase()),
    )
    const right = ours.find(name => name.toLowerCase() === near)
    if (right && !ours.includes(given) && distance(given.trim().toLowerCase(), near) <= 2)
      yield `the section "${given}" is ignored; did you mean "${right}"?`
  }
}

function nearest(given: string, known: readonly string[]): string {
  if (known.length === 0) return ''
  const near = closest(given, known)
  return distance(given.toLowerCase(), near.toLowerCase()) <= Math.max(2, near.length / 3)
    ? `; did you mean ${near}?`
    : ''
}

/**
 * A value as a message may show it: never a secret, never long. Users, passwords and signatures hide in URLs, too; and what
 * stands where a whole section or a list is `meant`, or is one where none is, may hold anything.
 */
function shown(path: string, value: unknown, meant: string): string {
  if (secrets.test(path)) return 'a secret that is not shown'
  if (typeof value === 'object' || /^(an object|an array|a list|\[)/.test(meant)) return kindOf(value)
  const json = typeof value === 'string' ? JSON.stringify(bared(value)) : String(value)
  return json.length > 100 ? `${json.slice(0, 100)}...` : json
}

/** What has nothing in it is shown as it is. */
function kindOf(value: unknown): string {
  if (typeof value === 'string') return 'a string'
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) return JSON.stringify(value)
  return Array.isArray(value) ? 'an array' : 'an object'
}

/** Without what may be a secret in a URL or connection string. */
function bared(text: string): string {
  return text.replace(/^.*@/s, '...@').replace(/([?#]|%3f|\b(sig|AccountKey|SharedAccessSignature)=).*$/is, '?...')
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const member of Object.values(value)) freeze(member)
    Object.freeze(value)
  }
  return value
}
