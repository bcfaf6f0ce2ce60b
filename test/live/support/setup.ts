/**
 * node --test-global-setup: one server of each kind for all test files. Ceph alone takes some 15 s to start, and
 * building the others takes minutes, once. Nothing waits here: a test file that needs a server waits for it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startAzurite } from '../../../harness/azurite.ts'
import { startCeph, whyNoCeph } from '../../../harness/ceph.ts'
import { startFakeGcs } from '../../../harness/fake-gcs.ts'
import { startMinio } from '../../../harness/minio.ts'
import { handOver, meetIn, type ServerName } from './servers.ts'

const starts: Readonly<Record<ServerName, (folder: string) => Promise<{ stop(): Promise<void> }>>> = {
  ceph: folder => {
    const why = whyNoCeph()
    return why ? Promise.reject(new Error(why)) : startCeph(folder)
  },
  minio: startMinio,
  azurite: startAzurite,
  'fake-gcs': startFakeGcs,
}

let folder = ''
let started: Promise<(() => Promise<void>) | undefined>[] = []

export async function globalSetup(): Promise<void> {
  folder = mkdtempSync(join(tmpdir(), 'ocs-servers-'))
  meetIn(folder)
  started = (Object.keys(starts) as ServerName[]).map(async name => {
    try {
      const { stop, ...settings } = await starts[name](mkdtempSync(join(folder, name)))
      handOver(name, { settings })
      return stop
    } catch (error) {
      handOver(name, { missing: error instanceof Error ? error.message : String(error) })
      return undefined
    }
  })
}

export async function globalTeardown(): Promise<void> {
  for (const stop of await Promise.all(started)) await stop?.()
  rmSync(folder, { recursive: true, force: true })
}
