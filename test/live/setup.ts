/** node --test-global-setup: one Ceph for all test files, since it takes some 15 s to start. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type S3Server, startCeph, whyNoCeph } from './ceph.ts'
import { LIVE_S3, LIVE_S3_MISSING } from './servers.ts'

let server: S3Server | undefined
let folder: string | undefined

export async function globalSetup(): Promise<void> {
  const why = whyNoCeph()
  if (why) {
    process.env[LIVE_S3_MISSING] = why
    return
  }
  folder = mkdtempSync(join(tmpdir(), 'ocs-ceph-'))
  server = await startCeph(folder)
  const { endpoint, accessKey, secretKey, region } = server
  process.env[LIVE_S3] = JSON.stringify({ endpoint, accessKey, secretKey, region })
}

export async function globalTeardown(): Promise<void> {
  await server?.stop()
  if (folder) rmSync(folder, { recursive: true, force: true })
}
