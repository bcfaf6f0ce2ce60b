/**
 * What fuzzing has found, kept as files: `corpus/<target>/<name>.json` holds one input that once broke one claim. Every
 * run begins with these. Inputs are plain data; what JSON cannot say is written as an object with one field that begins
 * with `$`.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const folder = join(import.meta.dirname, 'corpus')

interface Kept {
  readonly claim: string
  readonly input: unknown
}

/** The inputs that once broke a claim, as fast-check takes them for examples. */
export function examplesOf(target: string, claim: string): [unknown][] {
  return keptOf(target)
    .filter(kept => kept.claim === claim)
    .map(({ input }) => input as [unknown])
}

export function keptOf(target: string): readonly Kept[] {
  const place = join(folder, target)
  if (!existsSync(place)) return []
  const names = readdirSync(place).filter(name => name.endsWith('.json'))
  return names.sort().map(name => decode(JSON.parse(readFileSync(join(place, name), 'utf8'))) as Kept)
}

/** Returns the file, from the repository's root on. The same input of the same claim is the same file. */
export function keep(target: string, claim: string, input: unknown): string {
  const text = `${JSON.stringify(encode({ claim, input }), undefined, 2)}\n`
  const name = `${createHash('sha256').update(text).digest('hex').slice(0, 12)}.json`
  mkdirSync(join(folder, target), { recursive: true })
  const path = join(folder, target, name)
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path) // another process may be reading what is kept
  return join('test', 'fuzz', 'corpus', target, name)
}

export function encode(value: unknown): unknown {
  if (value === undefined) return { $undefined: true }
  if (typeof value === 'bigint') return { $bigint: String(value) }
  if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0)))
    return { $number: Object.is(value, -0) ? '-0' : String(value) }
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString('hex') }
  if (Array.isArray(value)) return value.map(encode)
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value).map(([name, field]) => [name, encode(field)] as const)
  // A field of the input itself that begins so, or that JavaScript takes for the prototype, must come back as it is.
  if (fields.some(([name]) => name.startsWith('$') || name === '__proto__')) return { $fields: fields }
  return Object.fromEntries(fields)
}

export function decode(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(decode)
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value)
  const [[mark, said] = ['', '']] = fields
  if (mark === '$undefined') return undefined
  if (mark === '$bigint') return BigInt(said)
  if (mark === '$number') return Number(said)
  if (mark === '$bytes') return Buffer.from(said, 'hex')
  if (mark === '$fields')
    return Object.fromEntries((said as [string, unknown][]).map(([name, field]) => [name, decode(field)]))
  return Object.fromEntries(fields.map(([name, field]) => [name, decode(field)]))
}
