import { z } from 'zod'
import { flag, oneOf, text } from './values.ts'

/** SPEC section 3. */
export interface NamingConfig {
  readonly rootPath: string
  readonly structure: 'flat' | 'legacy'
  readonly legacyUnknownFiles: boolean
}

const rootPath = text().refine(path => path === '' || path.split('/').every(s => s !== '' && s !== '.' && s !== '..'), {
  error: 'a path such as "orthanc/files": not beginning or ending with "/", without empty, "." or ".." parts',
})

/** The options that every provider's section has. */
export const common = {
  RootPath: rootPath.default(''),
  StorageStructure: oneOf('flat', 'legacy').default('flat'),
  EnableLegacyUnknownFiles: flag.default(false),
  HybridMode: oneOf('Disabled', 'WriteToFileSystem', 'WriteToObjectStorage').default('Disabled'),
  MigrationFromFileSystemEnabled: flag.default(false),
  StorageEncryption: z.unknown().optional(), // encryption.ts
}

export type Common = z.output<z.ZodObject<typeof common>>

export function namingOf(o: Common): NamingConfig {
  return { rootPath: o.RootPath, structure: o.StorageStructure, legacyUnknownFiles: o.EnableLegacyUnknownFiles }
}
