/**
 * The MD5s of a listing beside those of the index. On some servers what looks like an MD5 never is one. A server where
 * a single one is the MD5 of the index has shown what its digests are: that is no chance.
 */
import type { Indexed } from '../orthanc-index/orthanc-index.ts'
import { hasRightSize, type Read } from './judge.ts'

/** While none was right, so many that were not are remembered. With more, this server's digests are something else. */
const MOST_HELD = 100

/** `doubtful`: those whose bytes must be looked at now. */
export interface Compared<T> {
  readonly verdict: 'same' | 'unclear' | 'other'
  readonly doubtful: readonly T[]
}

/** For one place. */
export class ListedDigests<T> {
  #areMd5 = false
  #held: T[] = []

  /** Those that differ and prove nothing, because none was right yet. */
  get held(): readonly T[] {
    return this.#held
  }

  /** Whether one was right. */
  get areMd5(): boolean {
    return this.#areMd5
  }

  compare(file: Indexed, read: Read, item: T): Compared<T> {
    const { md5 } = read.seen
    if (!isPlain(file, read) || md5 === undefined || file.md5 === undefined) return { verdict: 'unclear', doubtful: [] }
    if (md5 === file.md5) {
      this.#areMd5 = true
      const doubtful = this.#held
      this.#held = []
      return { verdict: 'same', doubtful }
    }
    if (this.#areMd5) return { verdict: 'other', doubtful: [item] }
    if (this.#held.length === MOST_HELD) return { verdict: 'unclear', doubtful: [] }
    this.#held.push(item)
    return { verdict: 'other', doubtful: [] }
  }
}

/** Where a name does not say whether a file is sealed, its size does. */
const isPlain = (file: Indexed, read: Read) =>
  read.seen.size === file.size && hasRightSize(file, read) && read.how.envelopes.some(({ suffix }) => suffix === '')
