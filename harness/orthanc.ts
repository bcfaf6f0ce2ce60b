/** A real Orthanc for tests, benchmarks and the demonstration: starts it, watches it, talks to it, stops it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { Agent, type Dispatcher } from 'undici'
import { freePort } from './child.ts'
import { type DebianRelease, inTree, orthancTree } from './trees.ts'
import { GIVE_UP_MS, until } from './until.ts'

export const PLUGIN = new URL('../dist/libOrthancCloudStorage.so', import.meta.url).pathname

export interface OrthancOptions {
  /** What goes into Orthanc's configuration beside the harness's own settings: the sections under test. */
  readonly config: Readonly<Record<string, unknown>>
  /** Holds index, configuration and log; the same folder again is the same Orthanc restarted. */
  readonly dir: string
  /** Whose Orthanc runs. Without it, that of ORTHANC_RELEASE in the environment; else that of this machine. */
  readonly release?: DebianRelease
  /** undefined = ours; null = none. */
  readonly plugin?: string | null
  readonly ports?: { readonly http: number; readonly dicom: number }
  readonly verbose?: boolean | 'trace'
  /** Beside the environment of the tests. */
  readonly env?: Readonly<Record<string, string>>
}

/** Orthanc ended instead of starting. */
export class RefusedToStart extends Error {
  readonly log: string
  /** Where the log is. */
  readonly file: string
  readonly exitCode: number | null
  constructor(log: string, file: string, exitCode: number | null) {
    super(`Orthanc ended with ${exitCode}:\n${log.split('\n').slice(-15).join('\n')}`)
    this.log = log
    this.file = file
    this.exitCode = exitCode
  }
}

const CRASHES: readonly NodeJS.Signals[] = ['SIGSEGV', 'SIGBUS', 'SIGABRT', 'SIGILL', 'SIGFPE']

/** Node for the plugin: the one that runs the tests. */
const node = process.execPath

export async function startOrthanc(options: OrthancOptions): Promise<OrthancProcess> {
  mkdirSync(options.dir, { recursive: true })
  const ports = options.ports ?? { http: await freePort(), dicom: await freePort() }
  const plugin = options.plugin === undefined ? PLUGIN : options.plugin
  const file = join(options.dir, 'orthanc.json')
  const log = join(options.dir, 'orthanc.log')
  const configuration = {
    Name: 'Orthanc',
    HttpPort: ports.http,
    DicomPort: ports.dicom,
    DicomServerEnabled: false, // it takes a second to stop; a test that stores by DICOM turns it on
    RemoteAccessAllowed: false,
    AuthenticationEnabled: false,
    DicomCheckModalityHost: false,
    IndexDirectory: join(options.dir, 'index'),
    StorageDirectory: join(options.dir, 'index'),
    MaximumStorageCacheSize: 0, // else what was just written is read from memory
    ...(plugin === null ? {} : { Plugins: [plugin] }),
    ...options.config,
    CloudStorage: { Node: node, ...(options.config['CloudStorage'] as object | undefined) },
  }
  writeFileSync(file, JSON.stringify(configuration, undefined, 2), { mode: 0o600 })
  writeFileSync(log, '')
  const { verbose = true, env = {} } = options
  const level = verbose === 'trace' ? ['--trace'] : verbose ? ['--verbose'] : []
  const [command, ...args] = await orthancOf(options.release, [...level, `--logfile=${log}`, file])
  const child = spawn(command, args, {
    stdio: ['ignore', 'ignore', 'ignore'],
    detached: true,
    env: { ...process.env, ...env },
  })
  const orthanc = new OrthancProcess(child, ports, log)
  await orthanc.ready()
  return orthanc
}

/** The command that runs the Orthanc of a Debian release. */
async function orthancOf(release: DebianRelease | undefined, args: readonly string[]): Promise<[string, ...string[]]> {
  const wanted = release ?? (process.env['ORTHANC_RELEASE'] as DebianRelease | undefined)
  if (!wanted) return ['Orthanc', ...args]
  return inTree((await orthancTree(wanted)).folder, 'Orthanc', args)
}

export class OrthancProcess {
  readonly url: string
  readonly dicomPort: number
  readonly #child: ChildProcess
  readonly #log: string
  readonly #exited: Promise<void>
  readonly #agent = new Agent({ connections: 64, headersTimeout: 300_000, bodyTimeout: 300_000 })

  constructor(child: ChildProcess, ports: { http: number; dicom: number }, log: string) {
    this.#child = child
    this.#log = log
    this.url = `http://127.0.0.1:${ports.http}`
    this.dicomPort = ports.dicom
    this.#exited = new Promise(resolve => child.once('exit', () => resolve()))
    const kill = () => this.kill('SIGKILL')
    process.once('exit', kill)
    child.once('exit', () => process.off('exit', kill))
    child.once('error', () => {})
  }

