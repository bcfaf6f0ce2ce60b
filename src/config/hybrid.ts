import { isAbsolute, join } from 'node:path'
import type { Common } from './common.ts'
import { bad } from './reading.ts'
import { shown } from './shown.ts'

/** Orthanc's own disk. */
export interface DiskConfig {
  /** Orthanc's `StorageDirectory`: where it kept its files before, in a layout of its own. */
  readonly directory: string
  /** Orthanc's `SyncStorageArea`. */
  readonly sync: boolean
}

/** A hybrid mode: docs/contract.md, "Hybrid modes". */
export interface HybridConfig extends DiskConfig {
  readonly writesTo: 'file-system' | 'object-storage'
}

/** Orthanc's own options about its files on disk. */
export interface DiskOptions {
  readonly StorageDirectory?: string | undefined
  readonly SyncStorageArea: boolean
}

const tiers = { WriteToFileSystem: 'file-system', WriteToObjectStorage: 'object-storage' } as const

/** Orthanc's own default, which its configuration does not show. */
export const DEFAULT_DIRECTORY = 'OrthancStorage'

/**
 * undefined = everything is in the object store. `name`: of the provider's section; `folder`: where relative paths
 * begin, if that is known.
 */
export function readHybrid(
  name: string,
  o: Common,
  disk: DiskOptions,
  folder: string | undefined,
  warnings: string[],
): HybridConfig | undefined {
  let mode = o.HybridMode
  if (o.MigrationFromFileSystemEnabled) {
    const instead = mode === 'Disabled' ? ': it is read as HybridMode "WriteToObjectStorage"' : ' and ignored'
    warnings.push(`${name}.MigrationFromFileSystemEnabled is deprecated${instead}`)
    if (mode === 'Disabled') mode = 'WriteToObjectStorage'
  }
  if (mode === 'Disabled') return undefined
  return { writesTo: tiers[mode], ...readDiskOptions(disk, folder, `${name}.HybridMode`) }
}

/** `what` needs the disk. */
export function readDiskOptions(disk: DiskOptions, folder: string | undefined, what: string): DiskConfig {
  const given = disk.StorageDirectory
  const directory = folder === undefined ? given : absolute(given ?? DEFAULT_DIRECTORY, folder)
  if (directory === undefined || !isAbsolute(directory))
    throw bad(
      `StorageDirectory is ${given === undefined ? 'missing' : shown('StorageDirectory', given)}, but must be an absolute path ` +
        `for ${what}: the folder in which Orthanc keeps its files`,
    )
  return { directory, sync: disk.SyncStorageArea }
}

const absolute = (path: string, folder: string) => (isAbsolute(path) ? path : join(folder, path))
