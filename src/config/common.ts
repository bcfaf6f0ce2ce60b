import { z } from 'zod'
import { flag, oneOf, text } from './values.ts'

/**
 * Joined to a name as the official plugin does it: a slash comes between, unless there is one at the end. Nothing else
 * of the path changes. ".." is refused: no request with it arrives as it was signed, with the official plugin neither.
 */
const rootPath = text()
  .refine(path => !path.startsWith('/') && !path.split('/').includes('..'), {
    error: 'a path such as "orthanc/files": not beginning with "/", without ".."',
    abort: true,
  })
  .refine(path => !path.includes('\0'), { error: 'a path without broken characters' })
  .transform(path => path.replace(/\/$/, ''))

/** The options that every provider's section has. */
export const common = {
  RootPath: rootPath.default(''),
  StorageStructure: oneOf('flat', 'legacy').default('flat'),
  EnableLegacyUnknownFiles: flag.default(false),
  HybridMode: z.preprocess(
    given => (typeof given === 'string' && given.trim().toLowerCase() === 'disabled' ? 'Disabled' : given),
    oneOf('Disabled', 'WriteToFileSystem', 'WriteToObjectStorage').default('Disabled'),
  ),
  MigrationFromFileSystemEnabled: flag.default(false),
  StorageEncryption: z.unknown().optional(), // encryption.ts
  NamingScheme: z
    .undefined({
      error:
        'left out: this plugin has only the names of StorageStructure. It would neither find nor remove objects with other names',
    })
    .optional(),
}

export type Common = z.output<z.ZodObject<typeof common>>

/** What a provider's section says: of the provider, and of what all providers have in common. */
export interface Read<Provider> {
  readonly provider: Provider
  readonly common: Common
}

/** A warning that `option` names a storage class whose objects cannot be read at once. */
export function archiveWarning(option: string, value: string): string {
  return `${option} is "${value}": Orthanc cannot read such objects before somebody has restored them, which takes hours`
}

/** A path as libraries send it: without some parts, by default empty ones and ".". */
export function tidy(path: string, without: readonly string[] = ['', '.']): string {
  return path
    .split('/')
    .filter(part => !without.includes(part))
    .join('/')
}

/** What names objects: docs/contract.md, "Object keys". */
export type NamingConfig = Readonly<ReturnType<typeof namingOf>>
export function namingOf(o: Common) {
  return { rootPath: o.RootPath, structure: o.StorageStructure, legacyUnknownFiles: o.EnableLegacyUnknownFiles }
}
