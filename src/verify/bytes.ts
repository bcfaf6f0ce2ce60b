/** A file that the index has: where it is, and whether its bytes are those of the index, where that was asked for. */
import type { Finding } from './finding.ts'
import { hasRightSize, judge, type Read, type Rules, readOf } from './judge.ts'
import { ListedDigests } from './listed-digests.ts'
import type { Reader, ToRead } from './reader.ts'
import type { Group } from './scratch.ts'
import type { PlaceTally, VerifyTally } from './tally.ts'

export interface BytesOptions {
  readonly rules: Rules
  readonly reader: Reader
  readonly tally: VerifyTally
  readonly digests: boolean
  readonly deep: boolean
  /** What the bytes have shown, or that the file is gone. */
  suspect(group: Group, findings: readonly Finding[], signal: AbortSignal): Promise<void>
}

/** A file to read, with all that is known of it. */
export interface GroupToRead extends ToRead {
  readonly group: Group
}

export class Bytes {
  /** Of each place. */
  readonly digests: readonly ListedDigests<GroupToRead>[]
  readonly #options: BytesOptions

  constructor(options: BytesOptions) {
    this.#options = options
    this.digests = options.rules.places.map(() => new ListedDigests())
  }

  /** Counts the file, and reads it if that is needed. Resolves when the reading has begun. */
  async look(group: Group, signal: AbortSignal): Promise<void> {
    const { rules, tally, deep, digests, reader } = this.#options
    if (!group.file) return
    const all = readOf(group.file, group.seen, rules.places)
    tally.indexed++
    if (all.length > 0) tally.present++
    for (const { place } of group.seen) (tally.places[place] as PlaceTally).known++
    if (!(deep || digests)) return
    for (const place of rules.places.keys()) {
      const toRead = this.toRead(group, place, !deep, signal)
      if (!toRead) continue
      if (deep) await reader.add(toRead, signal)
      else await this.#compareDigest(toRead, signal)
    }
  }

  /**
   * A place is read as Orthanc reads it, which is the first of its names. Undefined where the file is not there, or has
   * a wrong size, which is a finding already.
   */
  toRead(group: Group, place: number, doubted: boolean, signal: AbortSignal): GroupToRead | undefined {
    const { rules, suspect } = this.#options
    const { file } = group
    const read: Read | undefined =
      file && readOf(file, group.seen, rules.places).find(({ seen }) => seen.place === place)
    if (!file || !read || !hasRightSize(file, read)) return undefined
    return {
      ...{ group, file, read, doubted },
      onWrong: finding => suspect(group, [finding], signal),
      // It was removed or moved. Else it is missing.
      onGone: () => suspect(group, judge({ ...group, seen: [] }, rules), signal),
    }
  }

  async #compareDigest(toRead: GroupToRead, signal: AbortSignal): Promise<void> {
    const { tally, reader } = this.#options
    const { file, read } = toRead
    const compared = (this.digests[read.seen.place] as ListedDigests<GroupToRead>).compare(file, read, toRead)
    if (compared.verdict === 'same') tally.digests.same++
    if (compared.verdict === 'unclear') tally.digests.unclear++
    for (const doubtful of compared.doubtful) await reader.add(doubtful, signal)
  }
}
