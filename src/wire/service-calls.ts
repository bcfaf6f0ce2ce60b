import type { StorageArea } from '../area/area.ts'
import { collectSource } from '../bytes.ts'
import { Fault } from '../fault.ts'
import type { Job } from '../orthanc.ts'
import { type Background, performBackground } from './background.ts'
import type { Conversation, Return } from './conversation.ts'
import { AnswerKind, pack, Verb } from './frames.ts'
import type { Jobs } from './jobs.ts'
import { answerRequest, type Route } from './router.ts'
import { orthancDuring, textsOf } from './upcalls.ts'

/** Everything that the plugin may call. An absent service is not registered with Orthanc. */
export interface Services {
  readonly area: StorageArea
  readonly routes?: readonly Route[]
  readonly jobs?: Jobs
  /** Current values, whole numbers, by their name in Prometheus. */
  readonly metrics?: () => ReadonlyMap<string, number>
  /** JavaScript that extends Orthanc Explorer. */
  readonly explorer?: string
  /** The same function each time. */
  readonly background?: Background
}

const JOB_NUMBER_BYTES = 8
const PROGRESS_UNITS = 1_000_000
const outcomes = { success: 1, failure: 2, continue: 3 } as const

/** Performs a call that is not about a file of the storage area. */
export function performService(conversation: Conversation, services: Services, signal: AbortSignal): Promise<Return> {
  const verb = conversation.call.flags
  switch (verb) {
    case Verb.rest:
      return rest(conversation, services, signal)
    case Verb.jobStep:
    case Verb.jobStop:
    case Verb.jobReset:
    case Verb.jobRestore:
      if (services.jobs) return job(conversation, services.jobs, signal)
      break
    case Verb.metrics:
      return metrics(conversation, services)
    case Verb.background:
      if (services.background) return performBackground(conversation, services.background, signal)
  }
  throw new Fault('Internal', `the plugin asked for verb ${verb}, which this engine does not serve`)
}

async function rest(conversation: Conversation, { routes = [], jobs }: Services, signal: AbortSignal): Promise<Return> {
  const { envelope, content: body } = conversation.split(undefined, conversation.call.argument)
  const request = { method: conversation.call.status, uri: envelope.toString('utf8'), body }
  const answered = await answerRequest(routes, request, orthancDuring(conversation, jobs?.types), signal)
  if ('allow' in answered) return { fields: { flags: AnswerKind.methodNotAllowed }, text: answered.allow }
  if ('error' in answered)
    return { fields: { flags: AnswerKind.error, argument: answered.error }, text: answered.details }
  await conversation.deliverBytes(answered.body)
  return { fields: { flags: AnswerKind.body, argument: answered.status }, text: answered.type }
}

async function job(conversation: Conversation, jobs: Jobs, signal: AbortSignal): Promise<Return> {
  const { flags: verb, argument } = conversation.call
  const { envelope, content } = conversation.split(JOB_NUMBER_BYTES, argument)
  const number = Number(envelope.readBigUInt64LE())
  const serialized = (await collectSource(content)).toString('utf8')
  let outcome: keyof typeof outcomes = 'continue'
  let served: Job
  if (verb === Verb.jobStep)
    [served, outcome] = await jobs.step(number, serialized, orthancDuring(conversation), signal)
  else if (verb === Verb.jobStop) served = await jobs.stop(number, serialized)
  else if (verb === Verb.jobReset) served = jobs.reset(number, serialized)
  else served = jobs.restore(serialized)
  const progress = Math.round(Math.min(1, Math.max(0, served.progress())) * PROGRESS_UNITS)
  await conversation.deliverBytes(pack(...textsOf(served)))
  return { fields: { flags: outcomes[outcome], argument: progress } }
}

async function metrics(conversation: Conversation, services: Services): Promise<Return> {
  for (const [name, value] of services.metrics?.() ?? []) await conversation.metric(name, value)
  return {}
}
