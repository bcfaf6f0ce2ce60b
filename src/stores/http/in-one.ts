import { type Bytes, type Content, collectSource, openWhole, type Range, type Source } from '../../bytes.ts'
import { Fault } from '../../fault.ts'
import { type DigestName, type Digests, digestsOf, digestsOfSource, sameDigests } from '../digest.ts'
import { arrivedRange, contentOfAnswer, dropAnswer, otherBytes, readAnswer, WHOLE_BYTES, withDigest } from './answer.ts'
import type { Dialect, Draft, HttpAnswer } from './dialect.ts'
import { isUnreadable, type Look } from './look.ts'
import type { Send } from './send.ts'

const EVERYTHING = { start: 0, end: Number.MAX_SAFE_INTEGER }

/** Uploads and downloads in one request. */
export function inOneRequest(dialect: Dialect, send: Send, look: Look) {
  async function put(key: string, body: Source, signal: AbortSignal): Promise<void> {
    const { size } = body
    const sent = async (draft: Draft, bytes: Bytes | Buffer, length = size) =>
      readAnswer(await send('write', draft, signal, bytes, length), signal)
    if (size <= WHOLE_BYTES) {
      const bytes = await collectSource(body)
      const digests = digestsOf(dialect.digests(), bytes)
      return judge(key, digests, await sent(dialect.put(key, digests), bytes), signal)
    }
    const once = dialect.putInOnePass?.(key, openWhole(body), size)
    if (once) {
      const answer = await sent(once.draft, once.body, once.size)
      return judge(key, once.digests(), answer, signal)
    }
    const digests = await digestsOfSource(dialect.digests(), body, signal)
    await judge(key, digests, await sent(dialect.put(key, digests), openWhole(body)), signal)
  }

  /** Where an acknowledgement proves nothing, the bytes are read. If they are right, we know what its ETag means. */
  async function judge(key: string, digests: Digests, answer: HttpAnswer, signal: AbortSignal): Promise<void> {
    const verdict = dialect.acknowledges(answer, digests)
    if (verdict === 'same') return
    if (verdict === 'other') throw otherBytes()
    const found = await look.readBack(key, Object.keys(digests) as DigestName[], signal).catch(error => {
      if (isUnreadable(error)) return undefined // then we must believe that the server verified the digest
      throw error
    })
    if (found && !sameDigests(found.digests, digests)) throw otherBytes()
    dialect.provenRight?.(answer.headers, digests, found)
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
    const name = dialect.describedBy
    const { [name]: digest = '' } = await digestsOfSource([name], body, signal)
    return look.holds(key, { size: body.size, digest, compute: async () => digest }, signal)
  }

  return { put, get, holds }
}
