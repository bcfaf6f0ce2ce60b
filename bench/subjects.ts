/** What is compared: storages of Orthanc, each as a plugin and a configuration. */
import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectionString, startAzurite } from '../harness/azurite.ts'
import { startCeph, whyNoCeph } from '../harness/ceph.ts'
import type { Running } from '../harness/child.ts'
import { makeBucket, startFakeGcs } from '../harness/fake-gcs.ts'
import { startMinio } from '../harness/minio.ts'
import { makeS3Bucket } from '../harness/s3.ts'
import { until } from '../harness/until.ts'

export interface Subject {
  readonly name: string
  /** null = Orthanc's own file system; undefined = ours. */
  readonly plugin: string | null | undefined
  readonly config: Record<string, unknown>
  /** A real server or an emulator: it keeps what is not removed, some of them in memory. */
  readonly server?: true
}

export const FILE_SYSTEM = "Orthanc's own file system"
export const BEHIND_DELAY = 'S3 (stub) behind 20 ms'

/** What the name of an encrypted storage ends with. */
export const ENCRYPTED = ', encrypted'

const children: ChildProcess[] = []
const undo: (() => Promise<unknown>)[] = []

/** Runs one of the helpers of this folder, with the port that it prints. */
function startHelper(name: string, ...args: string[]): Promise<{ port: number; child: ChildProcess }> {
  const child = fork(join(import.meta.dirname, name), args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
  children.push(child)
  return new Promise((resolve, reject) => {
    child.stdout?.once('data', data => resolve({ port: Number(data), child }))
    child.once('exit', code => reject(new Error(`${name} ended with ${code}`)))
  })
}

async function helper(name: string, ...args: string[]): Promise<number> {
  return (await startHelper(name, ...args)).port
}

/** The port of a network before a server of this machine. */
export function delayed(port: number, roundTrip = 20): Promise<number> {
  return helper('delay-proxy.ts', String(port), String(roundTrip))
}

export interface Counts {
  readonly requests: number
  readonly sentBytes: number
  readonly objects: number
}

/** A stub of S3 whose requests are counted. */
export interface Stub {
  readonly port: number
  /** Once no request is under way. */
  count(): Promise<Counts>
  forget(): void
}

/** `roundTrip`: in milliseconds, how far away it seems to be. */
export async function startStub(roundTrip = 0): Promise<Stub> {
  const { port, child } = await startHelper('s3-stub.ts', String(roundTrip))
  const ask = () =>
    new Promise<Counts & { readonly underWay: number }>(resolve => {
      child.once('message', counts => resolve(counts as Counts & { readonly underWay: number }))
      child.send('count')
    })
  const quiet = async () => {
    const counts = await ask()
    return counts.underWay === 0 && counts
  }
  return { port, count: () => until('the stub to have answered', quiet), forget: () => child.send('forget') }
}

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ocs-bench-'))
  undo.push(async () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export function newKeyFile(): string {
  const file = join(temporaryFolder(), 'master.key')
  writeFileSync(file, randomBytes(32).toString('base64'), { mode: 0o600 })
  return file
}

export function s3Section(endpoint: string, more: object = {}) {
  const keys = { AccessKey: 'AKID', SecretKey: 'SECRETKEY' }
  return {
    AwsS3Storage: {
      BucketName: 'bench',
      Region: 'us-east-1',
      Endpoint: endpoint,
      VirtualAddressing: false,
      ...keys,
      ...more,
    },
  }
}

/** `wanted`: by its name. Servers of other subjects are not started. */
export async function subjects(
  foreign: { plugin: string; section: string } | undefined,
  wanted: (name: string) => boolean,
): Promise<{ subjects: Subject[]; stub: number; far: Subject['config'] }> {
  const stub = await helper('s3-stub.ts')
  const far = await delayed(stub)
  const local = (port: number) => `http://127.0.0.1:${port}`
  // With ranges: as many objects as without encryption, so that encryption is all that differs.
  const encryption = { StorageEncryption: { MasterKey: [1, newKeyFile()], RangeReads: true } }
  const found: Subject[] = [
    { name: FILE_SYSTEM, plugin: null, config: {} },
    {
      name: 'DirectoryStorage',
      plugin: undefined,
      config: { DirectoryStorage: { Path: join(temporaryFolder(), 'objects') } },
    },
    {
      name: `DirectoryStorage${ENCRYPTED}`,
      plugin: undefined,
      config: { DirectoryStorage: { Path: join(temporaryFolder(), 'objects'), ...encryption } },
    },
    { name: 'S3 (stub)', plugin: undefined, config: s3Section(local(stub)) },
    { name: `S3 (stub)${ENCRYPTED}`, plugin: undefined, config: s3Section(local(stub), encryption) },
    {
      name: 'S3 (stub), transfer manager',
      plugin: undefined,
      config: s3Section(local(stub), { UseTransferManager: true }),
    },
    { name: BEHIND_DELAY, plugin: undefined, config: s3Section(local(far)) },
  ]
  if (wanted('S3 (Ceph)') && whyNoCeph() === undefined) {
    const ceph = await startCeph(temporaryFolder())
    undo.push(() => ceph.stop())
    await makeS3Bucket(ceph, 'bench')
    found.push({ name: 'S3 (Ceph)', plugin: undefined, config: s3Section(ceph.endpoint), server: true })
  }
  for (const [name, start] of Object.entries(servers))
    if (wanted(name))
      try {
        const { config, stop } = await start(temporaryFolder())
        undo.push(stop)
        found.push({ name, plugin: undefined, config, server: true })
      } catch (error) {
        console.error(`${name} is left out: ${error instanceof Error ? error.message : error}`)
      }
  if (foreign) {
    const config = JSON.parse(readFileSync(foreign.section, 'utf8'))
    found.push({ name: foreign.plugin.split('/').at(-1) ?? 'foreign', plugin: foreign.plugin, config })
  }
  return { subjects: found.filter(({ name }) => wanted(name)), stub, far: s3Section(local(far)) }
}

/** Real servers and emulators. They may be slower than any cloud. What matters is what our engine costs before them. */
export const servers = {
  'S3 (MinIO)': async (folder: string) => {
    const minio = await startMinio(folder)
    await makeS3Bucket(minio, 'bench')
    const more = { Region: minio.region, AccessKey: minio.accessKey, SecretKey: minio.secretKey }
    return { config: s3Section(minio.endpoint, more), stop: minio.stop }
  },
  'Azure (Azurite)': async (folder: string) => {
    const azurite = await startAzurite(folder)
    const section = { ConnectionString: connectionString(azurite), ContainerName: 'bench' }
    return { config: { AzureBlobStorage: section }, stop: azurite.stop }
  },
  'Google (fake-gcs-server)': async (folder: string) => {
    const google = await startFakeGcs(folder)
    await makeBucket(google, 'bench')
    return { config: { GoogleCloudStorage: { BucketName: 'bench', Endpoint: google.endpoint } }, stop: google.stop }
  },
} satisfies Readonly<Record<string, (folder: string) => Promise<Pick<Subject, 'config'> & Running>>>
export type ServerName = keyof typeof servers

/** A configuration of a server of this machine, as it is when the server is a round trip of 20 ms away. */
export async function behindDelay(config: Subject['config']): Promise<Subject['config']> {
  const text = JSON.stringify(config)
  const [, port = ''] = /127\.0\.0\.1:(\d+)/.exec(text) ?? []
  const far = await delayed(Number(port))
  return JSON.parse(text.replaceAll(`127.0.0.1:${port}`, `127.0.0.1:${far}`))
}

/** Makes the stub forget the objects of the last measurement. */
export function forget(): void {
  for (const child of children) child.send('forget')
}

export async function cleanUp(): Promise<void> {
  for (const child of children) child.kill('SIGKILL')
  for (const step of undo.reverse()) await step()
}
