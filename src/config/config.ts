import { z } from 'zod'
import { isObject } from '../fault.ts'
import { type AheadConfig, ahead, aheadOf } from './ahead.ts'
import { type AzureConfig, readAzure, readOldAzure } from './azure.ts'
import { type CacheConfig, readCache } from './cache.ts'
import { type NamingConfig, namingOf, type Read } from './common.ts'
import { type DeletionsConfig, deferredDeletion, readDeletions } from './deletions.ts'
import { type DirectoryConfig, readDirectory } from './directory.ts'
import { type EncryptionConfig, readEncryption, refuseMisplaced } from './encryption.ts'
import { type GcsConfig, readGcs } from './gcs.ts'
import { hintOf } from './hints.ts'
import { type DiskConfig, type HybridConfig, readDiskOptions, readHybrid } from './hybrid.ts'
import { refuseOthers } from './other-plugins.ts'
import { bad, checked, freeze, isUnset, misspelt, readJson, section } from './reading.ts'
import { readS3, type S3Config } from './s3.ts'
import { flag, listOfHosts, optionalText, text, whole } from './values.ts'

export type {
  AheadConfig,
  AzureConfig,
  CacheConfig,
  DeletionsConfig,
  DirectoryConfig,
  EncryptionConfig,
  GcsConfig,
  HybridConfig,
  NamingConfig,
  S3Config,
}

/** The engine's whole configuration: parsed once, frozen, in base units. */
export interface EngineConfig {
  readonly provider: ProviderConfig
  readonly naming: NamingConfig
  /** undefined = files are stored as they are. */
  readonly encryption: EncryptionConfig | undefined
  /** undefined = everything is in the object store. */
  readonly hybrid: HybridConfig | undefined
  /** undefined = off, and nobody knows where a journal may have been. */
  readonly deletions: DeletionsConfig | undefined
  /** Files that a move job moves at a time. */
  readonly moveConcurrency: number
  /** undefined = no cache on disk. */
  readonly cache: CacheConfig | undefined
  /** undefined = files are read when Orthanc asks for them, never before. */
  readonly ahead: AheadConfig | undefined
  readonly http: HttpConfig
  readonly startupCheck: boolean
  /** How long the check of a store is repeated when Orthanc starts and the store is not there yet; 0 = one check. */
  readonly startupTimeoutMs: number
  /** Orthanc's `ReadOnly`: nothing is ever written or removed. */
  readonly readOnly: boolean
}

export type ProviderConfig = S3Config | AzureConfig | GcsConfig | DirectoryConfig

/** Orthanc's own options for outgoing HTTP. */
export interface HttpConfig {
  readonly caFile: string | undefined
  /** May hold a password: never log it. */
  readonly proxy: string | undefined
  /** Hosts to reach without a proxy: names, addresses, ranges. */
  readonly noProxy: readonly string[]
}

export interface Parsed {
  /** undefined = no section of ours is there: the plugin is disabled. */
  readonly config: EngineConfig | undefined
  /** One line each, for the log at WARNING. */
  readonly warnings: readonly string[]
  /** As warnings, for the log at INFO. */
  readonly notes: readonly string[]
}

interface Provider {
  /** The option that says where to store. A section without it may come from a leftover environment variable. */
  readonly place: string
  read(name: string, section: unknown, warnings: string[], notes: string[]): Read<ProviderConfig>
}
const providers: Readonly<Record<string, Provider>> = {
  AwsS3Storage: { place: 'BucketName', read: readS3 },
  AzureBlobStorage: { place: 'ContainerName', read: readAzure },
  BlobStorage: { place: 'ContainerName', read: readOldAzure },
  GoogleCloudStorage: { place: 'BucketName', read: readGcs },
  DirectoryStorage: { place: 'Path', read: readDirectory },
}

export const cloudStorage = z.object({
  Engine: text().optional(),
  Node: text().optional(),
  StartupCheck: flag.default(true),
  StartupTimeout: whole(0, 3600, 'seconds').default(60),
  MoveConcurrency: whole(1, 64, 'files').default(8),
  NoProxy: listOfHosts.default([]),
  DeferredDeletion: deferredDeletion,
  Cache: z.unknown().optional(), // cache.ts
  ...ahead,
})
export const orthanc = z.object({
  HttpsCACertificates: optionalText.optional(),
  HttpProxy: optionalText.optional(),
  StorageDirectory: optionalText.optional(),
  IndexDirectory: optionalText.optional(),
  SyncStorageArea: flag.default(true),
  ReadOnly: flag.default(false),
})

