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
import type { Attachment, KnownContent } from './area.ts'
import type { Tier } from './tier.ts'

/** Given from outside: the area knows no built-in modules. */
export type Digests = (algorithm: 'sha256' | 'md5') => ReturnType<NewDigest>

export interface MoveSourceOptions {
  readonly from: Tier
  readonly attachment: Attachment
  /** What Orthanc knows of the file. A file that differs is damaged already, and stays where it is. */
  readonly known?: KnownContent | undefined
  readonly digests: Digests
  readonly signal: AbortSignal
}

/**
 * The file that is moved. The first reading of all of it compares it with what Orthanc knows, before it hands over the
 * last bytes, and keeps a fingerprint. Later readings, whole or in parts, are compared with the fingerprint. So a
 * sealed file is decrypted twice at most, however the target reads it.
 */
export class MoveSource {
  readonly #options: MoveSourceOptions
  /** A reading that was begun to learn the size, and that nobody has consumed. */
  #begun: Promise<Content> | undefined
  #size: number | undefined
  #fingerprint: Fingerprint | undefined
  #ranges: ((range: Range) => Promise<Content>) | undefined
  #lost = false

  constructor(options: MoveSourceOptions) {
    this.#options = options
  }

  /** Whether a reading found no file. */
  get lost(): boolean {
    return this.#lost
  }

  async size(): Promise<number> {
    if (this.#size !== undefined) return this.#size
    this.#begun = this.#begin()
    await this.#begun
    return this.#size ?? 0
  }

  async source(): Promise<Source> {
    return { size: await this.size(), open: range => this.#open(range) }
  }

  /** Of the whole file, after its comparison with what Orthanc knows. */
  async fingerprint(): Promise<Fingerprint> {
    if (this.#fingerprint) return this.#fingerprint
    const { from, attachment, signal } = this.#options
    const pass = async (content: Content) => {
      for await (const _ of this.#firstPass(await orDiscard(content, whole => this.#checked(whole))));
    }
    await from.area.deliver(attachment, undefined, pass, signal).catch(this.#noteLoss)
    if (!this.#fingerprint) throw new Fault('Internal', 'a file was delivered without being read')
    return this.#fingerprint
  }

  /** Lets go of what was begun and not read. */
  async end(): Promise<void> {
    await this.#begun?.then(discard).catch(() => {})
  }

  async #begin(): Promise<Content> {
    const { from, attachment, signal } = this.#options
    const content = await from.area.read(attachment, undefined, signal).catch(this.#noteLoss)
    return await orDiscard(content, whole => this.#checked(whole))
  }

  #checked(content: Content): Content {
    const { known } = this.#options
    this.#size = content.size
    if (!known || known.size === content.size) return content
    throw this.#damaged(`it has ${content.size} bytes instead of ${known.size}`)
  }

  async *#open(range: Range | undefined): Bytes {
    const content = this.#begun
    this.#begun = undefined
    const isWhole = !range || (range.start === 0 && range.end === this.#size)
    if (isWhole && !this.#fingerprint) return yield* this.#firstPass(await (content ?? this.#begin()))
    if (content !== undefined) await discard(await content)
    const fingerprint = await this.fingerprint()
    const read = await this.#readerOfRanges()
    // It may have been sealed again meanwhile, with another data key (rotate-keys).
    const renew = () => {
      this.#ranges = undefined
    }
    yield* fingerprint.source(part => read(part).catch(this.#noteLoss), renew).open(range)
  }

  async *#firstPass(content: Content): Bytes {
    const { from, known, digests } = this.#options
    const fingerprint = new Fingerprint(() => digests('sha256'))
    const md5 = known?.md5 === undefined ? undefined : digests('md5')
    let last: Uint8Array | undefined
    try {
      for await (const chunk of content.body) {
        if (last) yield last
        fingerprint.see(chunk)
        md5?.update(chunk)
        last = chunk
      }
    } catch (error) {
      this.#noteLoss(error)
    }
    // The network may have damaged what came from a remote store, so that is worth another try. A disk is read again
    // only by the next job.
    if (md5 && md5.hex() !== known?.md5) throw this.#damaged('its MD5 differs', !from.local)
    this.#fingerprint ??= fingerprint
    if (last) yield last
  }

  async #readerOfRanges(): Promise<(range: Range) => Promise<Content>> {
    const { from, attachment, signal } = this.#options
    this.#ranges ??=
      (await from.ranges?.(attachment, this.#size ?? 0, signal)) ?? (range => from.area.read(attachment, range, signal))
    return this.#ranges
  }

  readonly #noteLoss = (error: unknown): never => {
    this.#lost ||= isCode(error, 'NotFound')
    throw error
  }

  #damaged(how: string, retryable = false): Fault {
    const { from, attachment } = this.#options
    return new Fault('Corrupt', `the file is not what Orthanc stored: ${how}; it stays where it is`, {
      where: { verb: 'move', key: attachment.uuid, store: from.area.name },
      retryable,
    })
  }
}
