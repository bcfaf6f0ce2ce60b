/** The check of a store, as far as providers have it in common: what is asked, and what the answers prove. */
import { createHash } from 'node:crypto'
import { Fault } from '../../fault.ts'
import { fullWarning, removalWarning, worthAskingAgain } from '../check.ts'
import type { Store } from '../store.ts'
import { readAnswer } from './answer.ts'
import type { Dialect, DialectCheck, Draft, SendProbe } from './dialect.ts'
import type { Send } from './send.ts'
import { notTheStores } from './stranger.ts'

export function checkOf(dialect: Dialect, send: Send): Store['check'] {
  return (signal, { purpose = 'start', writes = true, warn = () => {} } = {}) =>
    dialect.check(
      dialect,
      async (verb, draft, body) => {
        try {
          return await readAnswer(await send(verb, draft, signal, body, body?.byteLength), signal)
        } catch (error) {
          if (signal.aborted) throw error
          return Fault.from(error)
        }
      },
      { purpose, writes, warn },
    )
}

const BODY = Buffer.from('x')
const MD5_OF_BODY = createHash('md5').update(BODY).digest('base64')
const MD5_OF_NOTHING = createHash('md5').digest('base64')

/**
 * For a store that takes a Content-MD5 with each write: S3, Azure. All requests are about the object `key`, which
 * nobody writes. Reads, and tries the permission to write by a body whose checksum is wrong: permission is looked at
 * first, so nothing is written where the checksum is looked at. What a server wrote all the same is removed, at once or
 * at the next start.
 * `harmless`: how to ask for a removal where nothing is, so that nothing at all changes.
 */
export function probeObject(key: string, harmless: (remove: Draft) => Draft = remove => remove): DialectCheck {
  let takesAnything = false

  /** Just as real writes are, with their headers, tags and class: what it passes, real writes pass. */
  async function put(dialect: Dialect, ask: SendProbe, md5: string): Promise<Fault | undefined> {
    const answer = await ask('write', dialect.put(key, md5), BODY)
    if (answer instanceof Fault) return answer
    dialect.acknowledges(answer, MD5_OF_BODY)
    return undefined
  }

  /** Resolves with whether the object is there now. */
  async function write(dialect: Dialect, ask: SendProbe, warn: (line: string) => void): Promise<boolean> {
    const wrong = await put(dialect, ask, MD5_OF_NOTHING)
    if (!wrong) {
      takesAnything = true
      warn(
        `${dialect.name} does not check Content-MD5: it took a body with a wrong one. Bytes that are damaged on their way there are not refused: use https, which finds such damage`,
      )
      return true
    }
    if (wrong.code === 'Corrupt') return false
    if (wrong.code === 'Denied' || wrong.code === 'BadConfig') throw wrong
    // Some servers answer a wrong checksum as if they were broken. Whether they are, a right one tells.
    const right = wrong.code === 'TooLarge' ? wrong : await put(dialect, ask, MD5_OF_BODY)
    if (right?.code === 'TooLarge') {
      warn(fullWarning(dialect.name, right))
      return false
    }
    if (right) throw right
    warn(
      `${dialect.name} takes writes, but answered one with a wrong Content-MD5 by: ${wrong.message}. Whether it checks what it is sent is not known`,
    )
    return true
  }

  async function remove({ name, remove }: Dialect, ask: SendProbe, isThere: boolean, warn: (line: string) => void) {
    const removed = await ask('remove', isThere ? remove(key) : harmless(remove(key)))
    if (!(removed instanceof Fault) || removed.code === 'NotFound') return
    if (removed.code === 'Denied') warn(removalWarning(name, removed))
    if (isThere) warn(`the object '${key}' of the check at start stays in ${name}: ${removed.message}`)
  }

  return async (dialect, ask, { purpose, writes, warn }) => {
    const read = await ask('read', dialect.get(key, undefined))
    if (read instanceof Fault) {
      if (isPlaceMissing(read)) throw worthAskingAgain(read)
      // To somebody who may not list, S3 says "forbidden" of what is absent; to list is not needed for normal work.
      if (read.code !== 'NotFound' && !read.perhapsAbsent) throw read
    } else if (read.text !== BODY.toString()) throw notTheStores(read, 'an object that nobody writes')
    if (purpose === 'status' || !writes) return
    const wasThere = !(read instanceof Fault)
    const isThere = takesAnything ? wasThere : (await write(dialect, ask, warn)) || wasThere
    await remove(dialect, ask, isThere, warn)
  }
}

export function isPlaceMissing(fault: unknown): boolean {
  return fault instanceof Fault && /^(NoSuchBucket|ContainerNotFound)\b/.test(fault.message)
}
