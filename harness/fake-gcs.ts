/** fake-gcs-server, the usual emulator of Google Cloud Storage. It checks no token. */
import { join } from 'node:path'
import { freePort, type Running, startChild } from './child.ts'
import { FAKE_GCS, goProgram } from './go.ts'

export interface GcsSettings {
  readonly endpoint: string
}

export interface FakeGcs extends GcsSettings, Running {}

export async function startFakeGcs(folder: string): Promise<FakeGcs> {
  const program = await goProgram(FAKE_GCS)
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  const place = ['-scheme', 'http', '-host', '127.0.0.1', '-port', String(port), '-external-url', endpoint]
  const { stop } = await startChild(program, [...place, '-backend', 'memory', '-log-level', 'error'], {
    log: join(folder, 'fake-gcs.log'),
    ready: async () => {
      if (!(await fetch(`${endpoint}/_internal/healthcheck`)).ok) throw new Error('not yet')
    },
  })
  return { endpoint, stop }
}

export async function makeBucket({ endpoint }: GcsSettings, name: string): Promise<void> {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${endpoint}/storage/v1/b?project=test`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ name }),
  })
  if (!answer.ok) throw new Error(`no bucket: HTTP ${answer.status} ${await answer.text()}`)
}
