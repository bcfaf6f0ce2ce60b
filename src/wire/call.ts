import type { Attachment, ContentType, StorageArea } from '../area/area.ts'
import { type Bytes, type Source, sourceOf } from '../bytes.ts'
import { Fault } from '../fault.ts'
import { answers } from './answers.ts'
import type { Connection, Frame } from './connection.ts'
import { Kind, UUID_BYTES, Verb } from './frames.ts'

/** One PULL. Large enough that the round trip (about 0.1 ms) does not count, small enough for 50 calls at once. */
const PULL_BYTES = 512 * 1024

const contentTypes: readonly ContentType[] = ['unknown', 'dicom', 'dicom-as-json', 'dicom-until-pixel-data']

/** Answers the calls of one worker connection, one after the other, until it closes. Never rejects. */
export async function serveCalls(connection: Connection, area: StorageArea): Promise<void> {
  let abort: AbortController | undefined
  connection.onClose = () => abort?.abort(new Fault('Canceled', 'Orthanc gave up waiting'))
  try {
    for (;;) {
      const call = await connection.receive()
      abort = new AbortController()
      const fault = await perform(connection, area, call, abort.signal).then(() => undefined, Fault.from)
      if (!fault) connection.recycle(call) // a failed request may still be sending it somewhere
      const line = fault && Buffer.from(fault.describe())
      await connection.send(Kind.return, { status: fault ? answers[fault.code].number : 0 }, line)
    }
  } catch {
    // The connection is over, and with it the call: the plugin repeats it elsewhere or has given it up.
    connection.close()
  }
}

async function perform(connection: Connection, area: StorageArea, call: Frame, signal: AbortSignal): Promise<void> {
  if (call.kind !== Kind.call || call.payload.byteLength < UUID_BYTES)
    throw new Fault('Internal', `a frame of kind ${call.kind} came instead of a call`)
  const attachment: Attachment = {
    uuid: call.payload.toString('latin1', 0, UUID_BYTES),
    type: contentTypes[call.status] ?? 'unknown',
  }
  const rest = call.payload.subarray(UUID_BYTES)
  switch (call.flags) {
    case Verb.create: {
      if (rest.byteLength === call.argument) return await area.create(attachment, sourceOf(rest), signal)
      const pulled = pulledSource(connection, call.argument)
      try {
        return await area.create(attachment, pulled.source, signal)
      } finally {
        await pulled.settled() // RETURN may not overtake the DATA of a pull that nobody waits for any more
      }
    }
    case Verb.read:
      return await fill(connection, await area.read(attachment, undefined, signal))
    case Verb.readRange: {
      const length = Number(rest.readBigUInt64LE())
      if (length === 0) return await connection.send(Kind.reserve)
      const range = { start: call.argument, end: call.argument + length }
      return await fill(connection, await area.read(attachment, range, signal))
    }
    case Verb.remove:
      return await area.remove(attachment, signal)
    default:
      throw new Fault('Internal', `the plugin asked for verb ${call.flags}, which this engine does not know`)
  }
}

async function fill(connection: Connection, content: { size: number; body: Bytes }): Promise<void> {
  await connection.send(Kind.reserve, { argument: content.size })
  let at = 0
  for await (const chunk of content.body) {
    await connection.send(Kind.fill, { argument: at }, chunk)
    at += chunk.byteLength
  }
}

/** Orthanc's own buffer as a Source: read slice by slice, as often as a retry or a second pass needs. */
function pulledSource(connection: Connection, size: number): { source: Source; settled(): Promise<unknown> } {
  let turn: Promise<unknown> = Promise.resolve()

  const pull = (offset: number, bytes: number): Promise<Buffer> => {
    const slice = turn.then(async () => {
      const wanted = Buffer.allocUnsafe(4)
      wanted.writeUInt32LE(bytes)
      const target = Buffer.allocUnsafeSlow(bytes)
      const arrived = connection.receiveInto(target, offset)
      await Promise.all([connection.send(Kind.pull, { argument: offset }, wanted), arrived])
      return target
    })
    turn = slice.catch(() => undefined) // parallel parts share the connection; each waits for the one before
    return slice
  }

  async function* open(range = { start: 0, end: size }): Bytes {
    for (let at = range.start; at < range.end; at += PULL_BYTES)
      yield await pull(at, Math.min(PULL_BYTES, range.end - at))
  }

  return { source: { size, open }, settled: () => turn }
}
