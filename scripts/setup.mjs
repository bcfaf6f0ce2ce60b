// What every command needs before it can begin, on any Node.js from 18: npm packages, Debian packages, our own Node.js.
// Plain JavaScript without dependencies, because it runs before there are any.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
const logFolder = join(root, 'build', 'log')

export const BUILD_PACKAGES = ['orthanc', 'orthanc-dev', 'g++', 'make']
export const CEPH_PACKAGES = ['ceph-mon', 'ceph-osd', 'ceph-common', 'radosgw']
/** debootstrap: for a newer Orthanc. dcmtk receives, rclone mounts. */
export const BENCH_PACKAGES = [...CEPH_PACKAGES, 'dcmtk', 'debootstrap', 'rclone', 'fuse3']
/** For `npm start -- --cluster`. */
export const CLUSTER_PACKAGES = ['postgresql', 'orthanc-postgresql']
/** For `npm run package`. */
export const PACKAGING_PACKAGES = ['dpkg', 'llvm', 'make', 'orthanc-dev', 'python3-pip']
/** debootstrap: for the Orthancs of other Debian releases. */
export const TEST_PACKAGES = [...BUILD_PACKAGES, 'dcmtk', 'chromium', 'debootstrap', ...CEPH_PACKAGES]
/** For what only `npm run test:long` tries: packages, images (without a registry and a service), several Orthancs. */
export const LONG_PACKAGES = [...PACKAGING_PACKAGES, 'lintian', 'buildah', 'runc', 'haproxy', 'postgresql']

export function say(line) {
  process.stdout.write(`${line}\n`)
}

export function stop(line) {
  process.stderr.write(`${line}\n`)
  process.exit(1)
}

/** Runs a command with its output in a log file; shows the end of it when the command fails. */
function quietly(name, command, args, options = {}) {
  mkdirSync(logFolder, { recursive: true })
  const file = join(logFolder, `${name}.log`)
  const log = openSync(file, 'w')
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['inherit', log, log], ...options })
  if (status === 0) return true
  process.stderr.write(`${readFileSync(file, 'utf8').split('\n').slice(-25).join('\n')}\n`)
  process.stderr.write(
    `"${command} ${args.join(' ')}" failed${error ? `: ${error.message}` : ''}; its whole output is in ${file}\n`,
  )
  return false
}

/** npm packages, exactly those of package-lock.json. When they are there, this only compares two files. */
export function ensureNpmPackages() {
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8')
  const stamp = join(root, 'node_modules', '.installed-lock')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return
  say('Installing npm packages (once) ...')
  if (!quietly('npm', 'npm', ['ci', '--no-audit', '--no-fund'])) process.exit(1)
  writeFileSync(stamp, lock)
}

// dpkg's own placeholders, not JavaScript's
const FORMAT = ['$', '{Package} $', '{db:Status-Status}\n'].join('')

function missingPackages(packages) {
  const query = spawnSync('dpkg-query', ['-W', '-f', FORMAT, ...packages], {
    encoding: 'utf8',
  })
  if (query.error) stop('This needs a Debian or Ubuntu machine: there is no dpkg-query here.')
  const installed = query.stdout
    .split('\n')
    .filter(line => line.endsWith(' installed'))
    .map(line => line.split(' ')[0])
  return packages.filter(name => !installed.includes(name))
}

/** Debian packages, by apt-get as root or through sudo. With `required` false it says what is missing, and goes on. */
export function ensureDebianPackages(packages, { required = true } = {}) {
  const missing = missingPackages(packages)
  if (missing.length === 0) return
  const install = ['apt-get', 'install', '--yes', '--no-install-recommends', ...missing]
  const prefix = process.getuid() === 0 ? [] : canSudo() ? ['sudo'] : undefined
  if (!prefix) {
    const line = `These Debian packages are missing; install them with\n\n    sudo ${install.join(' ')}\n`
    if (required) stop(`${line}\nand run the same command again.`)
    process.stderr.write(`${line}\nWhat needs them is skipped.\n`)
    return
  }
  say(`Installing Debian packages (once): ${missing.join(' ')} ...`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const run = (name, args) => quietly(name, ...split([...prefix, ...args]), { env })
  // Old package lists name versions that are no longer there.
  if (!run('apt-get-update', ['apt-get', 'update']) && required) process.exit(1)
  const worked = run('apt-get-install', install)
  if (!worked && required) process.exit(1)
  if (worked && missing.includes('orthanc')) silenceService([...prefix])
}

/** Debian starts a service with the package. It would take the ports that `npm start` uses. */
function silenceService(prefix) {
  if (!existsSync('/run/systemd/system')) {
    spawnSync(...split([...prefix, 'service', 'orthanc', 'stop']), { stdio: 'ignore' })
    return
  }
  spawnSync(...split([...prefix, 'systemctl', 'disable', '--now', 'orthanc']), { stdio: 'ignore' })
  say('Debian\'s own "orthanc" service was switched off again (systemctl enable --now orthanc brings it back).')
}

function canSudo() {
  const args = process.stdin.isTTY ? ['-v'] : ['-n', 'true']
  return spawnSync('sudo', args, { stdio: process.stdin.isTTY ? 'inherit' : 'ignore' }).status === 0
}

function split([command, ...args]) {
  return [command, args]
}

/** Node 24 from our npm packages; else the Node that runs this, if it is new enough to run TypeScript. */
export function node() {
  const own = join(root, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node')
  if (existsSync(own)) return own
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 22 || (major === 22 && minor >= 18)) return process.execPath
  return stop(
    `There is no Node.js 22.18 or newer for this machine (${process.platform} ${process.arch}); this one is ${process.versions.node}.`,
  )
}

/** Runs one of our programs in the foreground; resolves to its exit code. */
export function foreground(command, args, options = {}) {
  const { status, signal } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options })
  return status ?? (signal ? 1 : 1)
}
