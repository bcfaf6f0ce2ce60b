import type { Attachment, ContentType, StorageArea } from '../area/area.ts'
import { Fault } from '../fault.ts'
import type { Connection } from './connection.ts'
import { Conversation, type Return } from './conversation.ts'
import { Kind, UUID_BYTES, Verb } from './frames.ts'
import { httpReplies } from './http-replies.ts'
import { performService, type Services } from './service-calls.ts'

const contentTypes: readonly ContentType[] = ['unknown', 'dicom', 'dicom-as-json', 'dicom-until-pixel-data']

/** The length of a range comes after the UUID. */
const LENGTH_BYTES = 8

const fileVerbs: readonly number[] = [Verb.create, Verb.read, Verb.readRange, Verb.remove]

/** Answers the calls of one worker connection, one after the other, until it closes. Never rejects. */
export async function serveCalls(connection: Connection, services: Services): Promise<void> {
  let abort: AbortController | undefined
  connection.onClose = () => abort?.abort(new Fault('Canceled', 'Orthanc gave up waiting'))
  try {
    for (;;) {
      const call = await connection.receive(Kind.call)
      abort = new AbortController()
      const conversation = new Conversation(connection, call)
      const outcome = await perform(conversation, services, abort.signal).catch(Fault.from)
      if (outcome instanceof Fault) {
        // The payload is not recycled: a request that failed may still be sending it.
        await conversation.end({ fields: { status: httpReplies[outcome.code].number }, text: outcome.describe() })
        abort.abort(new Fault('Canceled', 'the call has failed')) // ends what is still under way
      } else {
        if (fileVerbs.includes(call.flags)) connection.recycle(call)
        await conversation.end(outcome)
      }
    }
  } catch {
    // The connection has ended. The plugin repeats the call on another one, or has given the call up.
    connection.close()
  }
}

async function perform(conversation: Conversation, services: Services, signal: AbortSignal): Promise<Return> {
  if (!fileVerbs.includes(conversation.call.flags)) return await performService(conversation, services, signal)
  await performOnFile(conversation, services.area, signal)
  return {}
}

async function performOnFile(conversation: Conversation, area: StorageArea, signal: AbortSignal): Promise<void> {
  const { flags: verb, status, argument } = conversation.call
  const envelopeBytes = UUID_BYTES + (verb === Verb.readRange ? LENGTH_BYTES : 0)
  const { envelope, content } = conversation.split(envelopeBytes, verb === Verb.create ? argument : 0)
  const uuid = envelope.toString('latin1', 0, UUID_BYTES)
  const attachment: Attachment = { uuid, type: contentTypes[status] ?? 'unknown' }
  switch (verb) {
    case Verb.create:
      return await area.create(attachment, content, signal)
    case Verb.read:
      return await area.deliver(attachment, undefined, file => conversation.deliver(file), signal)
    case Verb.readRange: {
      const length = Number(envelope.readBigUInt64LE(UUID_BYTES))
      if (length === 0) return await conversation.deliverBytes(Buffer.alloc(0))
      const range = { start: argument, end: argument + length }
      return await area.deliver(attachment, range, part => conversation.deliver(part), signal)
    }
    case Verb.remove:
      return await area.remove(attachment, signal)
  }
}
