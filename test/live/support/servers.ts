/** How a test gets a real server: setup.ts has started it, or there is a loud reason why not. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AzureSettings } from '../../../harness/azurite.ts'
import type { GcsSettings } from '../../../harness/fake-gcs.ts'
import { whyNoPostgresql } from '../../../harness/postgresql.ts'
import type { S3Settings } from '../../../harness/s3.ts'
import { type DebianRelease, type DebianTree, orthancTree } from '../../../harness/trees.ts'
import { LONG } from '../../support/long.ts'

interface Servers {
  readonly ceph: S3Settings
  readonly minio: S3Settings
  readonly azurite: AzureSettings
  readonly 'fake-gcs': GcsSettings
}
export type ServerName = keyof Servers

type Found = { readonly settings: object } | { readonly missing: string }

/** Names the folder in which setup.ts and the test processes meet: a file for each server. */
const FOLDER = 'OCS_LIVE_SERVERS'
const fileOf = (name: ServerName) => join(process.env[FOLDER] ?? '', `${name}.json`)

/** Called by setup.ts, once: environment variables reach the test processes. */
export function meetIn(folder: string): void {
  process.env[FOLDER] = folder
}

/** Called by setup.ts when a server is there, or cannot be started. */
export function handOver(name: ServerName, found: Found): void {
  writeFileSync(`${fileOf(name)}.new`, JSON.stringify(found), { mode: 0o600 })
  renameSync(`${fileOf(name)}.new`, fileOf(name))
}

/** Waits, because tests are named after the servers that there are. */
function awaited(name: ServerName): Found {
  if (!process.env[FOLDER]) return { missing: 'run npm test, which starts one' }
  const setup = process.ppid
  while (!existsSync(fileOf(name))) {
    if (process.ppid !== setup) throw new Error('the process that starts the servers is gone')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
  }
  return JSON.parse(readFileSync(fileOf(name), 'utf8'))
}

/** A server, once it has started; or undefined after a loud skip. With LIVE=required a missing server is a failure. */
export function liveServer<N extends ServerName>(name: N): Servers[N] | undefined {
  const found = awaited(name)
  if ('settings' in found) return found.settings as Servers[N]
  return lacks(name, found.missing)
}

/** The Orthanc of a Debian release, made once; or undefined as with a server. */
export async function liveOrthanc(release: DebianRelease): Promise<DebianTree | undefined> {
  try {
    return await orthancTree(release)
  } catch (error) {
    return lacks(`Orthanc of Debian ${release}`, error instanceof Error ? error.message : String(error))
  }
}

/**
 * Whether a PostgreSQL can be started here; if not, a loud skip as with a server. Only `npm run test:long` needs it,
 * and installs it: Debian starts a service with the package.
 */
export function livePostgresql(): boolean {
  const why = whyNoPostgresql()
  if (why !== undefined && LONG) lacks('PostgreSQL', why)
  return why === undefined
}

function lacks(what: string, why: string): undefined {
  if (process.env['LIVE'] === 'required') throw new Error(`LIVE=required, but there is no ${what}: ${why}`)
  process.stderr.write(`\nSKIPPED: no ${what} for ${process.argv[1]}: ${why}\n\n`)
}

/** The S3 server of tests that need just one. */
export const s3Server = () => liveServer('ceph')
