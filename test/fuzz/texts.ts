/** Texts and values in JSON that nobody would write on purpose. */
import { fc } from '../support/property.ts'

const MB = 1024 * 1024

/** Each breaks something somewhere: a line, a path, a URL, a header, a number, a pattern. */
const ODD = [
  '',
  ' ',
  '\t',
  '\n',
  '\0',
  '\u001b[31m',
  '\r\nforged line',
  'a\0b',
  '/a\0b',
  'é',
  '日本',
  '\u200b',
  '\ud800',
  '\u202e',
  'null',
  'true',
  'True',
  'false',
  '[]',
  '{}',
  'NaN',
  'Infinity',
  '-1',
  '-0',
  '0.5',
  '1e308',
  '1e999',
  '0x10',
  '010',
  ' 3 ',
  '9007199254740993',
  'MUST BE DEFINED BY YOU',
  '..',
  '.',
  '/',
  '//',
  'a/../b',
  '/etc/passwd',
  'toString',
  '__proto__',
  'constructor',
  '%',
  '%zz',
  '%00',
  '?',
  '#',
  '@',
  ':',
  ';',
  '=',
  ';;=;',
  '*',
  '[',
  '[::1]',
  '[fe80::1%eth0]',
  '$&',
  "$'",
  'http://',
  'https://',
  'http:///',
  '://',
  'http://a b/',
  'http://u:p@h/',
  'https://h?sig=x',
  'https://h:99999',
  'http://[::1]:9000',
  'https://images.h.example',
  'https://h.blob.x/images',
  'ftp://h',
  'file:///etc/passwd',
  'HTTPS://H/',
  'http://127.0.0.1:1/x',
  'http://a..b',
  'http://xn--',
  'https://h\\x',
  'arn:aws:s3:::b',
  'arn:',
  'arn:aws:s3:eu-west-1:123456789012:accesspoint/ap',
  's3://b/folder',
  'gs://b',
  'b--x-s3',
  'eu west 1',
  'eu-west-1/',
  'eu-west-1.',
  'x#y',
  'x?y',
  'x@y',
  'x:y',
  'fe80::1%eth0',
  'fe80::1%eth0/64',
  '10.0.0.0/8',
  '10.0.0.0/33',
  '1.2.3.4/',
  '::/0',
  'a/8',
  '1.2.3.4:80:90',
] // prettier-ignore

/** So long that a pattern which looks at a text again from each of its characters does not come to an end. */
const LONG = [
  'a',
  ' ',
  '/',
  '.blob.',
  ':',
  '-',
  'a-',
  '\\',
  ';a=',
  '%',
  '.',
  '@',
  '<',
  ',a/8',
  '🦴',
  '=',
  '0',
  '9',
  '\n',
]
const long = fc
  .record({
    head: fc.constantFrom('', 'http://h', 'https://', '/', 'arn:aws:s3:', '\n'),
    unit: fc.constantFrom(...LONG),
  })
  .map(({ head, unit }) => `${head}${unit.repeat(MB / unit.length)}\nx`)

export const oddText = fc.constantFrom(...ODD)
export const text = fc.oneof(
  { arbitrary: oddText, weight: 60 },
  { arbitrary: fc.string({ unit: 'binary', maxLength: 40 }), weight: 20 },
  { arbitrary: fc.string({ maxLength: 40 }), weight: 20 },
  { arbitrary: fc.tuple(oddText, fc.string({ maxLength: 8 }), oddText).map(parts => parts.join('')), weight: 30 },
  { arbitrary: fc.webUrl({ withQueryParameters: true, withFragments: true }), weight: 10 },
  { arbitrary: long, weight: 1 },
)

const number = fc.constantFrom(
  '0',
  '1',
  '-1',
  '0.5',
  '1e308',
  '-1e308',
  '1e400',
  '4294967296',
  '9007199254740993',
  '5',
  '-0',
  '1E3',
)
const hard = fc.constantFrom(
  '{"toString": 1}',
  '{"toString": null, "valueOf": null}',
  '{"__proto__": {"a": 1}}',
  '{"constructor": {"prototype": 1}}',
  '{"length": 1e9}',
  '[null]',
  '[[1, "/k"], [1, "/k"]]',
  '[[]]',
  '{"then": 1}',
  '{"toJSON": 1}',
) // prettier-ignore
const deep = fc
  .record({ open: fc.constantFrom('[', '{"a":'), depth: fc.constantFrom(10, 500, 3000, 5000, 10_000) })
  .map(({ open, depth }) => `${open.repeat(depth)}1${(open === '[' ? ']' : '}').repeat(depth)}`)
const huge = fc.constantFrom('1', '"a"', 'null', '[]', '{}').map(one => `[${`${one},`.repeat(20_000)}${one}]`)

/**
 * JSON as text, so that duplicate names, deep nesting and odd numbers are what they are. `mark` is in every string of
 * it.
 */
export function anyJson(mark = ''): fc.Arbitrary<string> {
  const string = text.map(value => JSON.stringify(`${value}${mark}`))
  const leaf = fc.oneof(
    { arbitrary: fc.constantFrom('null', 'true', 'false'), weight: 1 },
    { arbitrary: number, weight: 1 },
    { arbitrary: string, weight: 4 },
  )
  return fc.oneof(
    { arbitrary: leaf, weight: 120 },
    { arbitrary: fc.array(leaf, { maxLength: 4 }).map(all => `[${all.join(',')}]`), weight: 20 },
    {
      arbitrary: fc
        .array(fc.tuple(string, leaf), { maxLength: 4 })
        .map(all => `{${all.map(([name, value]) => `${name}:${value}`).join(',')}}`),
      weight: 20,
    },
    { arbitrary: hard, weight: 20 },
    { arbitrary: deep, weight: 4 },
    { arbitrary: huge, weight: 1 },
  )
}
