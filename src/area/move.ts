import {
  type Bytes,
  type Content,
  discard,
  Fingerprint,
  type NewDigest,
  orDiscard,
  type Range,
  type Source,
} from '../bytes.ts'
import { Fault, isCode } from '../fault.ts'
import type { Attachment, StorageArea } from './area.ts'
import type { Tier } from './tier.ts'

export interface MoveOptions {
  /** Copy only. */
  readonly keepSource: boolean
  /** What Orthanc knows of the file; if it is otherwise it is damaged already and stays where it is. */
  readonly known?: KnownContent
}

export interface KnownContent {
  /** Bytes. */
  readonly size: number
  /** In hex; Orthanc may have been told not to keep it. */
  readonly md5?: string
}

/** `missing`: neither tier has the file. */
export type MoveOutcome = 'moved' | 'already-there' | 'missing'

/** From outside: the area knows no built-in modules. */
export type Digests = (algorithm: 'sha256' | 'md5') => ReturnType<NewDigest>

/**
 * Moves one file so that at every moment at least one tier has it whole. Bytes on the target are never overwritten by
 * others: should the two tiers differ, a person must look, and both stay.
 */
export async function moveBetween(
  from: Tier,
  to: Tier,
  attachment: Attachment,
  { keepSource, known }: MoveOptions,
  digests: Digests,
  signal: AbortSignal,
): Promise<MoveOutcome> {
  // Whether the target has the file is worth a round trip only when it may be overwritten by something else: not when the
  // source is found to be exactly what Orthanc once stored before its last byte leaves.
  const genuine = known?.md5 !== undefined && from.local && !keepSource
  const before = genuine ? undefined : await to.find(attachment, signal)
  if (before && keepSource) return 'already-there'
  const original = departing(from, attachment, known, digests, signal)
  const where = { verb: 'move', key: attachment.uuid, store: to.area.name }

  async function write(): Promise<void> {
    await to.area.create(attachment, await original.source(), signal)
  }

  /** Whether the target has what the source has. What is in an archive tells its size only. */
  async function arrived(): Promise<'same' | 'other' | 'archived'> {
    const sent = await original.fingerprint()
    try {
      const found = await to.area.deliver(attachment, undefined, ({ body }) => printOf(body, digests), signal)
      return found.equals(sent) ? 'same' : 'other'
    } catch (error) {
      if (isCode(error, 'Archived')) return 'archived'
      throw error
    }
  }

  let state: Awaited<ReturnType<typeof arrived>> | 'absent'
  try {
    state = before ? await arrived() : 'absent'
    if (state === 'absent' || state === 'archived') {
      // What somebody else has archived cannot be compared. What we write is acknowledged with its checksum, in this very call.
      await write()
      state = await arrived()
      if (state === 'archived')
        state = (await hasSize(to, attachment, await original.size(), signal)) ? 'same' : 'other'
    }
  } catch (error) {
    if (!original.lost()) throw error
    return (before ?? (await to.find(attachment, signal))) ? 'already-there' : 'missing'
  } finally {
    await original.end()
  }
  if (state === 'other') {
    // A copy of ours that went wrong must not stay: reads may find it first. Its removal is not the failure to tell.
    if (!before) await to.area.remove(attachment, signal).catch(() => {})
    throw differ(from.area, where, before !== undefined)
  }
  await to.settle?.(attachment, signal)
  signal.throwIfAborted()
  if (!keepSource) await removeSource(from, to, attachment, where, signal)
  return 'moved'
}

async function hasSize(tier: Tier, attachment: Attachment, size: number, signal: AbortSignal): Promise<boolean> {
  return (await tier.find(attachment, signal))?.size === (tier.storedSize?.(size) ?? size)
}

/** Two tiers that are one place in disguise lose the file here. That should be known before; if it was not, it is told. */
async function removeSource(
  from: Tier,
  to: Tier,
  attachment: Attachment,
  where: Fault['where'],
  signal: AbortSignal,
): Promise<void> {
  await from.area.remove(attachment, signal)
  if (await to.find(attachment, signal)) return
  throw new Fault('Corrupt', `the file is gone: its removal from ${from.area.name} took the copy as well`, {
    where,
    remedy: 'Stop all moves: disk and object storage seem to be one place. Restore the file from a backup.',
  })
}

