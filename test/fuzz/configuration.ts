/**
 * Orthanc's configuration: whatever somebody writes there is taken or refused in one line, and never half understood.
 */
import assert from 'node:assert/strict'
import { distance } from 'fastest-levenshtein'
import { compose } from '../../src/compose.ts'
import { type Parsed, parseConfig } from '../../src/config/config.ts'
import { Fault } from '../../src/fault.ts'
import { logTo } from '../../src/log.ts'
import { fc } from '../support/property.ts'
import type { Claims } from './claim.ts'
import {
  isProvider,
  isSecret,
  MARK,
  type Option,
  options,
  providers,
  type Section,
  written,
} from './configuration-samples.ts'
import { isOneLine } from './lines.ts'
import { anyJson, text } from './texts.ts'

interface Change {
  /** Such as `AwsS3Storage.BucketName`. */
  readonly option: string
  /** As it stands in the file; '' = the option is taken out. */
  readonly json: string
}
const nameOf = ({ section, name }: Option) => `${section}.${name}`
const byName = new Map(options.map(option => [nameOf(option), option]))

function changeOf(option: Option): fc.Arbitrary<Change> {
  const json = fc.oneof(
    { arbitrary: anyJson(isSecret(option.name) ? MARK : ''), weight: 5 },
    { arbitrary: fc.constantFrom(...option.right), weight: 3 },
    { arbitrary: fc.constant(''), weight: 1 },
  )
  return fc.record({ option: fc.constant(nameOf(option)), json })
}
const some = fc.record({
  whole: fc.uniqueArray(fc.constantFrom(...providers), { minLength: 1, maxLength: 2 }),
  changes: fc.array(fc.constantFrom(...options).chain(changeOf), { minLength: 1, maxLength: 4 }),
})

/** Sections that have all they need, with the changes made to them. */
function changed(whole: readonly Section[], changes: readonly Change[]): string {
  const sections = new Map<Section, Map<string, string>>()
  const at = (section: Section) => {
    const found = sections.get(section) ?? new Map<string, string>()
    sections.set(section, found)
    return found
  }
  for (const { section, name, right, needed } of options)
    if (needed && whole.includes(section)) at(section).set(name, String(right[0]))
  for (const { option, json } of changes) {
    const { section, name } = byName.get(option) as Option
    if (json === '') at(section).delete(name)
    else at(section).set(name, json)
  }
  return written(sections)
}

/** What is made of a text, or how it is refused; anything else is a finding. */
function outcome(json: string): Parsed | Fault {
  try {
    return parseConfig(json, '/etc/orthanc', '1.13.0')
  } catch (error) {
    assert.ok(error instanceof Fault && error.code === 'BadConfig', `not refused, but: ${error}`)
    return error
  }
}

function sound(found: Parsed | Fault): Parsed | Fault {
  for (const line of found instanceof Fault ? [found.describe()] : [...found.warnings, ...found.notes]) {
    assert.ok(isOneLine(line), `no short line: ${JSON.stringify(line.slice(0, 3000))}`)
    assert.ok(!line.includes(MARK), `shows a secret: ${line}`)
  }
  return found
}

const silent = logTo(() => {})

/** The object graph can be made of what is accepted; what it finds wrong with a file it says like everything else. */
async function composed({ config }: Parsed): Promise<void> {
  if (!config) return
  try {
    const { store, hybrid } = compose(config, silent)
    await store.close()
    await hybrid?.fileSystem.close()
  } catch (error) {
    assert.ok(error instanceof Fault && error.code === 'BadConfig', `cannot be composed: ${error}`)
    assert.ok(isOneLine(error.describe()), error.describe())
  }
}

/** A refusal begins with, or names, what it is about. */
const NAMES = new RegExp(
  `\\b(${[...new Set(options.map(({ name }) => name)), ...providers].join('|')}|CloudStorage|configuration)\\b`,
)

/** What turns encryption off on purpose. */
function isOff(json: string): boolean {
  const value = JSON.parse(json)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.keys(value).length === 0 || /^\s*(false|0)\s*$/i.test(String(value.Enable))
}

const aSecret = fc.constantFrom(
  `https://user:${MARK}@h.example/`,
  `user:${MARK}@h`,
  `https://h.example/b?sig=${MARK}`,
  `https://h/%3Fsv=1&sig=${MARK}`,
  `AccountName=a;AccountKey=${MARK}`,
  `BlobEndpoint=https://h/;SharedAccessSignature=sig=${MARK}`,
  `{"private_key": "${MARK}"}`,
  `s3://user:${MARK}@h/b/c`,
  `https://h/b/?X-Amz-Signature=${MARK}`,
  `//user:${MARK}@h`,
  `https://h/#${MARK}`,
  `arn:aws:s3:::b?sig=${MARK}`,
  `http://u:${MARK}@h:99999/`,
  `-----BEGIN PRIVATE KEY-----${MARK}`,
) // prettier-ignore

