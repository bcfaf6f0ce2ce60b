import { createHash } from 'node:crypto'
import type { Digest } from '../../bytes.ts'
import { digestsOfBody } from '../digest.ts'
import type { Store } from '../store.ts'
import type { Headers, Verdict } from './dialect.ts'

/** Proxies that change an answer make its tag weak, `W/"…"`. Some servers leave out the quotes or write A to F. */
const MD5 = /^(?:W\/)?"?([0-9a-f]{32})"?$/i
const OF_PARTS = /^(?:W\/)?"?([0-9a-f]{32}-\d+)"?$/i
const MOST_ODD = 100
/** After so many objects whose ETag is not their MD5, and none whose ETag is, the server's ETags are something else. */
const ENOUGH_ODD = 3
/** How many writes are compared with their ETag only to find out. */
const ENOUGH_LESSONS = 3
/** How many other objects are read to find out. */
const MOST_READ = 3
const MOST_LISTED = 1000
const LARGEST_READ = 16 * 1024 * 1024

/** Whether there is a tag as S3 makes them. */
export function isTagged({ etag }: Headers): boolean {
  return MD5.test(String(etag)) || OF_PARTS.test(String(etag))
}

/** A tag that a condition may name: a weak one never fulfils it (RFC 9110). */
export function strongTag({ etag }: Headers): string | undefined {
  return typeof etag === 'string' && !etag.startsWith('W/') ? etag : undefined
}

/**
 * ETags of S3, which are the MD5 of the bytes on most servers, and of most objects: not of those in parts (the MD5 of
 * the parts' MD5s), not of those encrypted with KMS, and on some servers never. What a server does is learnt from its
 * answers: an ETag that is the MD5 of bytes we know cannot be so by chance.
 */
export class Etags {
  /** 'md5': seen to be so. 'other': an ETag was proven to be something else, so none is compared any more. */
  #are: 'unknown' | 'md5' | 'other' = 'unknown'
  #lessons = 0
  /** Bodies that did not match their ETag, while nothing was known: the same twice is no damage on the way. */
  readonly #odd = new Map<string, string>()
  /** Keys of which two readings agreed. One alone may be damaged at rest. */
  readonly #agreed = new Set<string>()

  /** What an ETag says of bytes with this MD5 (base64), sent in one request or in parts with these MD5s. */
  compare(headers: Headers, md5: string | undefined, parts?: readonly string[]): Verdict {
    this.#lessons++
    const etag = String(headers['etag'] ?? '')
    if (parts && OF_PARTS.exec(etag)?.[1]?.toLowerCase() === etagOfParts(parts)) return 'same'
    const whole = MD5.exec(etag)?.[1]?.toLowerCase()
    if (whole === undefined || md5 === undefined) return 'unclear'
    if (whole === hex(md5)) {
      if (this.#are === 'unknown') this.#are = 'md5'
      return 'same'
    }
    return this.#are === 'md5' && !isEncrypted(headers) ? 'other' : 'unclear'
  }

  /** Whether the MD5 of a write would be a lesson, where nothing else needs it. */
  get curious(): boolean {
    return this.#are === 'unknown' && this.#lessons < ENOUGH_LESSONS
  }

  /** Whether an ETag that cannot be compared is a reason to read the object back: not where that is usual. */
  surprises(headers: Headers): boolean {
    return this.#are === 'unknown' && MD5.test(String(headers['etag'] ?? '')) && !isEncrypted(headers)
  }

  /** Called when an object is proven right although its ETag, seen twice, is not its MD5. */
  learnOther(headers: Headers): void {
    if (this.surprises(headers)) this.#are = 'other'
  }

  /** Whether an object did not match its ETag and it is not known yet which of the two is wrong. */
  doubts(key: string): boolean {
    return this.#are === 'unknown' && this.#odd.has(key) && !this.#agreed.has(key)
  }

  /**
   * The MD5 of an object in lower-case hex, if its ETag may be one. A listing does not say whether an object is
   * encrypted with KMS, and then its ETag is something else.
   */
  md5Of(headers: Headers): string | undefined {
    const etag = MD5.exec(String(headers['etag'] ?? ''))?.[1]
    return this.#are === 'other' || isEncrypted(headers) ? undefined : etag?.toLowerCase()
  }

  /** The digest that a whole body must have, if its ETag says so. */
  digestOf(key: string, headers: Headers): Digest | undefined {
    const etag = MD5.exec(String(headers['etag'] ?? ''))?.[1]
    if (etag === undefined || this.#are === 'other' || isEncrypted(headers)) return undefined
    const value = Buffer.from(etag, 'hex').toString('base64')
    return { name: 'md5', value, confirms: found => this.#confirms(key, value, found) }
  }

  #confirms(key: string, value: string, found: string): boolean {
    if (found === value) {
      if (this.#are === 'unknown') this.#are = 'md5'
      return true
    }
    if (this.#are !== 'unknown') return this.#are === 'other'
    const both = `${value} ${found}`
    if (this.#odd.get(key) === both) {
      this.#agreed.add(key)
      if (this.#agreed.size >= ENOUGH_ODD) this.learnOther({ etag: hex(value) })
      return true
    }
    this.#odd.set(key, both)
    if (this.#odd.size > MOST_ODD) this.#odd.delete(this.#odd.keys().next().value as string)
    return false
  }
}

/**
 * Reads some other objects. One whose ETag is its MD5 shows that ETags are MD5s on this server; `digest.confirms`
 * remembers that. Where they cannot be read, nothing is learnt.
 */
export async function learnFromOthers(store: Store, prefix: string, but: string, signal: AbortSignal): Promise<void> {
  let [listed, read] = [0, 0]
  for await (const { key, size } of store.list(prefix, signal)) {
    if (++listed > MOST_LISTED || read === MOST_READ) return
    if (key === but || size === 0 || size > LARGEST_READ) continue
    read++
    // As a range: a whole object may come with another digest, which would be compared instead of the ETag.
    const { body, digest } = await store.get(key, { start: 0, end: size }, signal)
    const { md5 = '' } = await digestsOfBody(['md5'], body, signal)
    if (digest?.value === md5) return void digest.confirms?.(md5)
  }
}

function etagOfParts(parts: readonly string[]): string {
  const all = createHash('md5')
  for (const md5 of parts) all.update(Buffer.from(md5, 'base64'))
  return `${all.digest('hex')}-${parts.length}`
}

const hex = (base64: string) => Buffer.from(base64, 'base64').toString('hex')

function isEncrypted(headers: Headers): boolean {
  return (
    /^aws:kms/.test(String(headers['x-amz-server-side-encryption'] ?? '')) ||
    headers['x-amz-server-side-encryption-customer-algorithm'] !== undefined
  )
}
