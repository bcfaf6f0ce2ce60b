/** Every option there is, taken from the schemas themselves, and for each some values that are right. */
import { azureSchema, oldAzureSchema } from '../../src/config/azure.ts'
import { cloudStorage, orthanc } from '../../src/config/config.ts'
import { directorySchema } from '../../src/config/directory.ts'
import { encryptionSchema } from '../../src/config/encryption.ts'
import { gcsSchema } from '../../src/config/gcs.ts'
import { s3Schema } from '../../src/config/s3.ts'

const schemas = {
  AwsS3Storage: s3Schema,
  AzureBlobStorage: azureSchema,
  BlobStorage: oldAzureSchema,
  GoogleCloudStorage: gcsSchema,
  DirectoryStorage: directorySchema,
  StorageEncryption: encryptionSchema,
  CloudStorage: cloudStorage,
  Orthanc: orthanc,
}
/** `Orthanc`: its own options, which are in no section. */
export type Section = keyof typeof schemas
export const providers = [
  'AwsS3Storage',
  'AzureBlobStorage',
  'BlobStorage',
  'GoogleCloudStorage',
  'DirectoryStorage',
] as const

/** What is looked at without a schema. */
const ALSO: Partial<Record<Section, readonly string[]>> = {
  Orthanc: ['Plugins', 'AdvancedStorage', 'HttpsVerifyPeers'],
  AwsS3Storage: ['ConnectTimeout'],
}

/** What a section needs, so that its other options are looked at. */
const needed: Partial<Record<Section, readonly string[]>> = {
  AwsS3Storage: ['BucketName', 'Region'],
  AzureBlobStorage: ['ContainerName', 'ConnectionString'],
  BlobStorage: ['ContainerName', 'AccountName', 'AccountKey'],
  GoogleCloudStorage: ['BucketName'],
  DirectoryStorage: ['Path'],
}

const flag = ['true', 'false', '"1"']
const KEY = 'c2VjcmV0IGtleQ=='
/** In JSON. An option that is not here makes the tests fail. */
const right: Readonly<Record<string, readonly string[]>> = {
  BucketName: ['"images"', '"arn:aws:s3:eu-west-1:123456789012:accesspoint/images"'],
  Region: ['"eu-west-1"', '"cn-north-1"'],
  AccessKey: ['"AKIA"'],
  SecretKey: ['"secret"'],
  Endpoint: ['"https://store.example"', '"http://127.0.0.1:9000/folder"', '"images.store.example"'],
  VirtualAddressing: flag,
  UseTransferManager: flag,
  TransferPoolSize: ['4'],
  TransferBufferSize: ['10', '"1"'],
  StorageClass: ['"STANDARD_IA"', '"GLACIER"'],
  Tags: ['{"a": "b"}', '{"a": 1, "b": true}'],
  EnableAwsSdkLogs: flag,
  ConnectTimeout: ['6'],
  ConnectionTimeout: ['5', '0'],
  RequestTimeout: ['"60"', '2000000'],
  MaxConnections: ['1', '10000'],
  MaxRetries: ['0'],
  RootPath: ['"hospital/files"', '"a//b/"'],
  StorageStructure: ['"flat"', '"legacy"'],
  EnableLegacyUnknownFiles: flag,
  HybridMode: ['"Disabled"', '"WriteToFileSystem"', '"WriteToObjectStorage"'],
  MigrationFromFileSystemEnabled: flag,
  StorageEncryption: ['{"MasterKey": [1, "/etc/orthanc/key"]}', '{}', '{"Enable": false}'],
  NamingScheme: ['"OrthancDefault"'],
  ConnectionString: [
    `"AccountName=acct;AccountKey=${KEY}"`,
    '"BlobEndpoint=https://acct.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=x"',
    '"UseDevelopmentStorage=true"',
  ],
  AccountUrl: ['"https://acct.blob.core.windows.net"'],
  AccessTier: ['"Hot"', '"archive"'],
  ContainerName: ['"images"'],
  CreateContainerIfNotExists: flag,
  AccountName: ['"acct"'],
  AccountKey: [`"${KEY}"`],
  ServiceAccountFile: ['"/etc/orthanc/google.json"', '"google.json"'],
  Path: ['"/var/lib/orthanc/files"'],
  Enable: flag,
  MasterKey: ['[1, "/etc/orthanc/key"]', '["2", "key"]'],
  PreviousMasterKeys: ['[[3, "/etc/orthanc/old"]]', '[]'],
  MaxConcurrentInputSize: ['64'],
  AllowUnencryptedRead: flag,
  RangeReads: flag,
  Engine: ['"/usr/share/engine.mjs"'],
  Node: ['"/usr/bin/node"'],
  StartupCheck: flag,
  StartupTimeout: ['0'],
  MoveConcurrency: ['64'],
  ReadAhead: flag,
  ReadAheadMemory: ['64'],
  NoProxy: ['["minio", ".example", "10.0.0.0/8"]', '"a,b"'],
  HttpsCACertificates: ['"/etc/ssl/ca.pem"'],
  HttpProxy: ['"proxy.example:3128"', '"http://u:p@proxy.example:3128"'],
  StorageDirectory: ['"/var/lib/orthanc/db"', '"OrthancStorage"'],
  SyncStorageArea: flag,
  ReadOnly: flag,
  Plugins: ['["/usr/share/orthanc/plugins"]'],
  AdvancedStorage: ['{"Enable": true}'],
  HttpsVerifyPeers: flag,
}

export interface Option {
  readonly section: Section
  readonly name: string
  readonly right: readonly string[]
  readonly needed: boolean
}

export const options: readonly Option[] = Object.entries(schemas).flatMap(([key, { shape }]) => {
  const section = key as Section
  return [...Object.keys(shape), ...(ALSO[section] ?? [])].map(name => {
    const values = right[name]
    if (!values) throw new Error(`${section}.${name} is an option without a right value in configuration-samples.ts`)
    return { section, name, right: values, needed: needed[section]?.includes(name) ?? false }
  })
})

/** No line may hold it. */
export const MARK = 'S3cr3tM4rk'
/** What is, or may be, a secret. */
export const isSecret = (name: string) => /Key|HttpProxy|ConnectionString|ServiceAccountFile/.test(name)

export type Sections = ReadonlyMap<Section, ReadonlyMap<string, string>>

/** The sections as a text in JSON, each option as it is written there. */
export function written(sections: Sections): string {
  const root = new Map(sections.get('Orthanc'))
  const encryption = sections.get('StorageEncryption')
  for (const [name, content] of sections) {
    if (name === 'Orthanc' || name === 'StorageEncryption') continue
    const more: [string, string][] = encryption && isProvider(name) ? [['StorageEncryption', objectOf(encryption)]] : []
    root.set(name, objectOf(new Map([...content, ...more])))
  }
  return objectOf(root)
}

export const isProvider = (name: string) => (providers as readonly string[]).includes(name)

function objectOf(content: ReadonlyMap<string, string>): string {
  return `{${[...content].map(([name, json]) => `${JSON.stringify(name)}: ${json}`).join(', ')}}`
}
