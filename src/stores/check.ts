/** The check of a store, as far as providers have it in common: which questions are asked, and what their answers prove. */
import { createHash } from 'node:crypto'
import { Fault } from '../fault.ts'
import type { Draft, Headers } from './dialect.ts'
import { type Send, textOf } from './http.ts'
import type { CheckOptions, Store } from './store.ts'

/** What answered. Header names are lower-case. */
export interface Found {
  readonly headers: Headers
  readonly text: string
}

/** One request. A failure is an answer, too; only the end of the check's own time is thrown. */
export type Ask = (verb: string, draft: Draft, body?: Buffer) => Promise<Found | Fault>

/** How one provider is asked whether it lets us in. */
export type Check = (ask: Ask, options: Required<CheckOptions>) => Promise<void>

export function checkOf(check: Check, send: Send): Store['check'] {
  return (signal, { purpose = 'start', writes = true, warn = () => {} } = {}) =>
    check(
      async (verb, draft, body) => {
        try {
          const answer = await send(verb, draft, signal, body, body?.byteLength)
          return { headers: answer.headers, text: await textOf(answer.body) }
        } catch (error) {
          if (signal.aborted) throw error
          return Fault.from(error)
        }
      },
      { purpose, writes, warn },
    )
}

/** A store that takes a Content-MD5 with each write: S3, Azure. All requests are about one object, which nobody writes. */
export interface Probes {
  /** Of the store, for warnings. */
  readonly name: string
  readonly key: string
  readonly read: Draft
  /** Just as real writes are, with their headers, tags and class: what it passes, real writes pass. */
  put(key: string, md5: string): Draft
  readonly remove: Draft
  /** Asks for the permission to remove where nothing is, as harmlessly as the store can be asked. */
  readonly removeNothing: Draft
  /** Whether a failure to read says that the object is not there, as far as the store tells such things to us. */
  isAbsence(fault: Fault): boolean
  /** Whether a success of put() comes from the store. */
  isReceipt(found: Found): boolean
  /** Whether the place itself is missing, the bucket or container. */
  isPlaceMissing(fault: Fault): boolean
}

const BODY = Buffer.from('x')
const MD5_OF_BODY = createHash('md5').update(BODY).digest('base64')
const MD5_OF_NOTHING = createHash('md5').digest('base64')

/**
 * Reads, and tries the permission to write by a body whose checksum is wrong: permission is looked at first, so nothing is
 * written where the checksum is looked at. What a server wrote all the same is removed, at once or at the next start.
 */
export function probing(probes: Probes): Check {
  let takesAnything = false

  /** Resolves with whether the object is there now. */
  async function write(ask: Ask, warn: (line: string) => void): Promise<boolean> {
    const wrong = await ask('write', probes.put(probes.key, MD5_OF_NOTHING), BODY)
    if (!(wrong instanceof Fault)) {
      if (!probes.isReceipt(wrong)) throw notTheStore('to a write')
      takesAnything = true
      warn(
        `${probes.name} does not check Content-MD5: it took a body with a wrong one. Bytes that are damaged on their way there are not refused: use https, which finds such damage`,
      )
      return true
    }
    if (wrong.code === 'Corrupt') return false
    if (wrong.code === 'Denied' || wrong.code === 'BadConfig') throw wrong
    // Some servers answer a wrong checksum as if they were broken. Whether they are, a right one tells.
    const right = await ask('write', probes.put(probes.key, MD5_OF_BODY), BODY)
    if (right instanceof Fault) throw right
    if (!probes.isReceipt(right)) throw notTheStore('to a write')
    warn(
      `${probes.name} takes writes, but answered one with a wrong Content-MD5 by: ${wrong.message}. Whether it checks what it is sent is not known`,
    )
    return true
  }

  async function remove(ask: Ask, isThere: boolean, warn: (line: string) => void): Promise<void> {
    const removed = await ask('remove', isThere ? probes.remove : probes.removeNothing)
    if (!(removed instanceof Fault) || removed.code === 'NotFound') return
    const { name: store, key } = probes
    if (removed.code === 'Denied') warn(mayNotRemove(store, removed))
    if (isThere) warn(`the object '${key}' of the check at start stays in ${store}: ${removed.message}`)
  }

  return async (ask, { purpose, writes, warn }) => {
    const read = await ask('read', probes.read)
    if (read instanceof Fault) {
      if (probes.isPlaceMissing(read)) throw mayCome(read)
      if (!probes.isAbsence(read)) throw read
    } else if (read.text !== BODY.toString()) throw notTheStore('to a read of an object that nobody writes')
    if (purpose === 'status' || !writes) return
    const wasThere = !(read instanceof Fault)
    const isThere = takesAnything ? wasThere : (await write(ask, warn)) || wasThere
    await remove(ask, isThere, warn)
  }
}

/** For a failure that somebody may be about to mend, such as a side container that makes the bucket: asking again helps. */
export function mayCome(fault: Fault): Fault {
  return fault.with({ retryable: true })
}

/** A missing permission to remove stops nothing: a store may be meant to keep everything. */
export function mayNotRemove(store: string, fault: Fault): string {
  return `there is no permission to remove, so what Orthanc removes will stay in ${store}: ${fault.describe()}`
}

/** A success that the store would not have given. */
export function notTheStore(asked: string): Fault {
  return new Fault('Unavailable', `what answers there is not the store: it says yes ${asked}`, {
    remedy: 'Look at the endpoint, and at proxies, load balancers and portals between.',
  })
}
