/**
 * A machine that has never seen the project: a copy of a minimal Debian tree, without Node.js and without this
 * repository. It has the processes, devices and network of this machine, and no systemd: packages start no service.
 */
import { spawn } from 'node:child_process'
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { freePort } from './child.ts'
import { OrthancProcess } from './orthanc.ts'
import { run } from './run.ts'
import { type DebianRelease, inTree, minimalTree, preparedForPackages, sourceOf } from './trees.ts'

/** The environment of a service or of root, with nothing of ours. */
const ENVIRONMENT = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL=C.UTF-8']
const CONFIGURATION = 'etc/orthanc/orthanc.json'

export class Newcomer {
  /** Stands for `/`. */
  readonly folder: string

  private constructor(folder: string) {
    this.folder = folder
  }

  /** `folder`: is made, for this machine. */
  static async arrive(release: DebianRelease, folder: string): Promise<Newcomer> {
    await run('cp', ['--archive', '--reflink=auto', await minimalTree(release), folder])
    const newcomer = new Newcomer(folder)
    const mirror = sourceOf('Debian')
    // Of bullseye, the index of security updates names packages that are no longer there.
    const security = release === 'bullseye' ? undefined : sourceOf('Debian-Security')
    newcomer.write(
      'etc/apt/sources.list',
      [
        `deb ${mirror} ${release} main`,
        `deb ${mirror} ${release}-updates main`,
        ...(security ? [`deb ${security} ${release}-security main`] : []),
      ].join('\n'),
    )
    preparedForPackages(folder)
    await newcomer.run('apt-get update')
    return newcomer
  }

  read(path: string): string {
    return readFileSync(join(this.folder, path), 'utf8')
  }

  write(path: string, text: string): void {
    writeFileSync(join(this.folder, path), text)
  }

  /** As an editor does it: owner and mode of the file stay. */
  edit(path: string, change: (text: string) => string): void {
    this.write(path, change(this.read(path)))
  }

  /** Into root's home. Returns the path there. */
  bring(file: string): string {
    const path = join('root', basename(file))
    copyFileSync(file, join(this.folder, path))
    return `/${path}`
  }

  /** Runs a script of the shell; resolves to all that it printed, in order. */
  async run(script: string, { user = 'root' } = {}): Promise<string> {
    const [command, ...args] = this.#command(user, ['sh', '-c', `exec 2>&1; ${script}`])
    return await run(command, args)
  }

  /** As Debian's service runs it: its user and its configuration, on ports that are free here. */
  async startOrthanc(): Promise<OrthancProcess> {
    const ports = { http: await freePort(), dicom: await freePort() }
    this.edit(CONFIGURATION, text =>
      text
        .replace(/^( *"HttpPort" *: *)\d+/m, `$1${ports.http}`)
        .replace(/^( *"DicomPort" *: *)\d+/m, `$1${ports.dicom}`)
        .replace(/^( *"MaximumStorageCacheSize" *: *)\d+/m, '$10'),
    )
    const log = join(this.folder, 'var/log/orthanc/test.log')
    rmSync(log, { force: true })
    const [command, ...args] = this.#command('orthanc', [
      '/usr/sbin/Orthanc',
      '--verbose',
      '--logfile=/var/log/orthanc/test.log',
      '/etc/orthanc',
    ])
    const child = spawn(command, args, { stdio: 'ignore', detached: true })
    const orthanc = new OrthancProcess(child, ports, log)
    await orthanc.ready()
    return orthanc
  }

  /** Every file and folder, but for what programs themselves write while they work. */
  files(): string[] {
    const found: string[] = []
    const look = (path: string) => {
      for (const entry of readdirSync(join(this.folder, path), { withFileTypes: true })) {
        const name = join(path, entry.name)
        if (/^(proc|dev|sys|run|var\/(cache|log)|var\/lib\/(apt|orthanc)|root)$/.test(name)) continue
        found.push(name)
        if (entry.isDirectory()) look(name)
      }
    }
    look('')
    return found.sort()
  }

  leave(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }

  #command(user: string, program: readonly string[]): [string, ...string[]] {
    const identity = ['--reuid', user, '--regid', user, '--init-groups']
    const home = user === 'root' ? '/root' : `/var/lib/${user}`
    const environment = ['-i', ...ENVIRONMENT, `HOME=${home}`, 'DEBIAN_FRONTEND=noninteractive']
    return inTree(this.folder, 'setpriv', [...identity, 'env', ...environment, ...program], [])
  }
}
