import type { Content, Range, Source } from '../bytes.ts'

/** How the bytes of a file become the bytes of an object, and back. Knows nothing of stores. */
export interface Envelope {
  /** What a sealed object's key ends with, in the `flat` structure (docs/contract.md). */
  readonly suffix: '' | '.enc'

  sealedSize(plain: number): number

  /** `Corrupt` when no object of ours can have this size; called before anything is allocated. */
  plainSize(sealed: number): number

  /** One call = one data key, one nonce, one plaintext. The result can be opened again and in ranges, as any Source. */
  seal(plain: Source): Source

  /**
   * Delivers bytes as they are decrypted, before they are verified: the body ends normally only if the whole object is
   * what was sealed, and rejects with `Corrupt` otherwise. Its consumer must not call it a success before its end.
   */
  unseal(sealed: Content): Content

  /**
   * Ranges of the plaintext, which nobody verifies. The caller compares them with what a whole pass has seen. `get`
   * brings ranges of the sealed object.
   */
  ranges(get: (range: Range) => Promise<Content>): (range: Range) => Promise<Content>
}

/** No envelope: the object is the file. */
export const plain: Envelope = {
  suffix: '',
  sealedSize: size => size,
  plainSize: size => size,
  seal: source => source,
  unseal: content => content,
  ranges: get => get,
}
