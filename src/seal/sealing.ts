import { type Content, collect, type Range } from '../bytes.ts'
import { a1, ID_BYTES, keyIdOf } from './a1.ts'
import { isDicom, unsealIfSealed } from './detect.ts'
import type { Envelope } from './envelope.ts'
import type { Keyring } from './keyring.ts'
import { type Encryption, encryptionStateOf, envelopesOf } from './policy.ts'

/** What a configuration of encryption means for the files of a storage area. */
export class Sealing {
  readonly #keys: Keyring
  readonly #envelope: Envelope
  readonly #encryption: Encryption
  readonly #warn: (line: string) => void

  /** `configured`: undefined without a section `StorageEncryption`. */
  constructor(configured: Parameters<typeof encryptionStateOf>[0], keys: Keyring, warn: (line: string) => void) {
    this.#keys = keys
    this.#envelope = a1(keys)
    this.#encryption = encryptionStateOf(configured)
    this.#warn = warn
  }

  /** What the log says at start; '' = nothing is encrypted. */
  get description(): string {
    const { current, ids } = this.#keys
    const previous = ids.filter(id => id !== current?.id)
    const parts = [
      current && `encrypted with master key ${current.id}`,
      previous.length > 0 && `reading also what is encrypted with ${previous.join(', ')}`,
    ]
    return parts.filter(Boolean).join(', ')
  }

  envelopesOn(tier: 'object-storage' | 'file-system'): readonly [Envelope, ...Envelope[]] {
    return envelopesOf(this.#encryption, tier, this.#envelope)
  }

  /**
   * See detect.ts. Warns of a file that is treated as plain though it may be sealed under a key that is not configured.
   */
  unsealIfSealed(
    get: () => Promise<Content>,
    file: { readonly uuid: string; readonly type: string },
  ): Promise<Content> {
    return unsealIfSealed(get, this.#envelope, this.#keys, file.type === 'unknown', id =>
      this.#warn(
        `'${file.uuid}' is delivered as it is, but begins like a file that is encrypted under master key ${id}: ` +
          'if it is one, add the key to StorageEncryption.PreviousMasterKeys',
      ),
    )
  }

  /** False: an object that begins so is sealed under a key that is not configured. */
  mayOpen(start: Buffer): boolean {
    const id = this.#encryption === 'none' ? undefined : keyIdOf(start)
    return id === undefined || this.#keys.find(id) !== undefined || isDicom(start)
  }

  /** The id of the master key that an object of `size` bytes is sealed under; undefined when it is plain. */
  async keyIdOf(size: number, get: (range: Range) => Promise<Content>): Promise<number | undefined> {
    if (this.#encryption === 'none' || size < ID_BYTES) return undefined
    return keyIdOf(await collect(await get({ start: 0, end: ID_BYTES })))
  }
}
