/**
 * Orthanc's configuration as Orthanc itself reads it: JSON with comments, `${VARIABLE}` and `${VARIABLE:-default}` from
 * the environment, one file or all *.json of a folder, whose sections must all be different. Inside Orthanc the plugin
 * gets the result; the command line starts from the files.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser'
import { type EngineConfig, parseConfig, parseDisk } from '../config/config.ts'
import type { DiskConfig } from '../config/hybrid.ts'
import { type PostgresqlConfig, parsePostgresql } from '../config/postgresql.ts'
import { Fault } from '../fault.ts'
import { folderOf } from '../orthanc-folder.ts'
import { fileFault } from './file-fault.ts'
import { note, warn } from './terminal.ts'

/** The engine's configuration; undefined when no section of ours is there. Prints its warnings. */
export function readConfig(paths: readonly string[]): EngineConfig | undefined {
  const { config, warnings, notes } = parseConfig(mergedText(paths), folderOf(paths[0] ?? ''))
  for (const warning of warnings) warn(warning)
  for (const line of notes) note(line)
  return config
}

/** Orthanc's own disk, where no provider has its files. */
export function readDisk(paths: readonly string[]): DiskConfig {
  return parseDisk(mergedText(paths), folderOf(paths[0] ?? ''))
}

/** Where Orthanc's index is; undefined when it is not in PostgreSQL. */
export function readPostgresql(paths: readonly string[]): PostgresqlConfig | undefined {
  return parsePostgresql(mergedText(paths))
}

interface Section {
  readonly file: string
  /** As it is written, so that numbers which JavaScript would round stay what they are. */
  readonly json: string
}

function mergedText(paths: readonly string[]): string {
  const sections = new Map<string, Section>()
  for (const file of paths.flatMap(filesAt))
    for (const [name, json] of sectionsOf(file)) {
      const other = sections.get(name)
      if (other) {
        const what = json.startsWith('{') ? 'section' : 'option'
        throw new Fault('BadConfig', `the ${what} "${name}" is in two files, ${other.file} and ${file}`, {
          remedy: 'Orthanc refuses that: remove one of them.',
        })
      }
      sections.set(name, { file, json })
    }
  return `{${[...sections].map(([name, { json }]) => `${JSON.stringify(name)}:${json}`).join(',')}}`
}

function filesAt(path: string): readonly string[] {
  return reading(path, () => {
    if (!statSync(path).isDirectory()) return [path]
    const names = readdirSync(path).filter(name => /\.json$/i.test(name))
    const files = names.map(name => join(path, name)).filter(file => statSync(file).isFile())
    if (files.length === 0) throw new Fault('BadConfig', `there is no *.json in the folder ${path}`)
    return files.sort()
  })
}

function sectionsOf(file: string): readonly (readonly [string, string])[] {
  const text = substituted(reading(file, () => readFileSync(file, 'utf8')))
  const errors: ParseError[] = []
  const root = treeOf(file, text, errors)
  const [first] = errors
  if (first) {
    const line = text.slice(0, first.offset).split('\n').length
    throw notOrthancs(`${file}, line ${line}: ${WORDS[printParseErrorCode(first.error)] ?? 'this is no JSON'}`)
  }
  if (root?.type !== 'object') throw notOrthancs(`${file} is not a JSON object`)
  return (root.children ?? []).flatMap(({ children: [name, value] = [] }) =>
    name && value ? [[name.value, written(text, value)] as const] : [],
  )
}

/** As it is written, but without comments and without a comma too many. */
function written(text: string, { type, offset, length, children = [] }: Node): string {
  const all = children.map(child => written(text, child))
  switch (type) {
    case 'object':
      return `{${all.join(',')}}`
    case 'array':
      return `[${all.join(',')}]`
    case 'property':
      return all.join(':')
    default:
      return text.slice(offset, offset + length)
  }
}

/** For the names that the parser has for what is wrong. */
const WORDS: Readonly<Record<string, string>> = {
  InvalidSymbol: 'a word is neither in quotation marks nor true, false or null',
  InvalidNumberFormat: 'a number is not written as JSON has it',
  PropertyNameExpected: 'the name of an option is missing, or is not in quotation marks',
  ValueExpected: 'a value is missing',
  ColonExpected: 'a colon is missing after the name of an option',
  CommaExpected: 'a comma is missing before this',
  CloseBraceExpected: 'a closing brace is missing',
  CloseBracketExpected: 'a closing bracket is missing',
  EndOfFileExpected: 'there is something after the end of the JSON object',
  UnexpectedEndOfComment: 'a comment does not end',
  UnexpectedEndOfString: 'a text has no closing quotation mark',
  InvalidEscapeCharacter: 'a text has a backslash that JSON does not have',
  InvalidCharacter: 'a text has a character that JSON does not allow there',
}

function treeOf(file: string, text: string, errors: ParseError[]) {
  try {
    return parseTree(text, errors, { allowTrailingComma: true }) // as Orthanc does
  } catch (error) {
    if (error instanceof RangeError) throw notOrthancs(`${file} is nested too deeply`) // each level is a call
    throw error
  }
}

function substituted(text: string): string {
  return text.replace(
    /\$\{([^{}:]+)(?::-([^{}]*))?\}/g,
    (_whole, name: string, otherwise = '') => process.env[name] ?? otherwise,
  )
}

function reading<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw fileFault('read', path, error)
  }
}

function notOrthancs(message: string): Fault {
  return new Fault('BadConfig', message, { remedy: 'The file is not the JSON that Orthanc reads.' })
}
