/** The stores of the end-to-end tests: Orthanc's configuration for each, and a way to look into it without Orthanc. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AzureSettings, connectionString } from '../../../harness/azurite.ts'
import { type GcsSettings, makeBucket } from '../../../harness/fake-gcs.ts'
import { makeS3Bucket } from '../../../harness/s3.ts'
import { compose } from '../../../src/compose.ts'
import { parseConfig } from '../../../src/config/config.ts'
import { logTo } from '../../../src/log.ts'
import type { Store } from '../../../src/stores/store.ts'
import { liveServer, s3Server } from './servers.ts'

export interface Place {
  readonly config: Readonly<Record<string, Record<string, unknown>>>
  keys(): Promise<string[]>
  remove(key: string): Promise<void>
  /** The store itself, for a look into it without Orthanc. */
  readonly store: Store
  dispose(): Promise<void>
}

type Section = Record<string, unknown>

export async function directoryPlace(more: Section = {}): Promise<Place> {
  const folder = mkdtempSync(join(tmpdir(), 'ocs-place-'))
  const clear = async () => rmSync(folder, { recursive: true, force: true })
  return placeOf({ DirectoryStorage: { Path: join(folder, 'objects'), ...more } }, clear)
}

export async function s3Place(more: Section = {}, server = s3Server()): Promise<Place> {
  if (!server) throw new Error('no S3 server')
  const BucketName = `e2e-${randomUUID()}`
  const { endpoint, region, accessKey, secretKey } = server
  await makeS3Bucket(server, BucketName)
  const section = {
    BucketName,
    Region: region,
    AccessKey: accessKey,
    SecretKey: secretKey,
    Endpoint: endpoint,
    ...more,
  }
  return placeOf({ AwsS3Storage: section }, async () => {})
}

export async function azurePlace(server: AzureSettings, more: Section = {}): Promise<Place> {
  // The plugin itself makes the container: that is the default.
  const section = { ConnectionString: connectionString(server), ContainerName: `e2e-${randomUUID()}`, ...more }
  return placeOf({ AzureBlobStorage: section }, async () => {})
}

export async function gcsPlace(server: GcsSettings, more: Section = {}): Promise<Place> {
  const BucketName = `e2e-${randomUUID()}`
  await makeBucket(server, BucketName)
  return placeOf({ GoogleCloudStorage: { BucketName, Endpoint: server.endpoint, ...more } }, async () => {})
}

function placeOf(config: Place['config'], clear: () => Promise<void>): Place {
  const parsed = parseConfig(JSON.stringify(config)).config
  if (!parsed) throw new Error('no section of a provider')
  const { store } = compose(
    parsed,
    logTo(() => {}),
  )
  const never = new AbortController().signal
  return {
    config,
    async keys() {
      const keys: string[] = []
      for await (const { key } of store.list('', never)) keys.push(key)
      return keys
    },
    remove: key => store.remove(key, never),
    store,
    async dispose() {
      await store.close()
      await clear()
    },
  }
}

/** Every kind of store that this machine can have. */
export function places(): readonly { name: string; make(): Promise<Place> }[] {
  const directories = [
    { name: 'a directory', make: () => directoryPlace() },
    {
      name: 'a directory, legacy structure below a root path',
      make: () => directoryPlace({ StorageStructure: 'legacy', RootPath: 'x/y' }),
    },
  ]
  const [ceph, minio, azurite, google] = [
    liveServer('ceph'),
    liveServer('minio'),
    liveServer('azurite'),
    liveServer('fake-gcs'),
  ]
  const onCeph = [
    { name: 'S3', make: () => s3Place({ RootPath: 'orthanc/files', Tags: { team: 'radiology' } }) },
    { name: 'S3 with the transfer manager', make: () => s3Place({ UseTransferManager: true }) },
  ]
  return [
    ...directories,
    ...(ceph ? onCeph : []),
    ...(minio ? [{ name: 'S3 (MinIO)', make: () => s3Place({ VirtualAddressing: false }, minio) }] : []),
    ...(azurite ? [{ name: 'Azure', make: () => azurePlace(azurite, { RootPath: 'a/b/c' }) }] : []),
    ...(google ? [{ name: 'Google', make: () => gcsPlace(google, { RootPath: 'a/b/c' }) }] : []),
  ]
}
