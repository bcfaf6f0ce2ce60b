import type { Attachment, ContentType, StorageArea } from '../area/area.ts'
import { type Bytes, sourceOf } from '../bytes.ts'
import { Fault } from '../fault.ts'
import { answers } from './answers.ts'
import type { Connection, Frame } from './connection.ts'
import { Kind, UUID_BYTES, Verb } from './frames.ts'
import { performService, type Return, type Services } from './services.ts'
import { pulledSource, Turns } from './turns.ts'

const contentTypes: readonly ContentType[] = ['unknown', 'dicom', 'dicom-as-json', 'dicom-until-pixel-data']

const fileVerbs: readonly number[] = [Verb.create, Verb.read, Verb.readRange, Verb.remove]

/** Answers the calls of one worker connection, one after the other, until it closes. Never rejects. */
export async function serveCalls(connection: Connection, services: Services): Promise<void> {
  let abort: AbortController | undefined
  connection.onClose = () => abort?.abort(new Fault('Canceled', 'Orthanc gave up waiting'))
  try {
    for (;;) {
      const call = await connection.receive()
      abort = new AbortController()
      const outcome = await perform(connection, services, call, abort.signal).catch(Fault.from)
      if (outcome instanceof Fault) {
        const line = Buffer.from(outcome.describe())
        await connection.send(Kind.return, { status: answers[outcome.code].number }, line)
        continue // a failed request may still be sending the call's payload somewhere
      }
      if (fileVerbs.includes(call.flags)) connection.recycle(call)
      const { fields, text } = outcome
      await connection.send(Kind.return, fields, text === undefined ? undefined : Buffer.from(text))
    }
  } catch {
    // The connection is over, and with it the call: the plugin repeats it elsewhere or has given it up.
    connection.close()
  }
}

async function perform(connection: Connection, services: Services, call: Frame, signal: AbortSignal): Promise<Return> {
  if (call.kind !== Kind.call) throw new Fault('Internal', `a frame of kind ${call.kind} came instead of a call`)
  const turns = new Turns(connection)
  try {
    if (!fileVerbs.includes(call.flags)) return await performService(connection, services, call, turns, signal)
    await performOnFile(connection, services.area, call, turns, signal)
    return {}
  } finally {
    await turns.settled() // RETURN may not overtake the answer of a turn that nobody waits for any more
  }
}

async function performOnFile(
  connection: Connection,
  area: StorageArea,
  call: Frame,
  turns: Turns,
  signal: AbortSignal,
): Promise<void> {
  if (call.payload.byteLength < UUID_BYTES) throw new Fault('Internal', 'a call came without the UUID of its file')
  const attachment: Attachment = {
    uuid: call.payload.toString('latin1', 0, UUID_BYTES),
    type: contentTypes[call.status] ?? 'unknown',
  }
  const rest = call.payload.subarray(UUID_BYTES)
  switch (call.flags) {
    case Verb.create: {
      const inline = rest.byteLength === call.argument
      return await area.create(attachment, inline ? sourceOf(rest) : pulledSource(turns, call.argument), signal)
    }
    case Verb.read:
      return await area.deliver(attachment, undefined, content => fill(connection, content), signal)
    case Verb.readRange: {
      const length = Number(rest.readBigUInt64LE())
      if (length === 0) return await connection.send(Kind.reserve)
      const range = { start: call.argument, end: call.argument + length }
      return await area.deliver(attachment, range, content => fill(connection, content), signal)
    }
    case Verb.remove:
      return await area.remove(attachment, signal)
  }
}

/** RESERVE leaves with the first bytes and RETURN with the last, so that a small file wakes Orthanc's thread once. */
async function fill(connection: Connection, { size, body }: { size: number; body: Bytes }): Promise<void> {
  let drained: Promise<void> | undefined
  let at = 0
  for await (const chunk of body) {
    if (chunk.byteLength === 0) continue
    await drained
    if (at === 0) connection.send(Kind.reserve, { argument: size })?.catch(() => {}) // the next one fails as well
    drained = connection.send(Kind.fill, { argument: at }, chunk)
    at += chunk.byteLength
  }
  if (at === 0) await connection.send(Kind.reserve, { argument: size })
}
