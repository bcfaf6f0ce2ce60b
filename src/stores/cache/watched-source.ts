import type { Bytes, Source } from '../../bytes.ts'
import type { Work } from './named-work.ts'

/** Lets a copy see the bytes of one whole pass, if there is one: an upload in parts reads the source in ranges. */
export class WatchedSource {
  complete = false
  readonly source: Source
  #begun = false

  constructor(source: Source, work: Work) {
    const watch = async function* (this: WatchedSource): Bytes {
      for await (const chunk of source.open()) {
        work.write(chunk)
        yield chunk
      }
      this.complete = true
    }
    this.source = {
      size: source.size,
      open: range => {
        if (range || this.#begun) return source.open(range)
        this.#begun = true
        return watch.call(this)
      },
    }
  }
}
