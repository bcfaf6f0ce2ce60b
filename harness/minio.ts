/** MinIO, the S3 server that the Orthanc Book shows: path-style addresses, strict signatures. */
import { join } from 'node:path'
import { freePort, startChild } from './child.ts'
import { goProgram, MINIO } from './go.ts'
import type { S3Server } from './s3.ts'

/** `wanted`: the port, for one that comes back. */
export async function startMinio(folder: string, wanted?: number): Promise<S3Server> {
  const program = await goProgram(MINIO)
  const [port, consolePort] = [wanted ?? (await freePort()), await freePort()]
  const keys = { accessKey: 'minio-user', secretKey: 'minio-password' }
  const endpoint = `http://127.0.0.1:${port}`
  const address = ['--address', `127.0.0.1:${port}`, '--console-address', `127.0.0.1:${consolePort}`]
  const { stop } = await startChild(program, ['server', join(folder, 'data'), ...address], {
    log: join(folder, 'minio.log'),
    env: {
      MINIO_REGION: 'eu-west-1',
      MINIO_ROOT_USER: keys.accessKey,
      MINIO_ROOT_PASSWORD: keys.secretKey,
      MINIO_BROWSER: 'off',
      MINIO_UPDATE: 'off',
    },
    ready: async () => {
      if (!(await fetch(`${endpoint}/minio/health/ready`)).ok) throw new Error('not yet')
    },
  })
  return { endpoint, ...keys, region: 'eu-west-1', stop }
}
