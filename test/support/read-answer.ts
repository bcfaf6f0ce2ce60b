/** Gives bytes to a Reader as a socket does, piece by piece. */
import { type Head, LONGEST_HEAD } from '../../src/stores/network/lean/head.ts'
import { Reader } from '../../src/stores/network/lean/reader.ts'

export interface ReadAnswer {
  readonly status: number
  readonly headers: Head['headers']
  readonly body: string
  /** Whether it ended, and whether bytes came behind it. */
  readonly end: 'complete' | 'with surplus' | 'open'
}

/** `ends`: the other side sends no more after the last piece. Throws what the Reader throws. */
export function readAnswer(pieces: readonly Buffer[], method = 'GET', ends = true): ReadAnswer {
  let head: Head | undefined
  const body: Buffer[] = []
  let end: ReadAnswer['end'] = 'open'
  const reader = new Reader({
    head: found => {
      head = found
    },
    piece: bytes => void body.push(bytes),
    complete: surplus => {
      end = surplus ? 'with surplus' : 'complete'
    },
  })
  reader.expect(method)
  for (const piece of pieces)
    for (let at = 0; at < piece.byteLength; ) {
      if (end !== 'open') {
        end = 'with surplus'
        break
      }
      const room = reader.buffer()
      const taken = piece.copy(room, 0, at)
      if (taken === 0 || room.byteLength > Math.max(LONGEST_HEAD, 1024 * 1024))
        throw new Error('a buffer of a bad size')
      reader.received(taken)
      at += taken
    }
  if (end === 'open' && ends) reader.ends()
  reader.flush()
  return {
    status: head?.status ?? 0,
    headers: head?.headers ?? {},
    body: Buffer.concat(body).toString('latin1'),
    end,
  }
}
