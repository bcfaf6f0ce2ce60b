/** Looks at one object: whether it is there, and whether it is what was sent. */
import { Fault, isCode } from '../../fault.ts'
import { type DigestName, type Digests, digestsOfBody } from '../digest.ts'
import { contentOfAnswer, readAnswer, type Sent } from './answer.ts'
import type { Dialect, HttpAnswer } from './dialect.ts'
import type { Send } from './send.ts'
import { notTheStores } from './stranger.ts'

/** An object as it should be. */
export interface Expected {
  /** Bytes. */
  readonly size: number
  /** By which the dialect describes objects (`describedBy`), where it is known already. */
  readonly digest: string | undefined
  /** The same of each part, if it went up in parts. */
  readonly parts?: readonly string[]
  /** Computes the digest, even if that is much work. */
  compute(): Promise<string>
}

interface ReadBack {
  readonly digests: Digests
  readonly tag: unknown
}

export interface Look {
  /** What the store says of an object; undefined only for a proven absence. */
  ask(key: string, signal: AbortSignal): Promise<HttpAnswer | undefined>
  /** Whether the object is there as expected. The size alone proves nothing, and what may not be read is not there. */
  holds(key: string, expected: Expected, signal: AbortSignal): Promise<boolean>
  /** Reads the whole object: the digests of its bytes, and the ETag that the store gives it. */
  readBack(key: string, names: readonly DigestName[], signal: AbortSignal): Promise<ReadBack>
  /** The reason of a refusal without a text: NotFound only if another request proves it. */
  absent(key: string, refusal: Sent, signal: AbortSignal): Promise<Fault>
}

export function createLook(dialect: Dialect, send: Send): Look {
  async function ask(key: string, signal: AbortSignal): Promise<HttpAnswer | undefined> {
    try {
      const answer = await send('stat', dialect.stat(key), signal)
      if (answer.statusCode < 300) return await wholeOf(answer, signal)
      await askInWords(key, signal)
      // It was written just now. Or it was the credentials or the clock, which an answer to HEAD cannot say.
      const second = await send('stat', dialect.stat(key), signal)
      if (second.statusCode < 300) return await wholeOf(second, signal)
    } catch (error) {
      if (isCode(error, 'NotFound')) return undefined
      throw error
    }
    throw thereAndNot()
  }

  /** The request was not for a range, so an answer with a range proves nothing. */
  async function wholeOf(sent: Sent, signal: AbortSignal): Promise<HttpAnswer> {
    const answer = await readAnswer(sent, signal)
    if (answer.status !== 200) throw notTheStores(answer, 'an unexpected status')
    return answer
  }

  /**
   * An answer to HEAD has no body: with it, a missing object looks like a missing bucket or like the answer of a proxy.
   * The answer to this GET has a body.
   */
  async function askInWords(key: string, signal: AbortSignal): Promise<void> {
    const answer = await send('stat', dialect.get(key, { start: 0, end: 1 }), signal)
    await answer.body.dump()
  }

  async function readBack(key: string, names: readonly DigestName[], signal: AbortSignal): Promise<ReadBack> {
    const answer = await send('read', dialect.get(key, undefined), signal).catch(error => {
      throw isCode(error, 'NotFound') ? thereAndNot() : error // another server of the store said that it is there
    })
    const { content } = await contentOfAnswer(dialect, answer, undefined, signal)
    return { digests: await digestsOfBody(names, content.body, signal), tag: answer.headers['etag'] }
  }

  /** Undefined when the answer does not describe an object: then only its bytes can show what it is. */
  function sizeOf(key: string, answer: HttpAnswer): number | undefined {
    try {
      return dialect.statOf(key, answer).size
    } catch {
      return undefined
    }
  }

  return {
    ask,
    readBack,

    async absent(key, refusal, signal) {
      const answer = await readAnswer(refusal, signal)
      if (await ask(key, signal)) return notTheStores(answer, 'no mark of the store')
      return new Fault('NotFound', 'the store has no such object')
    },

    async holds(key, { size, digest, parts, compute }, signal) {
      try {
        const answer = await ask(key, signal)
        if (!answer) return false
        const found = sizeOf(key, answer)
        if (found !== undefined && found !== size) return false
        const verdict = found === undefined ? 'unclear' : dialect.compare(answer, digest, parts)
        if (verdict !== 'unclear') return verdict === 'same'
        const { digests } = await readBack(key, [dialect.describedBy], signal)
        return digests[dialect.describedBy] === (digest ?? (await compute()))
      } catch (error) {
        if (isUnreadable(error)) return false
        throw error
      }
    },
  }
}

function thereAndNot(): Fault {
  return new Fault(
    'Unavailable',
    'the store contradicts itself: one answer says that the object is there, another that it is not',
  )
}

/** The credentials may allow to write but not to read, and an object in an archive cannot be read at once. */
export function isUnreadable(error: unknown): boolean {
  return isCode(error, 'Denied') || isCode(error, 'Archived')
}
