/** node --test-global-setup: one server of each kind for all test files, since Ceph alone takes some 15 s to start. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startAzurite } from './azurite.ts'
import { startCeph, whyNoCeph } from './ceph.ts'
import { startFakeGcs } from './fake-gcs.ts'
import { startMinio } from './minio.ts'
import { handOver, type ServerName } from './servers.ts'

const starts: Readonly<Record<ServerName, (folder: string) => Promise<{ stop(): Promise<void> }>>> = {
  ceph: folder => {
    const why = whyNoCeph()
    return why ? Promise.reject(new Error(why)) : startCeph(folder)
  },
  minio: startMinio,
  azurite: startAzurite,
  'fake-gcs': startFakeGcs,
}

const stops: (() => Promise<void>)[] = []

export async function globalSetup(): Promise<void> {
  await Promise.all(
    (Object.keys(starts) as ServerName[]).map(async name => {
      const folder = mkdtempSync(join(tmpdir(), `ocs-${name}-`))
      stops.push(async () => rmSync(folder, { recursive: true, force: true }))
      try {
        const { stop, ...settings } = await starts[name](folder)
        stops.unshift(stop)
        handOver(name, { settings })
      } catch (error) {
        handOver(name, { missing: error instanceof Error ? error.message : String(error) })
      }
    }),
  )
}

export async function globalTeardown(): Promise<void> {
  for (const stop of stops) await stop()
}
