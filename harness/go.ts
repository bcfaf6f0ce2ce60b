/**
 * Servers that we build ourselves: `go install` puts each one into a cache folder outside the work tree. The folder is
 * named by the version, and the next run finds the program there.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

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

function placeOf({ name, version }: GoProgram): string {
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache')
  return join(cache, 'orthanc-cloud-storage', `${name}@${version}`)
}

/** The program's path. A missing program is built: this takes minutes, and says so. Rejects when it cannot be built. */
export async function goProgram(program: GoProgram): Promise<string> {
  const place = placeOf(program)
  const file = join(place, program.name)
  if (existsSync(file)) return file
  const what = `${program.module}@${program.version}`
  await run('go', ['version']).catch(() => {
    throw new Error(`Go is not installed. With it, "go install ${what}" builds ${program.name}, once`)
  })
  process.stderr.write(`Building ${program.name} (once, some minutes) ...\n`)
  const making = `${place}.${process.pid}`
  mkdirSync(making, { recursive: true })
  try {
    await run('go', ['install', what], { env: { ...process.env, GOBIN: making }, timeout: 20 * 60_000 })
    if (!existsSync(place)) renameSync(making, place) // else another process was faster
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim().split('\n').at(-1) : error
    throw new Error(`"go install ${what}" failed: ${said}`)
  } finally {
    rmSync(making, { recursive: true, force: true })
  }
  return file
}
