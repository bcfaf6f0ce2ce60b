import { type Bytes, type Content, discard, openWhole, type Source } from '../bytes.ts'
import { Fault } from '../fault.ts'
import type { Attachment, StorageArea } from './area.ts'
import type { Side } from './hybrid.ts'

export interface MoveOptions {
  /** Copy only. */
  readonly keepSource: boolean
  /** Bytes that the file must have, as Orthanc knows it; else it is damaged already and stays where it is. */
  readonly size?: number
}

/** `bytes`: of the file, as Orthanc knows it. */
export type Moved =
  | { readonly outcome: 'moved'; readonly bytes: number }
  | { readonly outcome: 'already-there' }
  | { readonly outcome: 'missing' }

/** SHA-256, from outside: the area knows no built-in modules. */
export type Digests = () => { update(bytes: Uint8Array): void; hex(): string }

interface Fingerprint {
  readonly size: number
  readonly sha256: string
}

/**
 * Moves one file so that at every moment at least one tier has it whole. An existing file on the target is never
 * overwritten: should the two differ, a person must look, and both stay.
 */
export async function moveBetween(
  from: Side,
  to: Side,
  attachment: Attachment,
  { keepSource, size }: MoveOptions,
  digests: Digests,
  signal: AbortSignal,
): Promise<Moved> {
  const [target, source] = await Promise.all([to.find(attachment, signal), from.find(attachment, signal)])
  if (!source) return { outcome: target ? 'already-there' : 'missing' }
  if (target && keepSource) return { outcome: 'already-there' }
  const original = target
    ? await fingerprintOf(from.area, attachment, digests, signal)
    : await copy(from.area, to.area, attachment, digests, signal)
  const arrived = await fingerprintOf(to.area, attachment, digests, signal)
  if (size !== undefined && original.size !== size) {
    if (!target) await to.area.remove(attachment, signal).catch(() => {})
    throw damaged(from.area, attachment, original.size, size)
  }
  if (arrived.size !== original.size || arrived.sha256 !== original.sha256) {
    // A copy of ours that went wrong must not stay: reads may find it first. Its removal is not the failure to tell.
    if (!target) await to.area.remove(attachment, signal).catch(() => {})
    throw differ(from.area, to.area, attachment, target !== undefined)
  }
  signal.throwIfAborted()
  if (!keepSource) await from.area.remove(attachment, signal)
  return { outcome: 'moved', bytes: original.size }
}

function damaged({ name }: StorageArea, { uuid }: Attachment, size: number, expected: number): Fault {
  const where = { verb: 'move', key: uuid, store: name }
  return new Fault('Corrupt', `it has ${size} bytes there, but Orthanc stored ${expected}; it is left where it is`, {
    where,
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

/** Copies and says what was copied, from the same bytes where the target reads them once and in order. */
async function copy(
  from: StorageArea,
  to: StorageArea,
  attachment: Attachment,
  digests: Digests,
  signal: AbortSignal,
): Promise<Fingerprint> {
  let begun: Content | undefined = await from.read(attachment, undefined, signal)
  const { size } = begun
  let sha256: string | undefined

  async function* hashed(body: Bytes): Bytes {
    const digest = digests()
    for await (const chunk of body) {
      digest.update(chunk)
      yield chunk
    }
    sha256 = digest.hex()
  }

  async function* open(range: { start: number; end: number } | undefined): Bytes {
    if (range && (range.start > 0 || range.end < size)) {
      yield* (await from.read(attachment, range, signal)).body
      return
    }
    const content = begun ?? (await from.read(attachment, undefined, signal))
    begun = undefined
    yield* hashed(content.body)
  }

  const source: Source = { size, open }
  try {
    await to.create(attachment, source, signal)
  } finally {
    if (begun) await discard(begun)
  }
  if (sha256 === undefined) for await (const _ of openWhole(source)); // it went in parts, in any order
  if (sha256 === undefined) throw new Fault('Internal', 'a file was copied without being read')
  return { size, sha256 }
}

async function fingerprintOf(
  area: StorageArea,
  attachment: Attachment,
  digests: Digests,
  signal: AbortSignal,
): Promise<Fingerprint> {
  const { size, body } = await area.read(attachment, undefined, signal)
  const digest = digests()
  for await (const chunk of body) digest.update(chunk)
  return { size, sha256: digest.hex() }
}
