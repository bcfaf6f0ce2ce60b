/**
 * Programs that we build ourselves: `go install` puts each one into a cache folder outside the work tree. The folder is
 * named by the version, and the next run finds the program there.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { cached } from './cached.ts'
import { run } from './run.ts'

export interface GoProgram {
  readonly name: string
  readonly module: string
  readonly version: string
}

export const MINIO: GoProgram = {
  name: 'minio',
  module: 'github.com/minio/minio',
  version: 'v0.0.0-20260212201848-7aac2a2c5b7c',
}
export const FAKE_GCS: GoProgram = {
  name: 'fake-gcs-server',
  module: 'github.com/fsouza/fake-gcs-server',
  version: 'v1.56.1',
}

/** The program's path. Builds it when it is not there, which takes minutes and says so; rejects when that cannot be. */
export async function goProgram({ name, module, version }: GoProgram): Promise<string> {
  return join(await installed(`${name}@${version}`, `${module}@${version}`), name)
}

/** The same for a program of ours. It has the name of its folder, and its version is the content of the folder. */
export async function ownGoProgram(folder: string): Promise<string> {
  const content = createHash('sha256')
  for (const file of readdirSync(folder).sort()) content.update(readFileSync(join(folder, file)))
  const name = basename(folder)
  return join(await installed(`${name}@${content.digest('hex').slice(0, 12)}`, '.', folder), name)
}

function installed(name: string, what: string, cwd?: string): Promise<string> {
  return cached(name, async making => {
    await run('go', ['version']).catch(() => {
      throw new Error(`install Go, with which "go install ${what}" is done once`)
    })
    process.stderr.write(`Building ${name} (once, some minutes) ...\n`)
    const env = { ...process.env, GOBIN: making }
    await run('go', ['install', what], { env, timeout: 20 * 60_000, ...(cwd && { cwd }) })
  })
}
