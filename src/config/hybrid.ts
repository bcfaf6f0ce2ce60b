import { statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Common } from './common.ts'

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
  /** Path of Orthanc's configuration, a file or a folder; '' = it has none. */
  readonly configuration: string
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
  return { writesTo: tiers[mode], directory: directoryOf(disk), sync: disk.SyncStorageArea }
}

/** As Orthanc has it: a relative path counts from the folder of the configuration, not from where Orthanc was started. */
function directoryOf({ StorageDirectory = 'OrthancStorage', configuration }: DiskOptions): string {
  const folder = configuration === '' || isFolder(configuration) ? configuration : dirname(configuration)
  return resolve(folder, StorageDirectory)
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}
