/**
 * By which checksum bytes are verified on their way to an S3 server and back: Content-MD5, which all servers know, or
 * CRC-32, which costs a seventh, but which some servers refuse and others ignore. So CRC-32 is used once this server
 * has proven that it verifies it (proof.ts), and no longer when an answer shows that it does not.
 */
import type { Bytes, Digest, Range } from '../../bytes.ts'
import type { Fault } from '../../fault.ts'
import { type DigestName, type Digests, digestOf, hashers } from '../digest.ts'
import type { Begun, Draft, Headers, HttpRefusal, Receipt, Verdict } from '../http/dialect.ts'
import { awsChunked } from './aws-chunked.ts'

const NAME = 'x-amz-checksum-crc32'
/** A CRC-32 in base64. One of the checksums of the parts of an object has a number of parts behind it. */
const VALUE = /^[A-Za-z0-9+/]{5}[AQgw]==$/
const VALUE_LENGTH = 8
const PARTS = { 'x-amz-checksum-algorithm': 'CRC32', 'x-amz-checksum-type': 'FULL_OBJECT' }
const UNSIGNED_TRAILER = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'

/** What a server was proven to do with CRC-32. `trailer`: also take it after the bytes. */
export type Proven = { readonly trailer: boolean }

export class Checksums {
  /** Whether the signature must bind the body, because neither TLS nor this machine protects it on its way. */
  readonly bound: boolean
  readonly #warn: (line: string) => void
  #proven: Proven | undefined
  #takesParts = true

  constructor(bound: boolean, warn: (line: string) => void = () => {}) {
    this.bound = bound
    this.#warn = warn
  }

  get proven(): Proven | undefined {
    return this.#proven
  }

  prove(proven: Proven): void {
    this.#proven = proven
  }

  /** What a write is sent with. A signed MD5 binds the body to the signature, and a CRC does not. */
  names(): readonly DigestName[] {
    return this.#proven ? this.crcNames() : ['md5']
  }

  crcNames(): readonly DigestName[] {
    return this.bound ? ['crc32', 'sha256'] : ['crc32']
  }

  onWrite({ md5, crc32, sha256 }: Digests): Record<string, string> {
    return {
      ...(md5 !== undefined && crc32 === undefined && { 'content-md5': md5 }),
      ...(crc32 !== undefined && { [NAME]: crc32 }),
      ...(sha256 !== undefined && { 'x-amz-content-sha256': Buffer.from(sha256, 'base64').toString('hex') }),
    }
  }

  /** What a body is sent as whose checksum follows it; undefined = not here. */
  trailed(body: Bytes, size: number) {
    return this.#proven?.trailer && !this.bound ? trailed(body, size) : undefined
  }

  /** For a read. AWS and MinIO give no checksum with a range. */
  onRead(range: Range | undefined): Record<string, string> {
    return this.#proven && !range ? { 'x-amz-checksum-mode': 'ENABLED' } : {}
  }

  /** What the acknowledgement of a write, or of a part, says of its bytes. */
  compare(headers: Headers, crc32: string): Verdict {
    const found = headers[NAME]
    if (typeof found !== 'string') return 'unclear'
    return found === crc32 ? 'same' : 'other'
  }

  /** Of the whole object. An answer about a range may have the checksum of a part: then there is none. */
  digestOf(headers: Headers): Digest | undefined {
    const { [NAME]: value, 'x-amz-checksum-type': type, 'content-range': range } = headers
    const ofWhole = type === 'FULL_OBJECT' || (type === undefined && !/-\d+"?$/.test(String(headers['etag'])))
    const usable = typeof value === 'string' && VALUE.test(value) && ofWhole && range === undefined
    return usable ? { name: 'crc32', value } : undefined
  }

  /** For the request that begins an upload in parts. */
  onBegin(): Record<string, string> {
    return this.#proven && this.#takesParts ? PARTS : {}
  }

  /**
   * A server that takes CRC-32 for parts says so when it begins. If it does not, nobody knows what it expects of them:
   * this upload and all others are begun without.
   */
  begun(headers: Headers = {}, begin: Draft | undefined): Omit<Begun, 'id'> {
    const has = (all: Headers = {}) => Object.entries(PARTS).every(([name, value]) => all[name] === value)
    if (!has(begin?.headers)) return { ofParts: ['md5'], ofWhole: [] }
    const taken = has(headers)
    this.#takesParts &&= taken
    return { ofParts: this.crcNames(), ofWhole: ['crc32'], again: !taken }
  }

  /** How the end of an upload names a part. */
  receipt({ crc32 }: Digests): Receipt {
    return crc32 === undefined ? {} : { ChecksumCRC32: crc32 }
  }

  onFinish(whole: Digests | undefined): Record<string, string> {
    return whole?.crc32 === undefined ? {} : { [NAME]: whole.crc32, 'x-amz-checksum-type': 'FULL_OBJECT' }
  }

  /** Called when an answer is not as the proof said: a proxy or another version of the server has come since. */
  giveUp(why: string): void {
    if (!this.#proven) return
    this.#proven = undefined
    this.#warn(`writes are sent with Content-MD5 again instead of ${NAME}: ${why}`) // once: nothing is proven now
  }

  /** A refusal that may be one of the checksum: then the operation is tried once more, without it. */
  blamed(fault: Fault, { status, draft }: HttpRefusal): Fault {
    const maybe = (status === 400 && fault.code === 'BadRequest') || status === 501
    // Others may be under way when the first one is refused.
    const had = Object.keys(draft?.headers ?? {}).some(name => /^x-amz-(checksum-|trailer$)/.test(name))
    if (!maybe || !had) return fault
    this.giveUp(fault.message)
    return fault.with({ startOver: true })
  }
}

export function trailed(body: Bytes, size: number) {
  const seen = hashers(['crc32'])
  const digests = () => seen.digests()
  const value = () => digests().crc32 ?? ''
  return {
    ...awsChunked(passing(body, seen), size, { name: NAME, length: VALUE_LENGTH }, value),
    digests,
    headers: {
      'content-encoding': 'aws-chunked',
      'x-amz-content-sha256': UNSIGNED_TRAILER,
      'x-amz-decoded-content-length': String(size),
      'x-amz-trailer': NAME,
    },
  }
}

async function* passing(body: Bytes, seen: { update(bytes: Uint8Array): void }): Bytes {
  for await (const chunk of body) {
    seen.update(chunk)
    yield chunk
  }
}

const SAMPLE = Buffer.alloc(256 * 1024)
const ROUNDS = 5

/** Processors without instructions for SHA-256 are faster with MD5. Takes some milliseconds. */
export function isSha256Cheap(): boolean {
  const best = (name: DigestName) =>
    Math.min(
      ...Array.from({ length: ROUNDS }, () => {
        const started = performance.now()
        digestOf(name, SAMPLE)
        return performance.now() - started
      }),
    )
  return best('sha256') < best('md5')
}
