/** Reads files to their end as Orthanc does, and compares them with the index. */

import type { Crew } from '../bulk/crew.ts'
import { discard } from '../bytes.ts'
import { Fault, isCode } from '../fault.ts'
import type { Indexed } from '../orthanc-index/orthanc-index.ts'
import { newDigest } from '../seal/digest.ts'
import type { Finding } from './finding.ts'
import type { Read } from './judge.ts'
import type { Place } from './place.ts'
import type { VerifyTally } from './tally.ts'

export interface ReaderOptions {
  readonly places: readonly Place[]
  /** The ids of the configured master keys. */
  readonly keyIds: ReadonlySet<number>
  readonly crew: Pick<Crew, 'add' | 'end'>
  readonly tally: VerifyTally
}

/** One file in one place. */
export interface ToRead {
  readonly file: Indexed
  readonly read: Read
  /** The listing told another MD5 than the index: before the file is read, the store is asked about it alone. */
  readonly doubted: boolean
  /** Called when its bytes are wrong, at two readings. */
  onWrong(finding: Finding): Promise<void>
  /** Called when the file is not there any more. */
  onGone(): Promise<void>
}

type Wrong = Pick<Finding, 'kind' | 'expected' | 'found'>
type Outcome = 'right' | 'gone' | Wrong

export class Reader {
  readonly #options: ReaderOptions

  constructor(options: ReaderOptions) {
    this.#options = options
  }

  /** Resolves when the work has begun. */
  add(toRead: ToRead, signal: AbortSignal): Promise<void> {
    return this.#options.crew.add(() => this.#verify(toRead, signal))
  }

  end(): Promise<void> {
    return this.#options.crew.end()
  }

  async #verify(toRead: ToRead, signal: AbortSignal): Promise<void> {
    const { tally } = this.#options
    const { file, read, doubted, onWrong, onGone } = toRead
    const place = this.#options.places[read.seen.place] as Place
    const key = place.keyOf(file.uuid, read.seen.name)
    if (doubted && !(await this.#isStillDoubted(place, key, file, signal))) return void tally.digests.unclear++
    let outcome = await this.#read(place, key, file, signal)
    // A network may damage bytes: what is wrong twice is wrong in the store.
    if (typeof outcome === 'object') outcome = await this.#read(place, key, file, signal)
    if (outcome === 'gone') return await onGone()
    tally.read.files++
    tally.read.bytes += file.size
    if (file.md5 === undefined) tally.withoutMd5++
    if (outcome !== 'right')
      await onWrong({ uuid: file.uuid, type: file.type, key, store: place.store.name, ...outcome })
  }

  /** A listing does not say everything: an ETag of S3 is no MD5 where the object was encrypted with KMS. */
  async #isStillDoubted(place: Place, key: string, file: Indexed, signal: AbortSignal): Promise<boolean> {
    const stat = await place.store.stat(key, signal)
    return stat === undefined || (stat.md5 !== undefined && stat.md5 !== file.md5)
  }

  async #read(place: Place, key: string, file: Indexed, signal: AbortSignal): Promise<Outcome> {
    try {
      const content = await place.tier.area.read(file, undefined, signal)
      if (content.size !== file.size) {
        await discard(content)
        return await this.#wrong(place, key, `${file.size} bytes`, `${content.size} bytes`, signal)
      }
      const md5 = newDigest('md5')
      for await (const chunk of content.body) md5.update(chunk)
      const found = md5.hex()
      if (file.md5 === undefined || found === file.md5) return 'right'
      return await this.#wrong(place, key, `the MD5 ${file.md5}`, `the MD5 ${found}`, signal)
    } catch (error) {
      if (isCode(error, 'NotFound')) return 'gone'
      if (!isCode(error, 'Corrupt') && !isCode(error, 'BadConfig'))
        throw Fault.from(error, { verb: 'read', store: place.store.name, key })
      const wrong = await this.#wrong(place, key, `${file.size} bytes as they were stored`, error.message, signal)
      if (wrong !== 'gone' && wrong.kind === 'corrupt' && error.code === 'BadConfig') throw error
      return wrong
    }
  }

  /** What does not open, or opens as something else, may be sealed under a key that nobody has given us. */
  async #wrong(place: Place, key: string, expected: string, found: string, signal: AbortSignal) {
    const stat = await place.store.stat(key, signal)
    if (!stat) return 'gone'
    const id = await place.tier.keyIdOf({ key, size: stat.size }, signal)
    if (id === undefined || this.#options.keyIds.has(id)) return { kind: 'corrupt', expected, found } as const
    const ids = [...this.#options.keyIds].sort((a, b) => a - b)
    const known = ids.length === 0 ? 'no master key' : `encrypted under master key ${ids.join(' or ')}`
    return { kind: 'unknown key', expected: known, found: `encrypted under master key ${id}` } as const
  }
}
