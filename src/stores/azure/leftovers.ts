/**
 * Blobs of which Azure has blocks and no list of blocks: uploads that did not come to their end. Azure lists them only
 * together with all others. Blocks over a blob that is there are not listed at all. It discards both after a week.
 */
import { Fault } from '../../fault.ts'
import type { Draft, HttpAnswer, LeftoverDialect } from '../http/dialect.ts'
import type { Leftover } from '../store.ts'

/** An entry of a listing that may be such a blob. */
export interface Uncommitted {
  readonly key: string
  readonly started: Date
}

interface Listing {
  readonly draft: (prefix: string, from: string | undefined) => Draft
  readonly page: (answer: HttpAnswer) => {
    readonly uncommitted: readonly Uncommitted[]
    readonly next: string | undefined
  }
}

export function azureLeftovers({ draft, page: read }: Listing): LeftoverDialect {
  return ({ page, stat }) => ({
    async *leftovers(prefix, signal): AsyncIterable<Leftover> {
      let from: string | undefined
      do {
        const { page: found, asOf } = await page(draft(prefix, from), read, signal)
        // To all other verbs it is absent. So an upload that has ended meanwhile is none.
        for (const { key, started } of found.uncommitted)
          if (!(await stat(key, signal))) yield { key, id: key, what: 'unfinished upload', started, asOf }
        if (found.next !== undefined && found.next === from)
          throw new Fault('Internal', 'the listing does not advance: the server names the same next page again')
        from = found.next
      } while (from !== undefined)
    },

    // A removal has no condition that holds for such a blob alone, so it could hit an upload that has just ended. An
    // empty list of blocks would make an empty object for a moment, or for ever, which Orthanc would read.
    async removeLeftover() {
      throw new Fault('BadRequest', 'Azure cannot discard the blocks of an unfinished upload safely', {
        remedy: 'Nothing needs to be done: Azure discards them by itself, a week after the last one came.',
      })
    },
  })
}
