import { type Bytes, type Content, discard } from '../bytes.ts'
import { Fault, isCode } from '../fault.ts'
import type { Attachment, StorageArea } from './area.ts'
import type { Side } from './hybrid.ts'

export interface MoveOptions {
  /** Copy only. */
  readonly keepSource: boolean
  /** What Orthanc knows of the file; if it is otherwise it is damaged already and stays where it is. */
  readonly known?: Known
}

export interface Known {
  /** Bytes. */
  readonly size: number
  /** In hex; Orthanc may have been told not to keep it. */
  readonly md5?: string
}

/** `bytes`: of the file, as Orthanc knows it. */
export type Moved =
  | { readonly outcome: 'moved'; readonly bytes: number }
  | { readonly outcome: 'already-there' }
  | { readonly outcome: 'missing' }

/** From outside: the area knows no built-in modules. */
export type Digests = (algorithm: 'sha256' | 'md5') => { update(bytes: Uint8Array): void; hex(): string }

interface Fingerprint {
  readonly size: number
  readonly sha256: string
  /** In hex; only where it can be compared with what Orthanc knows. */
  readonly md5: string | undefined
}

/**
 * Moves one file so that at every moment at least one tier has it whole. Bytes on the target are never overwritten by
 * others: should the two sides differ, a person must look, and both stay.
 */
export async function moveBetween(
  from: Side,
  to: Side,
  attachment: Attachment,
  { keepSource, known }: MoveOptions,
  digests: Digests,
  signal: AbortSignal,
): Promise<Moved> {
  const knownMd5 = known?.md5 !== undefined
  // Whether the target has the file is worth a round trip only when it may be overwritten by something else: not when the
  // source was found to be exactly what Orthanc once stored.
  const genuine = knownMd5 && from.local && !keepSource
  const target = genuine ? undefined : await to.find(attachment, signal)
  if (target && keepSource) return { outcome: 'already-there' }
  let original: Fingerprint
  try {
    original = await (target || genuine
      ? fingerprintOf(from.area, attachment, digests, knownMd5, signal)
      : copyHashed(from.area, to.area, attachment, digests, knownMd5, signal))
  } catch (error) {
    if (!isCode(error, 'NotFound')) throw error
    return { outcome: (target ?? (await to.find(attachment, signal))) ? 'already-there' : 'missing' }
  }
  const written = !target && !genuine
  if (known && !fits(original, known)) {
    if (written) await retract(to.area, attachment, signal)
    throw damaged(from.area, attachment, original, known)
  }
  if (genuine) await copy(from.area, to.area, attachment, signal)
  const arrived = await fingerprintOf(to.area, attachment, digests, false, signal)
  if (arrived.size !== original.size || arrived.sha256 !== original.sha256) {
    if (!target) await retract(to.area, attachment, signal)
    throw differ(from.area, to.area, attachment, target !== undefined)
  }
  signal.throwIfAborted()
  if (!keepSource) await from.area.remove(attachment, signal)
  return { outcome: 'moved', bytes: original.size }
}

/** A copy of ours that went wrong must not stay: reads may find it first. Its removal is not the failure to tell. */
async function retract(area: StorageArea, attachment: Attachment, signal: AbortSignal): Promise<void> {
  await area.remove(attachment, signal).catch(() => {})
}

function fits(original: Fingerprint, known: Known): boolean {
  return original.size === known.size && (known.md5 === undefined || original.md5 === known.md5)
}

function damaged({ name }: StorageArea, { uuid }: Attachment, original: Fingerprint, known: Known): Fault {
  const how =
    original.size === known.size ? 'its MD5 is another' : `it has ${original.size} bytes instead of ${known.size}`
  return new Fault('Corrupt', `the file is not what Orthanc stored: ${how}; it stays where it is`, {
    where: { verb: 'move', key: uuid, store: name },
  })
}

function differ(from: StorageArea, to: StorageArea, { uuid }: Attachment, wasThere: boolean): Fault {
  const where = { verb: 'move', key: uuid, store: to.name }
  return wasThere
    ? new Fault('Corrupt', `its bytes there differ from those on ${from.name}`, {
        where,
        remedy: 'Both are kept. Find out which is right, and remove the other.',
      })
    : new Fault('Corrupt', `what arrived differs from what is on ${from.name}, where it stays`, { where })
}

/** `watched`: what becomes of each body that is read for the target; one in parts and in any order is not. */
async function copy(
  from: StorageArea,
  to: StorageArea,
  attachment: Attachment,
  signal: AbortSignal,
  watched: (content: Content) => Bytes = ({ body }) => body,
): Promise<void> {
  let begun: Content | undefined = await from.read(attachment, undefined, signal)
  const { size } = begun

  async function* open(range: { start: number; end: number } | undefined): Bytes {
    if (range && (range.start > 0 || range.end < size)) {
      yield* (await from.read(attachment, range, signal)).body
      return
    }
    const content = begun ?? (await from.read(attachment, undefined, signal))
    begun = undefined
    yield* watched(content)
  }

  try {
    await to.create(attachment, { size, open }, signal)
  } finally {
    if (begun) await discard(begun)
  }
}

/** Copies and says what was copied, from the same bytes where the target reads them once and in order. */
async function copyHashed(
  from: StorageArea,
  to: StorageArea,
  attachment: Attachment,
  digests: Digests,
  withMd5: boolean,
  signal: AbortSignal,
): Promise<Fingerprint> {
  let seen: Fingerprint | undefined
  await copy(from, to, attachment, signal, async function* (content) {
    seen = yield* hashed(content, digests, withMd5)
  })
  return seen ?? fingerprintOf(from, attachment, digests, withMd5, signal)
}

/** The same bytes; at their end, what they were. */
async function* hashed(
  { size, body }: Content,
  digests: Digests,
  withMd5: boolean,
): AsyncGenerator<Uint8Array, Fingerprint> {
  const sha256 = digests('sha256')
  const md5 = withMd5 ? digests('md5') : undefined
  for await (const chunk of body) {
    sha256.update(chunk)
    md5?.update(chunk)
    yield chunk
  }
  return { size, sha256: sha256.hex(), md5: md5?.hex() }
}

async function fingerprintOf(
  area: StorageArea,
  attachment: Attachment,
  digests: Digests,
  withMd5: boolean,
  signal: AbortSignal,
): Promise<Fingerprint> {
  const bytes = hashed(await area.read(attachment, undefined, signal), digests, withMd5)
  for (;;) {
    const { value, done } = await bytes.next()
    if (done) return value
  }
}
