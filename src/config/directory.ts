import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { common, type Read, tidy } from './common.ts'
import { section } from './reading.ts'
import { requiredText } from './values.ts'

export interface DirectoryConfig {
  readonly kind: 'directory'
  readonly path: string
}

export const directorySchema = z.object({
  Path: requiredText('an absolute path').refine(isAbsolute, { error: 'an absolute path' }),
  ...common,
})

/** `name`: of the section, which is `value`. */
export function readDirectory(name: string, value: unknown, warnings: string[]): Read<DirectoryConfig> {
  const options = section(directorySchema, name, value, warnings)
  const shared = { ...options, RootPath: tidy(options.RootPath) }
  return { provider: { kind: 'directory', path: options.Path }, common: shared }
}
