/**
 * The Orthancs of other Debian releases, each in a tree of its own. debootstrap makes a tree once, in the cache outside
 * the work tree. An Orthanc in it runs like a program of this machine: the same processes, network and temporary files.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { cached } from './cached.ts'
import { run } from './run.ts'

export type DebianRelease = 'bullseye' | 'bookworm' | 'trixie' | 'forky'

export interface DebianTree {
  readonly release: DebianRelease
  /** Stands for `/`. */
  readonly folder: string
  /** Of its Orthanc, such as `1.13.0`. A release that is not stable yet moves on. */
  readonly version: string
}

const root = dirname(import.meta.dirname)

const trees = new Map<DebianRelease, Promise<DebianTree>>()

/** Orthanc and its PostgreSQL plugin. Rejects with what to do when this machine cannot make a tree. */
export function orthancTree(release: DebianRelease): Promise<DebianTree> {
  const known = trees.get(release) ?? treeOf(release)
  trees.set(release, known)
  return known
}

/** Nothing but what Debian cannot be without, as a newcomer's machine or container. To be copied, never changed. */
export function minimalTree(release: DebianRelease): Promise<string> {
  return cached(`debian-${release}-minimal`, making => debootstrap(release, making))
}

async function treeOf(release: DebianRelease): Promise<DebianTree> {
  const folder = await cached(`debian-${release}-orthanc`, making =>
    debootstrap(release, making, ['orthanc', 'orthanc-postgresql']),
  )
  const [command, ...args] = inTree(folder, 'Orthanc', ['--version'])
  const [, version = ''] = /Orthanc (\d+\.\d+\.\d+)/.exec(await run(command, args)) ?? []
  return { release, folder, version }
}

/** Fills a folder with a minimal Debian and `packages`, from where this machine's own packages come from. */
export async function debootstrap(
  release: DebianRelease,
  folder: string,
  packages: readonly string[] = [],
): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new Error(`A tree of Debian ${release} is made by root: run this once as root, or with sudo`)
  process.stderr.write(`Making a tree of Debian ${release} with ${packages.join(', ') || 'nothing else'} (once) ...\n`)
  await run('debootstrap', ['--version']).catch(() => {
    throw new Error(`"apt-get install debootstrap" is needed, which makes a tree of Debian ${release} once`)
  })
  const include = packages.length > 0 ? [`--include=${packages.join(',')}`] : []
  // An older debootstrap has no script for a newer release. All of these releases have that of sid.
  const script = '/usr/share/debootstrap/scripts/sid'
  await run('debootstrap', ['--variant=minbase', ...include, release, folder, mirror(), script])
}

/** The mirror in this machine's own apt sources. */
function mirror(): string {
  const uri = sourceOf('Debian')
  if (!uri) throw new Error('apt knows no mirror of Debian: run "apt-get update" on a Debian machine')
  return uri
}

/** Where this machine's apt gets the archive with this label from. */
export function sourceOf(label: 'Debian' | 'Debian-Security'): string | undefined {
  const format = '$(LABEL) $(REPO_URI)'
  const targets = execFileSync('apt-get', ['indextargets', '--format', format, 'Created-By: Packages'], {
    encoding: 'utf8',
  })
  return new RegExp(`^${label} (\\S+)$`, 'm').exec(targets)?.[1]
}

/**
 * For a copy of a tree in which packages are installed. As in all images of Debian, they start no service. And a test
 * may run long after the release was signed, so its index may have expired.
 */
export function preparedForPackages(folder: string): void {
  writeFileSync(join(folder, 'usr/sbin/policy-rc.d'), '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  writeFileSync(join(folder, 'etc/apt/apt.conf.d/99-test'), 'Acquire::Check-Valid-Until "false";\n')
}

/** What a program of this project needs of this machine: temporary files, this repository and Node.js. */
const ours = () => [tmpdir(), root, dirname(realpathSync(process.execPath))]

/**
 * The command that runs a program of a tree, with this machine's processes and devices, and with `more` of its folders.
 * `exec` all along: the process that is started becomes the program.
 */
export function inTree(
  folder: string,
  program: string,
  args: readonly string[],
  more: readonly string[] = ours(),
): [string, ...string[]] {
  const shared = ['/proc', '/dev', ...more].filter(existsSync)
  for (const path of shared) mkdirSync(join(folder, path), { recursive: true })
  const mounts = shared.map(path => `mount --rbind ${quoted(path)} ${quoted(join(folder, path))}`)
  const script = `set -e; ${mounts.join('; ')}; exec chroot ${quoted(folder)} "$@"`
  // `slave`: what is mounted later on this machine is seen, and nothing is mounted back.
  return ['unshare', '--mount', '--propagation', 'slave', 'sh', '-c', script, 'sh', program, ...args]
}

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`
