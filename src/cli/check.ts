import { readFileSync } from 'node:fs'
import { type ParseError, parse, printParseErrorCode } from 'jsonc-parser'
import { compose } from '../compose.ts'
import { parseConfig } from '../config/config.ts'
import { Fault } from '../fault.ts'
import { logTo } from '../log.ts'
import { say, warn } from './terminal.ts'

const CHECK_DEADLINE_MS = 60_000

export async function check(file: string, options: { connect: boolean }): Promise<void> {
  const { config, warnings } = parseConfig(JSON.stringify(readConfiguration(file)))
  for (const warning of warnings) warn(warning)
  if (!config) return say(`${file}: no section of a storage provider, the plugin would be disabled`)
  const { store } = compose(
    config,
    logTo(() => {}),
  )
  if (!options.connect) return say(`${file}: the configuration is valid, files would be stored in ${store.name}`)
  try {
    await store.check(AbortSignal.timeout(CHECK_DEADLINE_MS))
  } finally {
    await store.close()
  }
  say(`${file}: the configuration is valid and ${store.name} answers`)
}

/** Orthanc's dialect of JSON: comments are allowed. */
function readConfiguration(file: string): unknown {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new Fault('BadConfig', `cannot read ${file}: ${error instanceof Error ? error.message : error}`)
  }
  const errors: ParseError[] = []
  const value: unknown = parse(text, errors)
  const [first] = errors
  if (first) {
    const line = text.slice(0, first.offset).split('\n').length
    throw new Fault('BadConfig', `${file}, line ${line}: ${printParseErrorCode(first.error)}`, {
      remedy: 'The file is not the JSON that Orthanc reads.',
    })
  }
  return value
}