  get pid(): number {
    return this.#child.pid as number
  }

  get exited(): Promise<void> {
    return this.#exited
  }

  log(): string {
    return readFileSync(this.#log, 'utf8')
  }

  /** Waits for a line of the log: the engine's INFO lines come a moment after what they report. */
  async logged(line: RegExp): Promise<void> {
    const tail = () => this.log().split('\n').slice(-15).join('\n')
    await until(
      () => `a line of the log that says ${line}; it ends with\n${tail()}`,
      () => line.test(this.log()),
    )
  }

  /** Waits for a job to be in one of these states; resolves to Orthanc's answer about it. */
  async job(id: string, states: readonly string[] = ['Success', 'Failure', 'Paused']) {
    return await until(`job ${id} to be ${states}`, async () => {
      const job = await this.getJson(`/jobs/${id}`)
      return states.includes(job.State) && job
    })
  }

  /** Resolves when Orthanc answers; rejects with RefusedToStart when it ends. */
  async ready(): Promise<void> {
    const answers = async () => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new RefusedToStart(this.log(), this.#log, this.#child.exitCode)
      const status = (await this.request('GET', '/system').catch(() => undefined))?.status
      return status === 200 || status === 401 // it may want a password
    }
    try {
      await until(() => `Orthanc to answer:\n${this.log()}`, answers)
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  async request(method: Dispatcher.HttpMethod, path: string, body?: Uint8Array) {
    const answer = await this.#agent.request({ origin: this.url, path, method, body: body ?? null })
    return { status: answer.statusCode, headers: answer.headers, body: Buffer.from(await answer.body.arrayBuffer()) }
  }

  async #ok(method: Dispatcher.HttpMethod, path: string, body?: Uint8Array): Promise<Buffer> {
    const answer = await this.request(method, path, body)
    if (answer.status !== 200)
      throw new Error(`${method} ${path}: HTTP ${answer.status} ${answer.body.toString().slice(0, 500)}`)
    return answer.body
  }

  getBytes(path: string): Promise<Buffer> {
    return this.#ok('GET', path)
  }

  async getJson(path: string) {
    return JSON.parse((await this.#ok('GET', path)).toString())
  }

  async postJson(path: string, body: Uint8Array) {
    return JSON.parse((await this.#ok('POST', path, body)).toString())
  }

  /** The files of an instance: what Orthanc calls each, and the UUID it is stored under. */
  async attachmentsOf(id: string): Promise<{ readonly name: string; readonly uuid: string }[]> {
    const found = []
    for (const name of await this.getJson(`/instances/${id}/attachments`))
      found.push({ name, uuid: (await this.getJson(`/instances/${id}/attachments/${name}/info`)).Uuid })
    return found
  }

  async put(path: string, body: Uint8Array): Promise<void> {
    await this.#ok('PUT', path, body)
  }

  async delete(path: string): Promise<void> {
    await this.#ok('DELETE', path)
  }

  /** The engine is Orthanc's only child process. */
  enginePid(): number | undefined {
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue
      try {
        const fields = readFileSync(`/proc/${name}/stat`, 'utf8')
          .replace(/^.*\) /, '')
          .split(' ')
        if (Number(fields[1]) === this.pid && fields[0] !== 'Z') return Number(name)
      } catch {
        // it ended while we looked
      }
    }
    return undefined
  }

  kill(signal: NodeJS.Signals): void {
    try {
      process.kill(this.pid, signal)
    } catch {
      // it has ended already
    }
  }

  #knock(): void {
    const socket = connect(Number(new URL(this.url).port), '127.0.0.1', () => socket.destroy())
    socket.on('error', () => {}) // it listens no more
  }

  /** Rejects when Orthanc did not end by itself, or ended in a crash. */
  async stop(): Promise<void> {
    let forced = false
    const force = setTimeout(() => {
      forced = true
      this.kill('SIGKILL')
    }, GIVE_UP_MS)
    this.kill('SIGTERM')
    // Its HTTP server looks every two seconds whether it shall stop, and when somebody connects.
    const knock = setInterval(() => this.#knock(), 100)
    await this.#exited
    clearInterval(knock)
    clearTimeout(force)
    await this.#agent.destroy()
    const { signalCode } = this.#child
    const crash = signalCode && CRASHES.includes(signalCode) ? `ended by ${signalCode}` : undefined
    if (forced || crash)
      throw new Error(`Orthanc ${crash ?? 'did not stop'}:\n${this.log().split('\n').slice(-15).join('\n')}`)
  }
}
