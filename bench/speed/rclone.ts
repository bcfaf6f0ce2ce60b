/** A bucket as a folder: what people use instead of a plugin. */
import { readFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { startChild } from '../../harness/child.ts'
import { run } from '../../harness/run.ts'
import type { S3Settings } from '../../harness/s3.ts'

export interface Mount {
  /** Mounts the bucket, with an empty cache. */
  mount(): Promise<void>
  unmount(): Promise<void>
  readonly path: string
}

/** Why this machine cannot mount; undefined when it can. */
export async function whyNoMount(): Promise<string | undefined> {
  try {
    await run('rclone', ['version'])
    await run('fusermount3', ['--version'])
    readFileSync('/proc/filesystems', 'utf8').match(/\bfuse\b/) ?? (await run('modprobe', ['fuse']))
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** `rclone mount` as its documentation has it for writing: with the full cache, and what else is its default. */
export function rcloneMount(
  { endpoint, accessKey, secretKey, region }: S3Settings,
  bucket: string,
  folder: string,
): Mount {
  const [path, cache] = [join(folder, 'mount'), join(folder, 'rclone-cache')]
  const env = {
    AWS_CA_BUNDLE: '', // rclone does not start with one
    RCLONE_CONFIG: join(folder, 'rclone.conf'),
    RCLONE_CONFIG_BENCH_TYPE: 's3',
    RCLONE_CONFIG_BENCH_PROVIDER: 'Minio',
    RCLONE_CONFIG_BENCH_ENDPOINT: endpoint,
    RCLONE_CONFIG_BENCH_REGION: region,
    RCLONE_CONFIG_BENCH_ACCESS_KEY_ID: accessKey,
    RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY: secretKey,
  }
  const isMounted = () => readFileSync('/proc/mounts', 'utf8').includes(` ${path} fuse`)
  let stop = async () => {}
  return {
    path,
    mount: async () => {
      await rm(cache, { recursive: true, force: true })
      await mkdir(path, { recursive: true })
      const child = await startChild(
        'rclone',
        ['mount', `BENCH:${bucket}`, path, '--vfs-cache-mode', 'full', '--cache-dir', cache],
        {
          log: join(folder, 'rclone.log'),
          env,
          ready: async () => {
            if (!isMounted()) throw new Error('not yet')
          },
        },
      )
      stop = child.stop
    },
    unmount: async () => {
      if (isMounted()) await run('fusermount3', ['-uz', path])
      await stop()
    },
  }
}