/** One slip of the fingers. */
const slip = fc.record({ at: fc.nat({ max: 40 }), how: fc.constantFrom('drop', 'double', 'swap', 'case') })
function slipped(name: string, { at, how }: { readonly at: number; readonly how: string }): string {
  const i = at % name.length
  const [before, c, after] = [name.slice(0, i), name.charAt(i), name.slice(i + 1)]
  if (how === 'drop') return before + after
  if (how === 'double') return before + c + c + after
  if (how === 'swap') return before + after.slice(0, 1) + c + after.slice(1)
  return before + (c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase()) + after
}

/** Ours, by their sections. */
const inSections = options.filter(
  ({ section, name }) => (isProvider(section) || section === 'CloudStorage') && name !== 'ConnectTimeout', // an old name
)

export const claims: Claims = {
  'a configuration is taken or refused in short lines that name an option and show no secret': {
    runs: 1_500,
    property: fc.asyncProperty(some, async ({ whole, changes }) => {
      const json = changed(whole, changes)
      const found = sound(outcome(json))
      if (found instanceof Fault) assert.match(found.message, NAMES)
      else await composed(found)
      const again = outcome(json)
      if (found instanceof Fault) assert.equal((again as Fault).message, found.message)
      else assert.deepEqual(again, found)
    }),
  },

  'each option takes what is right for it and refuses or ignores what is not, in a line with its own name': {
    runs: 1_000,
    property: fc.asyncProperty(fc.constantFrom(...options).chain(changeOf), async change => {
      const { section, name } = byName.get(change.option) as Option
      const whole = isProvider(section) ? (section as (typeof providers)[number]) : 'AwsS3Storage'
      const found = sound(outcome(changed([whole], [change])))
      if (!(found instanceof Fault)) return composed(found)
      assert.ok(
        [name, section, 'nested too deeply'].some(words => found.message.includes(words)),
        found.message,
      )
    }),
  },

  'encryption that is asked for in whatever form is refused or done': {
    runs: 1_000,
    property: fc.property(
      fc.constantFrom(...providers),
      fc.constantFrom('', 'CloudStorage', 'its own'),
      fc.oneof(anyJson(), fc.constant('{"MasterKey": [1, "/etc/orthanc/key"]}')),
      (provider, place, json) => {
        const option = `${provider}.StorageEncryption`
        const whole = changed([provider], place === 'its own' ? [{ option, json }] : []).slice(1)
        const other = `"StorageEncryption": ${json}`
        const before = place === '' ? `${other}, ` : place === 'its own' ? '' : `"${place}": {${other}}, `
        const found = sound(outcome(`{${before}${whole}`))
        if (found instanceof Fault || json.length > 1000 || isOff(json)) return
        assert.equal(found.config?.encryption?.enabled, true, 'files would be stored plain')
      },
    ),
  },

  'a misspelt option is told with the right name, and misspelt encryption is refused': {
    runs: 500,
    property: fc.property(fc.constantFrom(...inSections), slip, (option, how) => {
      const { section, name, right } = option
      const given = slipped(name, how)
      const known = inSections.filter(other => other.section === section).map(other => other.name)
      fc.pre(!known.includes(given) && given !== '')
      const whole = isProvider(section) ? section : 'DirectoryStorage'
      const json = changed([whole], []).replace(/^\{/, '')
      const text = isProvider(section)
        ? `{${json.replace(`"${section}": {`, `"${section}": {${JSON.stringify(given)}: ${right[0]}, `)}`
        : `{"${section}": {${JSON.stringify(given)}: ${right[0]}}, ${json}`
      const found = sound(outcome(text))
      const lines = found instanceof Fault ? [found.message] : found.warnings
      if (name === 'StorageEncryption') assert.ok(found instanceof Fault, 'files would be stored plain')
      const near = Math.min(...known.map(other => distance(given.toLowerCase(), other.toLowerCase())))
      const nearest = known.filter(other => distance(given.toLowerCase(), other.toLowerCase()) === near)
      assert.ok(
        nearest.some(other => lines.some(line => line.includes(`did you mean ${other}?`))),
        lines.join('\n'),
      )
    }),
  },

  'a secret in a place where it does not belong is shown nowhere': {
    runs: 500,
    property: fc.asyncProperty(
      fc.constantFrom(...options),
      aSecret,
      fc.constantFrom('', 'list', 'object'),
      async (option, secret, wrap) => {
        const value = JSON.stringify(secret)
        const json = wrap === 'list' ? `[${value}]` : wrap === 'object' ? `{"a": ${value}}` : value
        const found = sound(
          outcome(
            changed([isProvider(option.section) ? option.section : 'AwsS3Storage'], [{ option: nameOf(option), json }]),
          ),
        )
        if (!(found instanceof Fault)) await composed(found)
      },
    ),
  },

  'any text in place of a configuration is taken or refused in one line': {
    runs: 1_000,
    property: fc.property(
      fc.oneof(text, anyJson()),
      fc.constantFrom(...providers),
      fc.array(fc.tuple(fc.nat(), fc.nat({ max: 12 }), text), { maxLength: 3 }),
      fc.boolean(),
      (any, provider, edits, sample) => {
        let json = sample ? changed([provider], []) : any
        if (sample)
          for (const [at, length, put] of edits)
            json = json.slice(0, at % json.length) + put + json.slice((at % json.length) + length)
        sound(outcome(json))
      },
    ),
  },
}