function differ(from: StorageArea, where: Fault['where'], wasThere: boolean): Fault {
  return wasThere
    ? new Fault('Corrupt', `its bytes there differ from those on ${from.name}`, {
        where,
        remedy: 'Both are kept. Find out which is right, and remove the other.',
      })
    : new Fault('Corrupt', `what arrived differs from what is on ${from.name}, where it stays`, { where })
}

interface Departing {
  size(): Promise<number>
  source(): Promise<Source>
  fingerprint(): Promise<Fingerprint>
  /** Whether reading found no file. */
  lost(): boolean
  /** Lets go of what was begun and not read. */
  end(): Promise<void>
}

/**
 * A file on its way. The first reading of all of it compares it with what Orthanc knows, before its last bytes are handed
 * over, and remembers what they were; later readings, whole or in parts, are compared with that. So a sealed file is
 * decrypted twice at most, however its target takes it.
 */
function departing(
  from: Tier,
  attachment: Attachment,
  known: KnownContent | undefined,
  digests: Digests,
  signal: AbortSignal,
): Departing {
  let begun: Promise<Content> | undefined
  let seen: Fingerprint | undefined
  let size: number | undefined
  let ranges: ((range: Range) => Promise<Content>) | undefined
  let lost = false

  const heard = (error: unknown): never => {
    lost ||= isCode(error, 'NotFound')
    throw error
  }

  async function begin(): Promise<Content> {
    const content = await from.area.read(attachment, undefined, signal).catch(heard)
    return await orDiscard(content, checked)
  }

  function checked(content: Content): Content {
    size = content.size
    if (!known || known.size === size) return content
    throw damaged(from.area, attachment, `it has ${size} bytes instead of ${known.size}`)
  }

  async function* firstPass(content: Content): Bytes {
    const print = new Fingerprint(() => digests('sha256'))
    const md5 = known?.md5 === undefined ? undefined : digests('md5')
    let last: Uint8Array | undefined
    try {
      for await (const chunk of content.body) {
        if (last) yield last
        print.see(chunk)
        md5?.update(chunk)
        last = chunk
      }
    } catch (error) {
      heard(error)
    }
    // The way from a remote store may be to blame; a disk is only read once more in the next job.
    if (md5 && md5.hex() !== known?.md5) throw damaged(from.area, attachment, 'its MD5 is another', !from.local)
    seen ??= print
    if (last) yield last
  }

  async function fingerprint(): Promise<Fingerprint> {
    if (seen) return seen
    const pass = async (content: Content) => {
      for await (const _ of firstPass(await orDiscard(content, checked)));
    }
    await from.area.deliver(attachment, undefined, pass, signal).catch(heard)
    if (!seen) throw new Fault('Internal', 'a file was delivered without being read')
    return seen
  }

  async function* open(range: Range | undefined): Bytes {
    const content = begun
    begun = undefined
    if (!seen && (!range || (range.start === 0 && range.end === size)))
      return yield* firstPass(await (content ?? begin()))
    if (content !== undefined) await discard(await content)
    const print = await fingerprint()
    const read = ranges ?? (await from.ranges?.(attachment, size ?? 0, signal)) ?? readRange
    ranges = read
    yield* print.source(part => read(part).catch(heard)).open(range)
  }
  const readRange = (range: Range) => from.area.read(attachment, range, signal)

  return {
    async size() {
      if (size !== undefined) return size
      begun = begin()
      await begun
      return size ?? 0
    },
    async source() {
      return { size: await this.size(), open }
    },
    fingerprint,
    lost: () => lost,
    async end() {
      await begun?.then(discard).catch(() => {})
    },
  }
}

function damaged({ name }: StorageArea, { uuid }: Attachment, how: string, retryable = false): Fault {
  return new Fault('Corrupt', `the file is not what Orthanc stored: ${how}; it stays where it is`, {
    where: { verb: 'move', key: uuid, store: name },
    retryable,
  })
}

function printOf(body: Bytes, digests: Digests): Promise<Fingerprint> {
  return Fingerprint.of(body, () => digests('sha256'))
}
