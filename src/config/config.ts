import { z } from 'zod'
import { type AzureConfig, readAzure, readOldAzure } from './azure.ts'
import { type Common, type NamingConfig, namingOf } from './common.ts'
import { type DirectoryConfig, readDirectory } from './directory.ts'
import { type EncryptionConfig, encryptionOf } from './encryption.ts'
import { type GcsConfig, readGcs } from './gcs.ts'
import { type HybridConfig, hybridOf } from './hybrid.ts'
import { bad, checked, freeze, misspelt, readJson, section } from './reading.ts'
import { readS3, type S3Config } from './s3.ts'
import { flag, listOfHosts, optionalText, text, whole } from './values.ts'

export type { AzureConfig, DirectoryConfig, EncryptionConfig, GcsConfig, HybridConfig, NamingConfig, S3Config }

/** The engine's whole configuration: parsed once, frozen, in base units. */
export interface EngineConfig {
  readonly provider: ProviderConfig
  readonly naming: NamingConfig
  /** undefined = files are stored as they are. */
  readonly encryption: EncryptionConfig | undefined
  /** undefined = everything is in the object store. */
  readonly hybrid: HybridConfig | undefined
  /** Files that a move job moves at a time. */
  readonly moveConcurrency: number
  readonly http: HttpConfig
  readonly startupCheck: boolean
}

export type ProviderConfig = S3Config | AzureConfig | GcsConfig | DirectoryConfig

/** Orthanc's own options for outgoing HTTP. */
export interface HttpConfig {
  readonly caFile: string | undefined
  /** May hold a password: never log it. */
  readonly proxy: string | undefined
  /** Hosts that no proxy leads to: names, addresses, ranges. */
  readonly noProxy: readonly string[]
}

/** What a provider's section says, about itself and about what all providers have in common. */
export interface ProviderOptions {
  readonly provider: ProviderConfig
  readonly common: Common
}

export interface Parsed {
  /** undefined = no section of ours is there: the plugin is disabled. */
  readonly config: EngineConfig | undefined
  /** One line each, for the log at WARNING. */
  readonly warnings: readonly string[]
}

type Reader = (name: string, section: unknown, warnings: string[]) => ProviderOptions
const readers: Readonly<Record<string, Reader>> = {
  AwsS3Storage: readS3,
  AzureBlobStorage: readAzure,
  BlobStorage: readOldAzure,
  GoogleCloudStorage: readGcs,
  DirectoryStorage: readDirectory,
}

const cloudStorage = z.object({
  Engine: text().optional(),
  Node: text().optional(),
  StartupCheck: flag.default(true),
  MoveConcurrency: whole(1, 64, 'files').default(8),
  NoProxy: listOfHosts.default([]),
})
const orthanc = z.object({
  HttpsCACertificates: optionalText.optional(),
  HttpProxy: optionalText.optional(),
  StorageDirectory: optionalText.optional(),
  SyncStorageArea: flag.default(true),
})

/**
 * `json`: Orthanc's whole configuration, normalised, without comments. `folder`: what Orthanc takes relative paths
 * from, if that is known.
 * Throws `BadConfig` with one line (SPEC section 2).
 */
export function parseConfig(json: string, folder?: string): Parsed {
  const root = readJson(json)
  const providers = Object.keys(readers)
  const warnings = [...misspelt(root, [...providers, 'CloudStorage'])]
  const [name, ...more] = providers.filter(provider => root[provider] !== undefined)
  if (name === undefined) return freeze({ config: undefined, warnings })
  if (more.length > 0)
    throw bad(`the sections ${[name, ...more].join(' and ')} are both there, but only one provider can store the files`)
  const read = readers[name] as Reader

  const cloud = section(cloudStorage, 'CloudStorage', root['CloudStorage'] ?? {}, warnings)
  const { HttpsCACertificates: caFile, HttpProxy: proxy, ...disk } = checked(orthanc, '', root)
  if (root['HttpsVerifyPeers'] === false)
    warnings.push('HttpsVerifyPeers is false, but the certificate of the object storage is verified all the same')
  const { provider, common } = read(name, root[name], warnings)
  return freeze({
    config: {
      provider,
      naming: namingOf(common),
      encryption: encryptionOf(name, common.StorageEncryption, warnings),
      hybrid: hybridOf(name, common, disk, folder, warnings),
      moveConcurrency: cloud.MoveConcurrency,
      http: { caFile, proxy, noProxy: cloud.NoProxy },
      startupCheck: cloud.StartupCheck,
    },
    warnings,
  })
}
