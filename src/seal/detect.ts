import { type Bytes, type Content, checkedContent, orDiscard } from '../bytes.ts'
import { isCode } from '../fault.ts'
import { keyIdOf } from './a1.ts'
import type { Envelope } from './envelope.ts'
import type { Keyring } from './keyring.ts'

/** A DICOM file has its mark after a preamble of 128 bytes, which may be anything. */
const DICM_AT = 128
/** How much of the beginning isDicom() needs to see. */
export const PEEK_BYTES = DICM_AT + 4

/** Whether a file that begins so may be DICOM, whatever is in its preamble. */
export function isDicom(start: Buffer): boolean {
  return start.toString('latin1', DICM_AT, PEEK_BYTES) === 'DICM'
}

/**
 * Delivers a file that is stored sealed or plain under the same name, so that only its bytes show which
 * (docs/contract.md). `get` may be called up to three times. `mayBePlain`: whether a plain file of this type could
 * begin like a sealed one. DICOM and JSON cannot, so for them an unknown key id is a missing key, not a plain file.
 * `doubtful` is called for a file that is treated as plain, though it begins like a sealed one under a key that is not
 * configured.
 */
export async function unsealIfSealed(
  get: () => Promise<Content>,
  envelope: Envelope,
  keys: Keyring,
  mayBePlain: boolean,
  doubtful: (keyId: number) => void = () => {},
): Promise<Content> {
  const { start, content } = await peek(await get())
  const id = keyIdOf(start)
  const dicom = isDicom(start)
  if (id === undefined || (!keys.find(id) && dicom)) return content
  if (!keys.find(id) && mayBePlain) {
    doubtful(id)
    return content
  }
  const unsealed = (sealed: Content) => orDiscard(sealed, envelope.unseal)
  if (!dicom) return unsealed(content)
  // It looks like both, which happens by chance once in 2^32. Only the tag decides, and it is known only at the end.
  return (await verifies(await unsealed(content))) ? unsealed(await get()) : get()
}

async function verifies({ body }: Content): Promise<boolean> {
  try {
    for await (const _ of body);
    return true
  } catch (error) {
    if (isCode(error, 'Corrupt')) return false
    throw error
  }
}

/** The first bytes of a content, and the content as if nothing had been taken from it. */
export async function peek({ size, body, verified }: Content): Promise<{ start: Buffer; content: Content }> {
  const chunks = body[Symbol.asyncIterator]()
  let start: Buffer = Buffer.alloc(0)
  while (start.byteLength < Math.min(PEEK_BYTES, size)) {
    const { value, done } = await chunks.next()
    if (done) break
    const chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    start = start.byteLength === 0 ? chunk : Buffer.concat([start, chunk]) // the usual case: no copy
  }
  async function* again(): Bytes {
    try {
      if (start.byteLength > 0) yield start
      yield* { [Symbol.asyncIterator]: () => chunks }
    } finally {
      await chunks.return?.()
    }
  }
  const content = checkedContent(size, again())
  return { start: start.subarray(0, PEEK_BYTES), content: verified ? { ...content, verified } : content }
}
