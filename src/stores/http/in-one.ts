import { type Bytes, type Content, collectSource, openWhole, type Range, type Source } from '../../bytes.ts'
import { Fault } from '../../fault.ts'
import { digestOf, digestOfSource } from '../digest.ts'
import { arrivedRange, contentOfAnswer, dropAnswer, otherBytes, readAnswer, WHOLE_BYTES, withDigest } from './answer.ts'
import type { Dialect, Headers } from './dialect.ts'
import { isUnreadable, type Look } from './look.ts'
import type { Send } from './send.ts'

const EVERYTHING = { start: 0, end: Number.MAX_SAFE_INTEGER }

/** Uploads and downloads in one request. */
export function inOneRequest(dialect: Dialect, send: Send, look: Look) {
  async function put(key: string, body: Source, signal: AbortSignal): Promise<void> {
    // Larger ones are read twice: for their digest, then for the wire.
    if (body.size <= WHOLE_BYTES) {
      const bytes = await collectSource(body)
      return putOnce(key, digestOf(dialect.digest, bytes), bytes, body.size, signal)
    }
    await putOnce(key, await digestOfSource(dialect.digest, body, signal), openWhole(body), body.size, signal)
  }

  async function putOnce(key: string, digest: string, body: Bytes | Buffer, size: number, signal: AbortSignal) {
    const answer = await readAnswer(await send('write', dialect.put(key, digest), signal, body, size), signal)
    const verdict = dialect.acknowledges(answer, digest)
    if (verdict === 'other') throw otherBytes()
    if (verdict === 'unclear') await compareBack(key, digest, answer.headers, signal)
  }

  /** Where an acknowledgement proves nothing, the bytes are read. If they are right, we know what its ETag means. */
  async function compareBack(key: string, digest: string, headers: Headers, signal: AbortSignal): Promise<void> {
    const found = await look.readBack(key, signal).catch(error => {
      if (isUnreadable(error)) return undefined // then we must believe that the server verified the digest
      throw error
    })
    if (found && found.digest !== digest) throw otherBytes()
    dialect.provenRight?.(headers, found ? found.tag : headers['etag'])
  }

  async function get(key: string, range: Range | undefined, signal: AbortSignal): Promise<Content> {
    const answer = await send('read', dialect.get(key, range), signal)
    if (answer.statusCode >= 300) throw await look.absent(key, answer, signal)
    if (!range && answer.headers['content-length'] === undefined && dialect.marked(answer.headers)) {
      // Proxies that inspect bodies pass them on without their length. For a range, Content-Range has it.
      dropAnswer(answer)
      const ranged = await send('read', dialect.get(key, EVERYTHING), signal)
      const { content, total } = await contentOfAnswer(dialect, ranged, arrivedRange(ranged), signal)
      if (content.size === total) return withDigest(content, dialect, key, ranged)
      dropAnswer(ranged)
      throw new Fault('Internal', 'the server sent neither the length of the object nor all of its bytes')
    }
    const { content, total } = await contentOfAnswer(dialect, answer, range, signal)
    return content.size === total ? withDigest(content, dialect, key, answer) : content
  }

  async function holds(key: string, body: Source, signal: AbortSignal): Promise<boolean> {
    const digest = await digestOfSource(dialect.digest, body, signal)
    return look.holds(key, { size: body.size, digest, compute: async () => digest }, signal)
  }

  return { put, get, holds }
}
