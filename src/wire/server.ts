import { Fault } from '../fault.ts'
import { LogLevel } from '../log.ts'
import { serveCalls } from './call.ts'
import { Connection } from './connection.ts'
import { cutText, Kind, PROTOCOL, StartFlag, Verb, Wish } from './frames.ts'
import { answers } from './http-replies.ts'
import type { Services } from './service-calls.ts'

/** Orthanc's threads: 50 for HTTP by default, DICOM associations, jobs. More calls than this wait in the plugin. */
const MAX_WORKERS = 512

/** INFO lines wait this long to leave together: one wake-up of Orthanc instead of one per operation. */
const LOG_DELAY_MS = 20
const MAX_LOG_LINES = 200

/** REGISTER's status. */
const ASKS = 1

/** What START is answered with. */
export interface Start {
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

  /** Waits for START and returns Orthanc's configuration, as text. */
  async configuration(): Promise<string> {
    const call = await this.#control.receive()
    if (call.kind !== Kind.call || call.flags !== Verb.start)
      throw new Fault('Internal', `the plugin sent kind ${call.kind}, verb ${call.flags} instead of START`)
    if (call.argument !== PROTOCOL)
      throw new Fault('BadConfig', `the plugin speaks protocol ${call.argument}, this engine protocol ${PROTOCOL}`, {
        remedy: 'Install the .so and engine.mjs of the same release.',
      })
    this.#restarts = call.status
    return call.payload.toString('utf8')
  }

  /** How many engines served this Orthanc before; known after configuration(). */
  get restarts(): number {
    return this.#restarts
  }

  /** Tells Orthanc to start with what is `on`, or without any storage of ours. */
  async accept(description: string, on: Start | undefined): Promise<void> {
    this.#flush()
    for (const { number, http, message } of Object.values(answers))
      void this.#control.send(Kind.errorCode, { status: number, argument: http }, Buffer.from(message))
    for (const [wish, text, asks = true] of on ? wishesOf(on.services) : [])
      void this.#control.send(Kind.register, { flags: wish, status: asks ? ASKS : 0 }, Buffer.from(text))
    const flags = StartFlag.on | (on?.ranges ? StartFlag.ranges : 0)
    const fields = on ? { flags, argument: on.callDeadlineMs } : {}
    await this.#control.send(Kind.return, fields, cutText(description))
  }

  /** Tells Orthanc not to start, and why. */
  refuse(fault: Fault): void {
    this.#flush()
    void this.#control.send(Kind.return, { status: answers[fault.code].number }, cutText(fault.describe()))
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

  /** Serves until the plugin says STOP (resolves) or is gone (resolves too: there is nobody left to tell). */
  async serve(services: Services): Promise<void> {
    for (;;) {
      const frame = await this.#control.receive().catch(() => undefined)
      if (!frame || (frame.kind === Kind.call && frame.flags === Verb.stop)) return this.#stop()
      if (frame.kind === Kind.ping) void this.#control.send(Kind.pong, { argument: frame.argument })
      if (frame.kind === Kind.grow) {
        this.#path = frame.payload.toString() || this.#path // the socket may have moved
        await this.#grow(frame.argument, services)
      }
    }
  }

  /** Opens worker connections. What cannot be opened is told, once: the plugin looks after its socket and asks again. */
  async #grow(count: number, services: Services): Promise<void> {
    for (let missing = count; missing > 0; missing--) {
      const problem = await this.#addWorker(services)
      if (problem === undefined) continue
      return void this.#control.send(Kind.grow, { argument: missing }, cutText(problem))
    }
  }

  /** Resolves with what went wrong, if anything did. */
  async #addWorker(services: Services): Promise<string | undefined> {
    if (this.#workers.size >= MAX_WORKERS) return `there are ${MAX_WORKERS} connections already`
    const worker = await Connection.open(this.#path).catch((error: Error) => error)
    if (worker instanceof Error) return worker.message
    this.#workers.add(worker)
    void worker.closed.then(() => this.#workers.delete(worker)) // whatever its last call still does
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

/** The third: whether it asks Orthanc in turn, which an old one does not allow. */
function* wishesOf({ routes = [], jobs, metrics, explorer }: Services): Generator<[number, string, boolean?]> {
  for (const { pattern, asksOrthanc } of routes) yield [Wish.route, pattern, asksOrthanc ?? true]
  if (jobs) yield [Wish.jobType, jobs.kind.type]
  if (metrics) yield [Wish.metrics, '', false]
  if (explorer) yield [Wish.explorer, explorer]
}
