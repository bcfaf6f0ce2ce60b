/** How a test gets a real server: setup.ts has started it, or there is a loud reason why not. */
import type { AzureSettings } from './azurite.ts'
import type { GcsSettings } from './fake-gcs.ts'

export interface S3Settings {
  readonly endpoint: string
  readonly accessKey: string
  readonly secretKey: string
  readonly region: string
}

interface Servers {
  readonly ceph: S3Settings
  readonly minio: S3Settings
  readonly azurite: AzureSettings
  readonly 'fake-gcs': GcsSettings
}
export type ServerName = keyof Servers

const variable = (name: ServerName) => `OCS_LIVE_${name.toUpperCase().replace('-', '_')}`

/** Called by setup.ts: environment variables reach the test processes. */
export function handOver(name: ServerName, found: { settings: object } | { missing: string }): void {
  process.env[variable(name)] = JSON.stringify(found)
}

/** A server, or undefined after a loud skip. With LIVE=required a missing server is a failure. */
export function liveServer<N extends ServerName>(name: N): Servers[N] | undefined {
  const found = JSON.parse(process.env[variable(name)] ?? '{"missing":"run npm test, which starts one"}')
  if (found.settings) return found.settings
  if (process.env['LIVE'] === 'required') throw new Error(`LIVE=required, but there is no ${name}: ${found.missing}`)
  process.stderr.write(`\nSKIPPED: no ${name} for ${process.argv[1]}: ${found.missing}\n\n`)
  return undefined
}

/** The S3 server of tests that need just one. */
export const s3Server = () => liveServer('ceph')
