/**
 * Images and containers without a registry and without a service: buildah builds them over Debian trees, runc runs
 * them. Only root can. Containers share this machine's network, and nothing else.
 */
import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { OrthancProcess } from './orthanc.ts'
import { run } from './run.ts'
import { preparedForPackages } from './trees.ts'

export interface BuildOptions {
  /** A folder. */
  readonly context: string
  /** Without it, `Dockerfile` in the context. */
  readonly file?: string
  readonly args?: Readonly<Record<string, string>>
}

export interface ContainerOptions {
  readonly image: string
  readonly user: { readonly uid: number; readonly gid: number }
  readonly env?: Readonly<Record<string, string>>
  /** The root file system can be written to. */
  readonly writable?: boolean
  /** Empty folders that everybody can write to, as Kubernetes makes them (`emptyDir`). */
  readonly volumes?: readonly string[]
  /** Files of the container, with what they hold. Its user reads them, and nobody writes. */
  readonly files?: Readonly<Record<string, string>>
  /** Of its Orthanc's HTTP server, on this machine. */
  readonly port: number
}

export interface Container {
  readonly orthanc: OrthancProcess
  /** Of the processes, as this machine has them: Orthanc, and what Orthanc started. */
  readonly pids: () => Promise<readonly number[]>
  /** null while it runs. */
  readonly exitCode: () => number | null
}

export class Containers {
  readonly #folder: string
  #count = 0

  constructor(folder: string) {
    this.#folder = folder
  }

  async buildah(...args: readonly string[]): Promise<string> {
    const store = ['--root', join(this.#folder, 'images'), '--runroot', join(this.#folder, 'images.run')]
    return (await run('buildah', [...store, ...args])).trim()
  }

  /** Makes an image of a Debian tree, as somebody who downloads Debian's or a team's image has it. */
  async importTree(tree: string, name: string): Promise<void> {
    const container = await this.buildah('from', 'scratch')
    const root = await this.buildah('mount', container)
    await run('cp', ['--archive', `${tree}/.`, root])
    for (const left of readdirSync(join(root, 'tmp'))) rmSync(join(root, 'tmp', left), { recursive: true })
    preparedForPackages(root)
    await this.buildah('commit', '--quiet', container, name)
    await this.buildah('rm', container)
  }

  async build(name: string, { context, file, args = {} }: BuildOptions): Promise<void> {
    const given = Object.entries(args).flatMap(([key, value]) => ['--build-arg', `${key}=${value}`])
    const of = file === undefined ? [] : ['--file', file]
    await this.buildah('build', '--isolation', 'chroot', '--quiet', ...given, ...of, '--tag', name, context)
  }

  async labels(image: string): Promise<Readonly<Record<string, string>>> {
    return (await this.#configuration(image)).Labels
  }

  /** As a strict cluster runs it: no capabilities, no new ones, processes of its own. */
  async run(options: ContainerOptions): Promise<Container> {
    const id = `ocs-${process.pid}-${++this.#count}`
    const bundle = join(this.#folder, id)
    mkdirSync(bundle, { mode: 0o755 })
    const layers = await this.buildah('from', options.image)
    const root = await this.buildah('mount', layers)
    const image = await this.#configuration(options.image)
    execFileSync('runc', ['spec'], { cwd: bundle })
    const spec = specification(JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')), options, image, root)
    spec.mounts.push(...volumes(bundle, options.volumes ?? []), ...files(bundle, options.files ?? {}))
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec))

    const log = join(bundle, 'log')
    const out = openSync(log, 'w')
    const state = ['--root', join(this.#folder, 'containers')]
    const child = spawn('runc', [...state, 'run', '--bundle', bundle, id], {
      stdio: ['ignore', out, out],
      detached: true,
    })
    closeSync(out)
    const end = () => {
      try {
        execFileSync('runc', [...state, 'delete', '--force', id], { stdio: 'ignore' })
      } catch {
        // it has ended, and runc has forgotten it
      }
    }
    process.once('exit', end)
    child.once('exit', () => {
      process.off('exit', end)
      end() // runc itself may have been killed
    })
    const orthanc = new OrthancProcess(child, { http: options.port, dicom: 0 }, log)
    await orthanc.ready().catch(error => {
      end()
      throw error
    })
    const pids = async () => JSON.parse(await run('runc', [...state, 'ps', '--format', 'json', id]))
    return { orthanc, pids, exitCode: () => child.exitCode }
  }

  /** Ends nothing: stop the containers before. */
  async close(): Promise<void> {
    await this.buildah('rm', '--all')
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #configuration(image: string): Promise<ImageConfiguration> {
    return JSON.parse(await this.buildah('inspect', '--type', 'image', image)).OCIv1.config
  }
}

interface ImageConfiguration {
  readonly Env: readonly string[]
  readonly Entrypoint: readonly string[]
  readonly Cmd: readonly string[]
  readonly Labels: Readonly<Record<string, string>>
}

interface Mount {
  readonly destination: string
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
}

interface Specification {
  process: object
  root: object
  mounts: Mount[]
  linux: { namespaces: { type: string }[] }
}

function volumes(bundle: string, paths: readonly string[]): Mount[] {
  return paths.map((destination, index) => {
    const source = join(bundle, `volume-${index}`)
    mkdirSync(source)
    chmodSync(source, 0o777)
    return { destination, source, type: 'bind', options: ['bind', 'nosuid', 'nodev'] }
  })
}

function files(bundle: string, texts: Readonly<Record<string, string>>): Mount[] {
  return Object.entries(texts).map(([destination, text], index) => {
    const source = join(bundle, `file-${index}`)
    writeFileSync(source, text, { mode: 0o444 })
    return { destination, source, type: 'bind', options: ['bind', 'ro'] }
  })
}

/** runc's own default, with what the options say. */
function specification(
  base: Specification,
  { user, env = {}, writable = false }: ContainerOptions,
  image: ImageConfiguration,
  root: string,
): Specification {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  return {
    ...base,
    process: {
      user,
      args: [...image.Entrypoint, ...image.Cmd],
      env: [...image.Env, ...variables],
      cwd: '/',
      capabilities: {},
      noNewPrivileges: true,
    },
    root: { path: root, readonly: !writable },
    linux: { ...base.linux, namespaces: base.linux.namespaces.filter(({ type }) => type !== 'network') },
  }
}
