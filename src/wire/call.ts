import type { Attachment, ContentType, StorageArea } from '../area/area.ts'
import { sourceOf } from '../bytes.ts'
import { Fault } from '../fault.ts'
import type { Connection } from './connection.ts'
import { Conversation, pulledSource, type Return } from './conversation.ts'
import { Kind, UUID_BYTES, Verb } from './frames.ts'
import { httpReplies } from './http-replies.ts'
import { performService, type Services } from './service-calls.ts'

const contentTypes: readonly ContentType[] = ['unknown', 'dicom', 'dicom-as-json', 'dicom-until-pixel-data']

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
        // Its payload is not recycled: a failed request may still be sending it somewhere.
        await conversation.end({ fields: { status: httpReplies[outcome.code].number }, text: outcome.describe() })
        abort.abort(new Fault('Canceled', 'the call has failed')) // whatever of it is still under way
      } else {
        if (fileVerbs.includes(call.flags)) connection.recycle(call)
        await conversation.end(outcome)
      }
    }
  } catch {
    // The connection is over, and with it the call: the plugin repeats it elsewhere or has given it up.
    connection.close()
  }
}

async function perform(conversation: Conversation, services: Services, signal: AbortSignal): Promise<Return> {
  if (!fileVerbs.includes(conversation.call.flags)) return await performService(conversation, services, signal)
  await performOnFile(conversation, services.area, signal)
  return {}
}

async function performOnFile(conversation: Conversation, area: StorageArea, signal: AbortSignal): Promise<void> {
  const { call } = conversation
  if (call.payload.byteLength < UUID_BYTES) throw new Fault('Internal', 'a call came without the UUID of its file')
  const attachment: Attachment = {
    uuid: call.payload.toString('latin1', 0, UUID_BYTES),
    type: contentTypes[call.status] ?? 'unknown',
  }
  const rest = call.payload.subarray(UUID_BYTES)
  switch (call.flags) {
    case Verb.create: {
      const inline = rest.byteLength === call.argument
      return await area.create(attachment, inline ? sourceOf(rest) : pulledSource(conversation, call.argument), signal)
    }
    case Verb.read:
      return await area.deliver(attachment, undefined, content => conversation.deliver(content), signal)
    case Verb.readRange: {
      const length = Number(rest.readBigUInt64LE())
      if (length === 0) return await conversation.reserve(0)
      const range = { start: call.argument, end: call.argument + length }
      return await area.deliver(attachment, range, content => conversation.deliver(content), signal)
    }
    case Verb.remove:
      return await area.remove(attachment, signal)
  }
}