/**
 * `json`: Orthanc's whole configuration, normalised, without comments. `folder`: what Orthanc takes relative paths
 * from, if that is known; `version`: Orthanc's, likewise.
 * Throws `BadConfig` with one line (docs/configuration.md).
 */
export function parseConfig(json: string, folder?: string, version?: string): Parsed {
  const root = readJson(json)
  const warnings = [...misspelt(root, [...Object.keys(providers), 'CloudStorage'])]
  const notes: string[] = []
  const name = chosen(root, warnings)
  if (name === undefined) return freeze({ config: undefined, warnings, notes })
  refuseOthers(root, name, folder)
  refuseMisplaced(root, name)

  const cloud = section(cloudStorage, 'CloudStorage', root['CloudStorage'] ?? {}, warnings)
  const defined = Object.fromEntries(Object.entries(root).filter(([, value]) => !isUnset(value)))
  const { HttpsCACertificates: caFile, HttpProxy: proxy, ReadOnly: readOnly, ...disk } = checked(orthanc, '', defined)
  if (root['HttpsVerifyPeers'] === false)
    warnings.push('HttpsVerifyPeers is false, but the certificate of the object storage is verified all the same')
  const { provider, common } = (providers[name] as Provider).read(name, root[name], warnings, notes)
  const encryption = readEncryption(name, common.StorageEncryption, warnings)
  const hybrid = readHybrid(name, common, disk, folder, warnings)
  const { StorageDirectory, IndexDirectory } = disk
  const folders = { 'DirectoryStorage.Path': provider.kind === 'directory' ? provider.path : undefined }
  const cache = readCache(cloud.Cache, { ...folders, StorageDirectory, IndexDirectory }, folder, warnings)
  const connections = provider.kind === 'directory' ? undefined : provider.maxConnections
  const hint = hintOf(root, { orthanc: version, connections, moves: hybrid !== undefined && !readOnly })
  if (hint) warnings.push(hint)
  return freeze({
    config: {
      provider,
      naming: namingOf(common),
      encryption,
      hybrid,
      deletions: readDeletions(
        cloud.DeferredDeletion,
        disk.StorageDirectory,
        provider.kind === 'directory' ? provider.path : undefined,
        folder,
      ),
      moveConcurrency: cloud.MoveConcurrency,
      cache,
      ahead: aheadOf(cloud, provider),
      http: { caFile, proxy, noProxy: cloud.NoProxy },
      startupCheck: cloud.StartupCheck,
      startupTimeoutMs: cloud.StartupTimeout * 1000,
      readOnly,
    },
    warnings,
    notes,
  })
}

/** Orthanc's own disk, for a configuration in which no provider has its files. Arguments: see parseConfig(). */
export function parseDisk(json: string, folder: string): DiskConfig {
  const defined = Object.fromEntries(Object.entries(readJson(json)).filter(([, value]) => !isUnset(value)))
  return readDiskOptions(checked(orthanc, '', defined), folder, "a copy of Orthanc's own disk")
}

/** The section to read. One that does not say where to store is ignored, with a warning, beside one that does. */
function chosen(root: Record<string, unknown>, warnings: string[]): string | undefined {
  const given = Object.keys(providers).filter(name => root[name] !== undefined)
  // The official plugin does not look at its old section where the new one is.
  const outdated = given.includes('AzureBlobStorage') ? 'BlobStorage' : undefined
  const complete = given.filter(name => name !== outdated && saysWhere(root[name], placeOf(name)))
  if (complete.length > 1)
    throw bad(`the sections ${complete.join(' and ')} are both there, but only one provider can store the files`)
  const [name] = complete
  if (name === undefined) return given[0]
  for (const other of given)
    if (other !== name) warnings.push(`the section "${other}" is ignored: ${whyIgnored(root[other], other, name)}`)
  return name
}

function whyIgnored(section: unknown, other: string, name: string): string {
  const place = placeOf(other)
  return saysWhere(section, place) ? `"${name}" is there` : `it has no ${place}, and "${name}" says where to store`
}

const placeOf = (name: string) => providers[name]?.place ?? ''

function saysWhere(section: unknown, option: string): boolean {
  return isObject(section) && !isUnset(section[option])
}
