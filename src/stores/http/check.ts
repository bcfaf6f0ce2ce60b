/** The part of the check that providers share: which requests are made, and what the answers prove. */
import { Fault } from '../../fault.ts'
import { fullWarning, removalWarning, worthAskingAgain } from '../check.ts'
import { type Digests, digestsOf } from '../digest.ts'
import type { Store } from '../store.ts'
import { readAnswer } from './answer.ts'
import type { Dialect, DialectCheck, Draft, SendProbe } from './dialect.ts'
import type { Send } from './send.ts'
import { notTheStores } from './stranger.ts'

export function checkOf(dialect: Dialect, send: Send): Store['check'] {
  return (signal, { purpose = 'start', writes = true, warn = () => {} } = {}) =>
    dialect.check(
      dialect,
      async (verb, draft, body, within) => {
        const ends = within ? AbortSignal.any([signal, within]) : signal
        try {
          return await readAnswer(await send(verb, draft, ends, body, body?.byteLength), ends)
        } catch (error) {
          if (signal.aborted) throw error
          return Fault.from(error)
        }
      },
      { purpose, writes, warn },
    )
}

const BODY = Buffer.from('x')
const RIGHT = digestsOf(['md5'], BODY)
const WRONG = digestsOf(['md5'], Buffer.alloc(0))

/** What one provider tries beside, before the removal. Resolves with whether the object may be there then. */
export type MoreProbes = (dialect: Dialect, ask: SendProbe, warn: (line: string) => void) => Promise<boolean>

interface ProbeOptions {
  /** Turns a removal into one that changes nothing when the object is absent. */
  readonly harmless?: (remove: Draft) => Draft
  /** Only when Orthanc starts. */
  readonly more?: MoreProbes
  /** Whether an object was written by `more`, in a check that was broken off. */
  readonly isOurs?: (text: string) => boolean
}

/**
 * For a store that takes a Content-MD5 with each write: S3, Azure. All requests are about the object `key`, which
 * Orthanc never writes. Reads it, and tests the permission to write with a body whose checksum is wrong: servers look
 * at the permission first, and those that verify the checksum write nothing. If a server writes the object all the
 * same, it is removed at once or at the next start.
 */
export function probeObject(
  key: string,
  { harmless = remove => remove, more, isOurs = () => false }: ProbeOptions = {},
): DialectCheck {
  let takesAnything = false

  /** With the headers, tags and class of real writes: if this request succeeds, they do. */
  async function put(dialect: Dialect, ask: SendProbe, digests: Digests): Promise<Fault | undefined> {
    const answer = await ask('write', dialect.put(key, digests), BODY)
    if (answer instanceof Fault) return answer
    dialect.acknowledges(answer, RIGHT)
    return undefined
  }

  /** Resolves with whether the object is there now. */
  async function write(dialect: Dialect, ask: SendProbe, warn: (line: string) => void): Promise<boolean> {
    const wrong = await put(dialect, ask, WRONG)
    if (!wrong) {
      takesAnything = true
      warn(
        `${dialect.name} does not verify Content-MD5: it accepted a body with a wrong one. It will not notice when bytes are damaged on the way: use https, which does`,
      )
      return true
    }
    if (wrong.code === 'Corrupt') return false
    if (wrong.code === 'Denied' || wrong.code === 'BadConfig') throw wrong
    // Some servers answer a wrong checksum with an internal error. A write with a right one shows whether they work.
    const right = wrong.code === 'TooLarge' ? wrong : await put(dialect, ask, RIGHT)
    if (right?.code === 'TooLarge') {
      warn(fullWarning(dialect.name, right))
      return false
    }
    if (right) throw right
    warn(
      `${dialect.name} accepts writes, but this was its answer to a wrong Content-MD5: ${wrong.message}. Whether it verifies what it receives is not known`,
    )
    return true
  }

  async function remove({ name, remove }: Dialect, ask: SendProbe, isThere: boolean, warn: (line: string) => void) {
    const removed = await ask('remove', isThere ? remove(key) : harmless(remove(key)))
    if (!(removed instanceof Fault) || removed.code === 'NotFound') return
    if (removed.code === 'Denied') warn(removalWarning(name, removed))
    if (isThere) warn(`the check wrote the object '${key}' to ${name} and could not remove it: ${removed.message}`)
  }

  return async (dialect, ask, { purpose, writes, warn }) => {
    const read = await ask('read', dialect.get(key, undefined))
    if (read instanceof Fault) {
      if (isPlaceMissing(read)) throw worthAskingAgain(read)
      // S3 answers "forbidden" for an absent object when we may not list, which Orthanc does not need.
      if (read.code !== 'NotFound' && !read.perhapsAbsent) throw read
    } else if (read.text !== BODY.toString() && !isOurs(read.text))
      throw notTheStores(read, 'content for an object that does not exist')
    if (purpose === 'status' || !writes) return
    const wasThere = !(read instanceof Fault)
    const isThere = takesAnything ? wasThere : (await write(dialect, ask, warn)) || wasThere
    const mayBeThere = purpose === 'start' && more ? await more(dialect, ask, warn) : false
    await remove(dialect, ask, isThere || mayBeThere, warn)
  }
}

export function isPlaceMissing(fault: unknown): boolean {
  return fault instanceof Fault && /^(NoSuchBucket|ContainerNotFound)\b/.test(fault.message)
}
