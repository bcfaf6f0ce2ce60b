import { invalid, isHeader } from './head.ts'

const LONGEST_LINE = 4096
/** Lines after the last chunk, all together. */
const LONGEST_TRAILER = 16 * 1024
const SIZE = /^([0-9a-f]{1,12})[ \t]*(?:;[\t -~\x80-\xff]*)?$/i
const CR = 0x0d
const LF = 0x0a

/** The body of one answer that comes in chunks. What comes after the last chunk is checked and dropped. */
export class Chunks {
  /** Of the chunk under way. */
  #left = 0
  #expects: 'size' | 'data' | 'end of data' | 'trailer' | 'nothing' = 'size'
  #line = ''
  #trailer = 0

  get complete(): boolean {
    return this.#expects === 'nothing'
  }

  /** Calls `found` with each piece of the body. Returns how many of `bytes` belong to it: fewer only at its end. */
  take(bytes: Buffer, found: (piece: Buffer) => void): number {
    let at = 0
    while (at < bytes.byteLength && this.#expects !== 'nothing') {
      if (this.#expects === 'data') {
        const piece = bytes.subarray(at, at + this.#left)
        at += piece.byteLength
        this.#left -= piece.byteLength
        if (this.#left === 0) this.#expects = 'end of data'
        found(piece)
      } else at = this.#lineFrom(bytes, at)
    }
    return at
  }

  /** Returns where the line ends, or `bytes`, if it goes on beyond them. */
  #lineFrom(bytes: Buffer, at: number): number {
    const feed = bytes.indexOf(LF, at)
    const end = feed < 0 ? bytes.byteLength : feed + 1
    if (this.#line.length + end - at > LONGEST_LINE) throw invalid('a line between its chunks is too long')
    this.#line += bytes.toString('latin1', at, end)
    if (feed < 0) return end
    const line = this.#line
    this.#line = ''
    if (line.charCodeAt(line.length - 2) !== CR) throw invalid('a line between its chunks has no end')
    this.#ended(line.slice(0, -2))
    return end
  }

  #ended(line: string): void {
    if (this.#expects === 'size') {
      const [, digits] = SIZE.exec(line) ?? []
      if (digits === undefined) throw invalid('a chunk has no size')
      this.#left = Number.parseInt(digits, 16)
      this.#expects = this.#left > 0 ? 'data' : 'trailer'
    } else if (this.#expects === 'end of data') {
      if (line !== '') throw invalid('a chunk is longer than its size')
      this.#expects = 'size'
    } else if (line === '') this.#expects = 'nothing'
    else {
      this.#trailer += line.length
      if (this.#trailer > LONGEST_TRAILER) throw invalid('too much follows its last chunk')
      if (!isHeader(line)) throw invalid('what follows its last chunk is no header')
    }
  }
}
