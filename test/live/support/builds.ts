/** Packages of this work tree as somebody else makes them: from a clone in another folder. */
import { appendFileSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../../harness/run.ts'

const root = join(import.meta.dirname, '..', '..', '..')
const identity = ['-c', 'user.name=test', '-c', 'user.email=test@localhost']

export interface Build {
  /** Where the packages are. */
  readonly packages: string
  readonly version: string
}

export interface BuildOptions {
  /** As the version after this one, with a sample that has changed. */
  readonly next?: boolean
  /** With little compression. */
  readonly fast?: boolean
  readonly umask?: string
  /** Beside the environment of the tests. */
  readonly env?: NodeJS.ProcessEnv
}

/** For amd64. */
export async function buildElsewhere(
  folder: string,
  { next = false, fast = false, umask = '022', env = {} }: BuildOptions = {},
): Promise<Build> {
  const git = async (...args: string[]) => (await run('git', [...identity, ...args], { cwd: root })).trim()
  // What is not committed yet is taken along.
  const commit = (await git('stash', 'create')) || (await git('rev-parse', 'HEAD'))
  const shell = (script: string) => run('sh', ['-c', `umask ${umask}; ${script}`], { env: { ...process.env, ...env } })
  await shell(`git clone --quiet --shared --no-checkout '${root}' '${folder}' &&
    git -C '${folder}' checkout --quiet --detach ${commit}`)
  symlinkSync(realpathSync(join(root, 'node_modules')), join(folder, 'node_modules'))
  const version = next ? raise(join(folder, 'package.json')) : versionOf(join(folder, 'package.json'))
  if (next) appendFileSync(join(folder, 'packaging', 'files', 'cloud-storage.json'), '// A newer sample.\n')
  await shell(`cd '${folder}' && '${process.execPath}' scripts/package.mjs amd64 ${fast ? '--fast' : ''}`)
  return { packages: join(folder, 'dist', 'packages'), version }
}

const versionOf = (file: string): string => JSON.parse(readFileSync(file, 'utf8')).version

/** package.json is the one place that has the version. */
function raise(file: string): string {
  const [major, minor, patch] = versionOf(file).split('.').map(Number)
  const version = `${major}.${minor}.${(patch ?? 0) + 1}`
  const text = readFileSync(file, 'utf8')
  writeFileSync(file, text.replace(/"version": ".*"/, `"version": "${version}"`))
  return version
}
