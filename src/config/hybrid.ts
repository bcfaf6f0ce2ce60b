import { isAbsolute } from 'node:path'
import type { Common } from './common.ts'
import { bad } from './reading.ts'

/** SPEC section 5. */
export interface HybridConfig {
  readonly writesTo: 'file-system' | 'object-storage'
  /** Orthanc's `StorageDirectory`: where it kept its files before, in a layout of its own. */
  readonly directory: string
  /** Orthanc's `SyncStorageArea`. */
  readonly sync: boolean
}

/** Orthanc's own options about its files on disk. */
export interface DiskOptions {
  readonly StorageDirectory?: string | undefined
  readonly SyncStorageArea: boolean
}

const tiers = { WriteToFileSystem: 'file-system', WriteToObjectStorage: 'object-storage' } as const

/** `name`: of the provider's section. undefined = everything is in the object store. */
export function hybridOf(name: string, o: Common, disk: DiskOptions, warnings: string[]): HybridConfig | undefined {
  let mode = o.HybridMode
  if (o.MigrationFromFileSystemEnabled) {
    const instead = mode === 'Disabled' ? ': it is taken for HybridMode "WriteToObjectStorage"' : ' and ignored'
    warnings.push(`${name}.MigrationFromFileSystemEnabled is deprecated${instead}`)
    if (mode === 'Disabled') mode = 'WriteToObjectStorage'
  }
  if (mode === 'Disabled') return undefined
  const directory = disk.StorageDirectory
  // Orthanc takes a relative one from the folder of its configuration file, which the engine does not know.
  if (directory === undefined || !isAbsolute(directory))
    throw bad(
      `StorageDirectory is ${directory === undefined ? 'missing' : JSON.stringify(directory)}, but must be an absolute path ` +
        `for ${name}.HybridMode: the folder in which Orthanc keeps its files`,
    )
  return { writesTo: tiers[mode], directory, sync: disk.SyncStorageArea }
}
