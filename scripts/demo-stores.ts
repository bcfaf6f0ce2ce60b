/** The stores that npm start can show: each with its section of the configuration, and the server that it needs. */
import { mkdirSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { connectionString, startAzurite } from '../harness/azurite.ts'
import { startCeph, whyNoCeph } from '../harness/ceph.ts'
import { makeBucket, startFakeGcs } from '../harness/fake-gcs.ts'
import { startMinio } from '../harness/minio.ts'
import { makeS3Bucket, type S3Server } from '../harness/s3.ts'

export const STORES = ['directory', 's3', 'minio', 'azure', 'gcs'] as const
export type StoreName = (typeof STORES)[number]

export interface DemoStore {
  readonly config: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** For the person at the terminal: which store, and where. */
  readonly where: string
  readonly note?: string
  stop(): Promise<void>
}

const BUCKET = 'orthanc'
const shown = (path: string) => relative(process.cwd(), path) || '.'

/** `folder`: for the runs with this store. It is kept from run to run where the server keeps its objects. */
export async function startStore(store: StoreName, folder: string, say: (line: string) => void): Promise<DemoStore> {
  if (store === 'directory') {
    const path = join(folder, 'objects')
    const config = { DirectoryStorage: { Path: path } }
    return { config, where: `DirectoryStorage in ${shown(path)}`, stop: async () => {} }
  }
  say(`Starting ${servers[store]} ...`)
  return starts[store](folder)
}

const servers: Readonly<Record<Exclude<StoreName, 'directory'>, string>> = {
  s3: 'an S3 server (Ceph, about 15 s)',
  minio: 'an S3 server (MinIO)',
  azure: "Microsoft's emulator of Azure (Azurite)",
  gcs: 'an emulator of Google Cloud Storage (fake-gcs-server)',
}

const starts: Readonly<Record<keyof typeof servers, (folder: string) => Promise<DemoStore>>> = {
  /** Ceph keeps its objects in memory here. The index of the last run would point to nothing: it is removed. */
  async s3(folder) {
    const why = whyNoCeph()
    if (why) throw new Error(`Ceph cannot be started here: ${why}`)
    return { ...(await onS3(await startCeph(join(emptied(folder), 'ceph')), 'Ceph')), note: FORGETFUL }
  },
  minio: async folder => onS3(await startMinio(join(emptied(folder), 'minio')), 'MinIO'),
  async azure(folder) {
    const azurite = await startAzurite(join(emptied(folder), 'azurite'))
    const section = { ConnectionString: connectionString(azurite), ContainerName: BUCKET }
    const where = `AzureBlobStorage, container "${BUCKET}" at ${azurite.endpoint} (Azurite)`
    return { config: { AzureBlobStorage: section }, where, stop: azurite.stop }
  },
  async gcs(folder) {
    const google = await startFakeGcs(emptied(folder))
    await makeBucket(google, BUCKET)
    const section = { BucketName: BUCKET, Endpoint: google.endpoint }
    const where = `GoogleCloudStorage, bucket "${BUCKET}" at ${google.endpoint} (fake-gcs-server)`
    return { config: { GoogleCloudStorage: section }, where, note: FORGETFUL, stop: google.stop }
  },
}

const FORGETFUL = 'This server holds its objects in memory: they are gone when you stop.'

/** Servers have another port and other keys in each run, so Orthanc begins with an empty folder, too. */
function emptied(folder: string): string {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  return folder
}

async function onS3(server: S3Server, name: string): Promise<DemoStore> {
  const { endpoint, region, accessKey, secretKey } = server
  await makeS3Bucket(server, BUCKET)
  const keys = { AccessKey: accessKey, SecretKey: secretKey }
  const section = { BucketName: BUCKET, Region: region, Endpoint: endpoint, ...keys, VirtualAddressing: false }
  const where = `AwsS3Storage, bucket "${BUCKET}" at ${endpoint} (${name})`
  return { config: { AwsS3Storage: section }, where, stop: () => server.stop() }
}
