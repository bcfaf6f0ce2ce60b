/** Orthanc's own storage on a mounted bucket, beside ours with a cache and deferred deletion: MinIO behind 20 ms. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { startMinio } from '../../harness/minio.ts'
import { makeS3Bucket, type S3Settings } from '../../harness/s3.ts'
import { until } from '../../harness/until.ts'
import { delayed, s3Section, temporaryFolder } from '../subjects.ts'
import { Bed, ROUND_TRIP, type SpeedSubject, type Stored } from './bed.ts'
import type { Row, Settings, SpeedLoad } from './load.ts'
import { rcloneMount } from './rclone.ts'

const FILES = 200
const MOUNT = 'Orthanc on rclone mount'
const OURS = 'with cache and DeferredDeletion'

interface Contender {
  readonly subject: SpeedSubject
  readonly bucket: string
  /** While no Orthanc runs. */
  emptyCache(): Promise<void>
  before(): Promise<void>
  after(): Promise<void>
}

const steps = ['upload', 'first reading', 'second reading', 'deletion'] as const

function ours(far: S3Settings, bucket: string): Contender {
  const path = join(temporaryFolder(), 'cache')
  const { accessKey: AccessKey, secretKey: SecretKey, region: Region } = far
  const section = s3Section(far.endpoint, { BucketName: bucket, Region, AccessKey, SecretKey })
  const options = { Cache: { Path: path, MaxSize: 1024, OnWrite: true }, DeferredDeletion: true }
  const emptyCache = () => rm(path, { recursive: true, force: true })
  return {
    subject: { name: OURS, plugin: undefined, config: { ...section, CloudStorage: options } },
    bucket,
    emptyCache,
    before: async () => {},
    after: emptyCache,
  }
}

function mounted(far: S3Settings, bucket: string): Contender {
  const { path, mount, unmount } = rcloneMount(far, bucket, temporaryFolder())
  return {
    subject: { name: MOUNT, plugin: null, config: { StorageDirectory: path } },
    bucket,
    emptyCache: async () => {
      await unmount()
      await mount()
    },
    before: mount,
    after: unmount,
  }
}

async function* measure({ rounds, isWanted }: Settings): AsyncGenerator<Row> {
  const minio = await startMinio(temporaryFolder())
  const far = {
    ...minio,
    endpoint: `http://127.0.0.1:${await delayed(Number(new URL(minio.endpoint).port), ROUND_TRIP)}`,
  }
  const credentials = { accessKeyId: minio.accessKey, secretAccessKey: minio.secretKey }
  const { ListObjectsV2Command, S3Client } = await import('@aws-sdk/client-s3') // large: only where it is used
  const s3 = new S3Client({ endpoint: minio.endpoint, region: minio.region, credentials, forcePathStyle: true })
  const objects = async (bucket: string) =>
    (await s3.send(new ListObjectsV2Command({ Bucket: bucket }))).KeyCount ?? Number.NaN
  const contenders: Contender[] = []
  const beds: Bed[] = []
  try {
    const warm: Stored[] = []
    for (const contender of [mounted(far, 'mounted'), ours(far, 'ours')]) {
      const { subject, bucket, before } = contender
      await makeS3Bucket(minio, bucket)
      try {
        await before()
      } catch (error) {
        console.error(`${subject.name} is left out: ${error instanceof Error ? error.message : error}`)
        continue
      }
      contenders.push(contender)
      const bed = await Bed.start(subject)
      beds.push(bed)
      warm.push(await bed.store(100, '220 KB'))
      await until(`${bucket} to be filled`, async () => (await objects(bucket)) === 100)
    }
    for (let round = 0; round < rounds; round++)
      for (const [i, bed] of beds.entries()) {
        const { bucket, emptyCache } = contenders[i] as Contender
        const before = await objects(bucket)
        let stored: Stored | undefined
        const work: Record<(typeof steps)[number], () => Promise<{ readonly seconds: number }>> = {
          upload: async () => {
            stored = await bed.store(FILES, '220 KB', { clients: 1 })
            return stored
          },
          'first reading': () => bed.perform({ ids: stored?.ids ?? [] }),
          'second reading': () => bed.perform({ ids: stored?.ids ?? [] }),
          deletion: () => bed.perform({ removed: [`/studies/${stored?.study}`] }),
        }
        for (const what of steps) {
          if (what === 'first reading') {
            await bed.restart(emptyCache)
            await bed.perform({ ids: warm[i]?.ids ?? [] })
          }
          const began = performance.now()
          const spent = await bed.spent(work[what])
          const left = what === 'deletion' ? before : before + FILES
          await until(`${what} to reach the bucket`, async () => (await objects(bucket)) === left)
          const settled = what.endsWith('reading') ? {} : { settled: (performance.now() - began) / 1000 }
          if (what === 'second reading') await bed.check(stored as Stored)
          if (isWanted(what)) yield { what, subject: bed.subject.name, round, count: FILES, spent, ...settled }
        }
      }
  } finally {
    for (const bed of beds) await bed.stop()
    for (const { after } of contenders) await after()
    s3.destroy()
    await minio.stop()
  }
}

export const mount: SpeedLoad = {
  name: 'mount',
  title: 'Beside a mounted bucket',
  text: `Orthanc's own storage on \`rclone mount --vfs-cache-mode full\`, and this plugin with its cache and deferred deletion. ${FILES} files of 220 KB, one client, MinIO behind a network of 20 ms. Before the first reading, both start again with empty caches. "Done after" is when the bucket has, or has no more, all of the files.`,
  base: MOUNT,
  holds: () => true,
  targets: steps.map(what => ({ what, subject: OURS, beside: MOUNT, least: 1 })),
  measure,
}
