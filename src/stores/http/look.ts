/** Looking at one object: whether it is there, and whether it is what was sent. */
import { Fault, isCode } from '../../fault.ts'
import { digestOfBody } from '../digest.ts'
import { contentOfAnswer, readAnswer, type Sent } from './answer.ts'
import type { Dialect, HttpAnswer } from './dialect.ts'
import type { Send } from './send.ts'
import { notTheStores } from './stranger.ts'

/** An object as it should be. */
export interface Expected {
  /** Bytes. */
  readonly size: number
  /** As the dialect's digest is written, where it is known already. */
  readonly digest: string | undefined
  /** The same of each part, if it went up in parts. */
  readonly parts?: readonly string[]
  /** The digest, however much work it is. */
  compute(): Promise<string>
}

export interface Look {
  /** What the store says of an object; undefined only for a proven absence. */
  ask(key: string, signal: AbortSignal): Promise<HttpAnswer | undefined>
  /** Whether the object is there as expected. The size alone proves nothing, and what may not be read is not there. */
  holds(key: string, expected: Expected, signal: AbortSignal): Promise<boolean>
  /** The digest of the bytes that are there, which are all read, and the store's own tag of them. */
  readBack(key: string, signal: AbortSignal): Promise<{ readonly digest: string; readonly tag: unknown }>
  /** Why a read was refused without words: gone, when the store says so on being asked. */
  absent(key: string, refusal: Sent, signal: AbortSignal): Promise<Fault>
}

export function createLook(dialect: Dialect, send: Send): Look {
  async function ask(key: string, signal: AbortSignal): Promise<HttpAnswer | undefined> {
    try {
      const answer = await send('stat', dialect.stat(key), signal)
      if (answer.statusCode < 300) return await wholeOf(answer, signal)
      await askInWords(key, signal)
      // Written in this very moment; or the credentials or the clock were to blame, which only words could tell.
      const second = await send('stat', dialect.stat(key), signal)
      if (second.statusCode < 300) return await wholeOf(second, signal)
    } catch (error) {
      if (isCode(error, 'NotFound')) return undefined
      throw error
    }
    throw thereAndNot()
  }

  /** Nobody asked for a piece, so an answer about one tells nothing. */
  async function wholeOf(sent: Sent, signal: AbortSignal): Promise<HttpAnswer> {
    const answer = await readAnswer(sent, signal)
    if (answer.status !== 200) throw notTheStores(answer, 'a status that is none of an object')
    return answer
  }

  /** An answer to HEAD has no body: it tells no missing object from a missing bucket or a stranger. This does. */
  async function askInWords(key: string, signal: AbortSignal): Promise<void> {
    const answer = await send('stat', dialect.get(key, { start: 0, end: 1 }), signal)
    await answer.body.dump()
  }

  async function readBack(key: string, signal: AbortSignal) {
    const answer = await send('read', dialect.get(key, undefined), signal).catch(error => {
      throw isCode(error, 'NotFound') ? thereAndNot() : error // another server of the store told otherwise
    })
    const { content } = await contentOfAnswer(dialect, answer, undefined, signal)
    return { digest: await digestOfBody(dialect.digest, content.body, signal), tag: answer.headers['etag'] }
  }

  /** Undefined when the answer is not one about an object, as far as it tells: then its bytes must. */
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
        return (await readBack(key, signal)).digest === (digest ?? (await compute()))
      } catch (error) {
        if (isUnreadable(error)) return false
        throw error
      }
    },
  }
}

function thereAndNot(): Fault {
  return new Fault('Unavailable', 'the store says that the object is there, and that it is not')
}

/** Who may write may not always read; and an archive is not read at once. */
export function isUnreadable(error: unknown): boolean {
  return isCode(error, 'Denied') || isCode(error, 'Archived')
}
