/**
 * JSON as nobody should write it: wrong types, names of JavaScript's own, names that come twice, deep and long values.
 */
import { fc } from '../support/property.ts'

const scalars = [
  'null',
  'true',
  'false',
  '0',
  '-0',
  '-1',
  '1.5',
  '1e308',
  '1e999',
  '9007199254740993',
  '2147483648',
  '""',
]
const strings = ['ü', '\u0000', '\ud800', '../..', '__proto__', 'A'.repeat(5000), '\u2028\'"<&%00']
const protos = ['__proto__', 'constructor', 'toString', 'valueOf', 'toJSON', 'then', 'length', '']

/** Characters of a value with many values: enough to show whether time or depth grows with them. */
const LARGEST = 200_000

/**
 * The text of any JSON value. `names` and `values` are what the reader looks for: without them it would look at nothing
 * else.
 */
export function oddJson(names: readonly string[], values: readonly unknown[] = []): fc.Arbitrary<string> {
  const name = fc.constantFrom(...names, ...names, ...protos)
  const scalar = fc.oneof(
    fc.constantFrom(...scalars),
    fc.constantFrom(...values, ...strings).map(value => JSON.stringify(value)),
    fc.string({ maxLength: 20, unit: 'binary' }).map(value => JSON.stringify(value)),
  )
  const { any } = fc.letrec<{ any: string; field: string }>(tie => ({
    any: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      { weight: 5, arbitrary: scalar },
      { weight: 2, arbitrary: fc.array(tie('any'), { maxLength: 4 }).map(items => `[${items.join(',')}]`) },
      { weight: 3, arbitrary: fc.array(tie('field'), { maxLength: 6 }).map(fields => `{${fields.join(',')}}`) },
      { weight: 1, arbitrary: fc.tuple(fc.constantFrom('[', '{"a":'), fc.constantFrom(3, 30_000)).map(nested) },
      { weight: 1, arbitrary: fc.tuple(scalar, fc.constantFrom(3, 20_000)).map(many) },
    ),
    field: fc.tuple(name, tie('any')).map(([key, value]) => `${JSON.stringify(key)}:${value}`),
  }))
  return any
}

const nested = ([open, depth]: [string, number]) => `${open.repeat(depth)}1${(open === '[' ? ']' : '}').repeat(depth)}`
const many = ([item, count]: [string, number]) => `[${`${item},`.repeat(Math.min(count, LARGEST / item.length))}1]`

/** Changes of a text: at a place, so many characters make way for others. */
export const edits = fc.array(
  fc.record({ at: fc.nat(), gone: fc.nat(3), text: fc.string({ maxLength: 3, unit: 'binary' }) }),
  { maxLength: 3 },
)

export function edited(text: string, changes: readonly { at: number; gone: number; text: string }[]): string {
  let result = text
  for (const { at, gone, text } of changes) {
    const place = at % (result.length + 1)
    result = result.slice(0, place) + text + result.slice(place + gone)
  }
  return result
}

/** A JSON value with some of its inner values replaced by the text of others. `at` counts the values in order. */
export function replaced(value: unknown, changes: readonly (readonly [at: number, text: string])[]): string {
  let count = 0
  const total = countOf(value)
  const texts = new Map(changes.map(([at, text]) => [at % total, text]))
  const write = (part: unknown): string => {
    const text = texts.get(count++)
    if (text !== undefined) return text
    if (Array.isArray(part)) return `[${part.map(write).join(',')}]`
    if (typeof part !== 'object' || part === null) return JSON.stringify(part)
    return `{${Object.entries(part)
      .map(([name, field]) => `${JSON.stringify(name)}:${write(field)}`)
      .join(',')}}`
  }
  return write(value)
}

function countOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 1
  return Object.values(value).reduce((sum: number, part) => sum + countOf(part), 1)
}
