import { Fault } from '../fault.ts'
import { LogLevel } from '../log.ts'
import { serveCalls } from './call.ts'
import { Connection } from './connection.ts'
import { cutText, Kind, PROTOCOL, Registration, StartFlag, unpackFirst, Verb } from './frames.ts'
import { httpReplies } from './http-replies.ts'
import type { Services } from './service-calls.ts'

/** One per thread of Orthanc: 50 for HTTP by default, DICOM associations, jobs. More calls wait in the plugin. */
const MAX_WORKERS = 512

/** INFO lines wait so long and leave together: Orthanc wakes up once, not once per operation. */
const LOG_DELAY_MS = 20
const MAX_LOG_LINES = 200

/** Bits of the status of a REGISTER: it sends upcalls; monitors ask this route. */
const ASKS = 1
const PROBE = 2

/** What an engine that is on answers START with. */
interface Start {
  readonly services: Services
  readonly callDeadlineMs: number
  /** Whether Orthanc may ask for ranges. */
  readonly ranges: boolean
}

/** The control connection: start, log, growth, stop (docs/protocol.md). */
export class Server {
  #path: string
  readonly #version: string
  readonly #control: Connection
  readonly #workers = new Set<Connection>()
  readonly #lines: { level: LogLevel; line: string }[] = []
  #flushing: NodeJS.Timeout | undefined
  #restarts = 0

  private constructor(path: string, version: string, control: Connection) {
    this.#path = path
    this.#version = version
    this.#control = control
  }

  static async connect(path: string, version: string): Promise<Server> {
    const control = await Connection.open(path)
    await control.send(Kind.hello, { argument: PROTOCOL, flags: 0 }, Buffer.from(version))
    return new Server(path, version, control)
  }

  /** Waits for START and returns Orthanc's configuration, as text, and its version. */
  async configuration(): Promise<{ readonly json: string; readonly version: string }> {
    const call = await this.#control.receive()
    if (call.kind !== Kind.call || call.flags !== Verb.start)
      throw new Fault('Internal', `the plugin sent kind ${call.kind}, verb ${call.flags} instead of START`)
    if (call.argument !== PROTOCOL)
      throw new Fault('BadConfig', `the plugin speaks protocol ${call.argument}, this engine protocol ${PROTOCOL}`, {
        remedy: 'Install the .so and engine.mjs of the same release.',
      })
    this.#restarts = call.status
    const [version, json] = unpackFirst(call.payload)
    return { json: json.toString('utf8'), version }
  }

  /** How many engines served this Orthanc before. It is known after configuration(). */
  get restarts(): number {
    return this.#restarts
  }

  /** Lets Orthanc start: with the storage `on`, or without a storage of ours. */
  async accept(description: string, on: Start | undefined): Promise<void> {
    this.#flush()
    for (const { number, http, message } of Object.values(httpReplies))
      void this.#control.send(Kind.errorCode, { status: number, argument: http }, Buffer.from(message))
    for (const [registration, text, status = ASKS] of on ? registrationsOf(on.services) : [])
      void this.#control.send(Kind.register, { flags: registration, status }, Buffer.from(text))
    const flags =
      StartFlag.on | (on?.ranges ? StartFlag.ranges : 0) | (on?.services.background ? StartFlag.background : 0)
    const fields = on ? { flags, argument: on.callDeadlineMs } : {}
    await this.#control.send(Kind.return, fields, cutText(description))
  }

  /** Keeps Orthanc from starting, and says why. */
  refuse(fault: Fault): void {
    this.#flush()
    void this.#control.send(Kind.return, { status: httpReplies[fault.code].number }, cutText(fault.describe()))
    this.#control.close()
  }

  log(level: LogLevel, line: string): void {
    if (this.#lines.push({ level, line }) >= MAX_LOG_LINES || level !== LogLevel.info) this.#flush()
    else this.#flushing ??= setTimeout(() => this.#flush(), LOG_DELAY_MS)
  }

  #flush(): void {
    clearTimeout(this.#flushing)
    this.#flushing = undefined
    for (const { level, line } of this.#lines.splice(0))
      void this.#control.send(Kind.log, { flags: level }, cutText(line))
  }

  /** Resolves when the plugin is gone. */
  get gone(): Promise<void> {
    return this.#control.closed
  }

  /** Serves until the plugin sends STOP (true) or is gone (false). Orthanc cannot read an error any more. */
  async serve(services: Services): Promise<boolean> {
    for (;;) {
      const frame = await this.#control.receive().catch(() => undefined)
      if (!frame || (frame.kind === Kind.call && frame.flags === Verb.stop)) {
        this.#stop()
        return frame !== undefined
      }
      if (frame.kind === Kind.ping) void this.#control.send(Kind.pong, { argument: frame.argument })
      if (frame.kind === Kind.grow) {
        this.#path = frame.payload.toString() || this.#path // the socket may have moved
        await this.#grow(frame.argument, services)
      }
    }
  }

  /** Opens worker connections. Reports the first failure and ends: the plugin mends its socket and asks again. */
  async #grow(count: number, services: Services): Promise<void> {
    for (let missing = count; missing > 0; missing--) {
      const problem = await this.#addWorker(services)
      if (problem === undefined) continue
      return void this.#control.send(Kind.grow, { argument: missing }, cutText(problem))
    }
  }

  /** Resolves with what went wrong, if anything went wrong. */
  async #addWorker(services: Services): Promise<string | undefined> {
    if (this.#workers.size >= MAX_WORKERS) return `there are ${MAX_WORKERS} connections already`
    const worker = await Connection.open(this.#path).catch((error: Error) => error)
    if (worker instanceof Error) return worker.message
    this.#workers.add(worker)
    void worker.closed.then(() => this.#workers.delete(worker)) // also when work of its last call still goes on
    void worker.send(Kind.hello, { argument: PROTOCOL, flags: 1 }, Buffer.from(this.#version))
    void serveCalls(worker, services)
    return undefined
  }

  #stop(): void {
    this.#flush()
    for (const worker of this.#workers) worker.close()
    this.#control.close()
  }
}

/** The third value: the status. An old Orthanc has nothing that sends upcalls. */
function* registrationsOf({ routes = [], jobs, metrics, explorer }: Services): Generator<[number, string, number?]> {
  for (const { pattern, asksOrthanc = true, probe = false } of routes)
    yield [Registration.route, pattern, (asksOrthanc ? ASKS : 0) | (probe ? PROBE : 0)]
  for (const type of jobs?.types ?? []) yield [Registration.jobType, type]
  if (metrics) yield [Registration.metrics, '', 0]
  if (explorer) yield [Registration.explorer, explorer]
}
