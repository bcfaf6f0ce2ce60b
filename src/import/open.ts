/** From an object to the DICOM file in it: unsealed, inflated, recognised by its bytes. */
import { type Content, discard, orDiscard } from '../bytes.ts'
import { a1 } from '../seal/a1.ts'
import { peek, unsealIfSealed } from '../seal/detect.ts'
import type { Keyring } from '../seal/keyring.ts'
import { inflated, inflatedSize } from './compressed.ts'
import { elementsAt } from './walk.ts'

/** What the name of an object says. */
export interface Named {
  /** Whether a file of Orthanc's has such a key. */
  readonly ours: boolean
  /** Undefined where the name does not say it. */
  readonly sealed: boolean | undefined
}

/** The bytes that Orthanc gets. The body rejects when they are not what was stored. */
export interface DicomFile extends Content {
  /** See elementsAt(). */
  readonly elementsBegin: number
}

/**
 * `get`: the whole object; it may be called up to three times. Undefined: no DICOM. `BadConfig`: one of our objects is
 * sealed under a key that is not there. Something else that begins like a sealed object is just something else.
 */
export async function openDicom(
  get: () => Promise<Content>,
  { ours, sealed }: Named,
  keys: Keyring,
): Promise<DicomFile | undefined> {
  const envelope = a1(keys)
  const whole =
    sealed === undefined
      ? await unsealIfSealed(get, envelope, keys, !ours)
      : sealed
        ? await orDiscard(await get(), envelope.unseal)
        : await get()
  const { start, content } = await peek(whole)
  const elementsBegin = elementsAt(start)
  if (elementsBegin !== undefined) return { ...content, elementsBegin }
  const size = inflatedSize(start, content.size)
  if (size !== undefined) {
    const plain = await peek(inflated(content, size))
    const begin = elementsAt(plain.start)
    if (begin !== undefined) return { ...plain.content, elementsBegin: begin }
    await discard(plain.content)
  } else await discard(content)
  return undefined
}
