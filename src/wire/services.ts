import type { StorageArea } from '../area/area.ts'
import type { Job } from '../area/host.ts'
import { collectSource, type Source, sourceOf } from '../bytes.ts'
import { Fault } from '../fault.ts'
import type { Connection, Frame } from './connection.ts'
import { Answered, type Fields, INLINE_BYTES, Kind, pack, unpack, Verb } from './frames.ts'
import type { Jobs } from './jobs.ts'
import { answer, type Route } from './routes.ts'
import type { Turns } from './turns.ts'
import { pulledSource } from './turns.ts'
import { hostOf, textsOf } from './upcalls.ts'

/** Everything that the plugin may call. What is absent is not registered with Orthanc. */
export interface Services {
  readonly area: StorageArea
  readonly routes?: readonly Route[]
  readonly jobs?: Jobs
  /** Current values, by their name in Prometheus. Has two seconds. */
  readonly metrics?: (signal: AbortSignal) => Promise<ReadonlyMap<string, number>>
  /** JavaScript that extends Orthanc Explorer. */
  readonly explorer?: string
}

/** How a call ends well: RETURN's fields and text. */
export interface Return {
  readonly fields?: Fields
  readonly text?: string
}

const PROGRESS_UNITS = 1_000_000
const outcomes = { success: 1, failure: 2, continue: 3 } as const

/** Performs a call that is not about a file of the storage area. */
export function performService(
  connection: Connection,
  services: Services,
  call: Frame,
  turns: Turns,
  signal: AbortSignal,
): Promise<Return> {
  switch (call.flags) {
    case Verb.rest:
      return rest(connection, services.routes ?? [], call, turns, signal)
    case Verb.jobStep:
    case Verb.jobStop:
    case Verb.jobReset:
    case Verb.jobRestore:
      if (services.jobs) return job(connection, services.jobs, call, turns, signal)
      break
    case Verb.metrics:
      return metrics(connection, services, signal)
  }
  throw new Fault('Internal', `the plugin asked for verb ${call.flags}, which this engine does not serve`)
}

/** The envelope and the content of a call: small content travels behind its envelope, else it is pulled. */
function open(call: Frame, turns: Turns): { envelope: Buffer; content: Source } {
  const inline = call.argument <= INLINE_BYTES
  const end = call.payload.byteLength - (inline ? call.argument : 0)
  if (end < 0) throw new Fault('Internal', 'a call is shorter than its content')
  const content = inline ? sourceOf(call.payload.subarray(end)) : pulledSource(turns, call.argument)
  return { envelope: call.payload.subarray(0, end), content }
}

async function rest(
  connection: Connection,
  routes: readonly Route[],
  call: Frame,
  turns: Turns,
  signal: AbortSignal,
): Promise<Return> {
  const { envelope, content: body } = open(call, turns)
  const [uri = '', ...texts] = unpack(envelope.subarray(4))
  const queryTexts = 2 * envelope.readUInt32LE()
  const query = pairs(texts.slice(0, queryTexts))
  const headers = pairs(texts.slice(queryTexts))
  const answered = await answer(routes, { method: call.status, uri, query, headers, body }, hostOf(turns), signal)
  if ('allow' in answered) return { fields: { flags: Answered.methodNotAllowed }, text: answered.allow }
  if ('error' in answered)
    return { fields: { flags: Answered.error, argument: answered.error }, text: answered.details }
  await turns.settled()
  await give(connection, answered.body)
  return { fields: { flags: Answered.body, argument: answered.status }, text: answered.type }
}

async function job(
  connection: Connection,
  jobs: Jobs,
  call: Frame,
  turns: Turns,
  signal: AbortSignal,
): Promise<Return> {
  const { envelope, content } = open(call, turns)
  const number = Number(envelope.readBigUInt64LE())
  const serialized = (await collectSource(content)).toString('utf8')
  let outcome: keyof typeof outcomes = 'continue'
  let served: Job
  if (call.flags === Verb.jobStep) [served, outcome] = await jobs.step(number, serialized, hostOf(turns), signal)
  else if (call.flags === Verb.jobStop) served = await jobs.stop(number, serialized, call.status)
  else if (call.flags === Verb.jobReset) served = jobs.reset(number, serialized)
  else served = jobs.restore(serialized)
  await turns.settled()
  await give(connection, pack(...textsOf(served)))
  const progress = Math.round(Math.min(1, Math.max(0, served.progress())) * PROGRESS_UNITS)
  return { fields: { flags: outcomes[outcome], argument: progress } }
}

async function metrics(connection: Connection, services: Services, signal: AbortSignal): Promise<Return> {
  for (const [name, value] of (await services.metrics?.(signal)) ?? []) {
    const float = Buffer.allocUnsafe(4)
    float.writeFloatLE(value)
    await connection.send(Kind.metric, {}, Buffer.concat([pack(name), float]))
  }
  return {}
}

/** The result of a call, as one: it is in memory already. */
async function give(connection: Connection, bytes: Uint8Array): Promise<void> {
  if (bytes.byteLength === 0) return
  await connection.send(Kind.reserve, { argument: bytes.byteLength })
  for (let at = 0; at < bytes.byteLength; at += FILL_BYTES)
    await connection.send(Kind.fill, { argument: at }, bytes.subarray(at, at + FILL_BYTES))
}

const FILL_BYTES = 1024 * 1024

function pairs(texts: readonly string[]): ReadonlyMap<string, string> {
  const map = new Map<string, string>()
  for (let i = 0; i + 1 < texts.length; i += 2) map.set(texts[i] as string, texts[i + 1] as string)
  return map
}
