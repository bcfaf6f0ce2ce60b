/**
 * The part of the check that finds out what an S3 server does with CRC-32. It never fails: what is not proven is not
 * used. All writes have the key of the check, and whatever they leave is removed by the check that made them, or by the
 * next one.
 */
import { randomUUID } from 'node:crypto'
import { collect, sourceOf } from '../../bytes.ts'
import { Fault } from '../../fault.ts'
import { digestOf, digestsOf } from '../digest.ts'
import type { MoreProbes } from '../http/check.ts'
import type { Dialect, Draft, HttpAnswer, SendProbe } from '../http/dialect.ts'
import { type Checksums, isSha256Cheap, type Proven, trailed } from './checksums.ts'

/** Orthanc's start waits no longer for this. */
const LONGEST_MS = 3_000

interface Place {
  readonly key: string
  readonly bucketPath: string
  /** Gets one line with what was found. */
  readonly log: (line: string) => void
}

/**
 * 1. A write with a wrong CRC-32. Only a server that verifies it refuses it as damaged.
 * 2. Where the bucket keeps no versions, which a removal would leave: a write with the right CRC-32, after the bytes,
 *    else before them. It is read back. Some servers store the framing of the first.
 */
export function proveChecksums(checksums: Checksums, { key, bucketPath, log }: Place): MoreProbes {
  let tried = false
  return async (dialect, askOnce, warn) => {
    if (tried) return false
    tried = true
    if (checksums.bound && !isSha256Cheap()) {
      log(`${dialect.name}: writes are sent with Content-MD5, which this processor computes faster than SHA-256`)
      return false
    }
    const within = AbortSignal.timeout(LONGEST_MS)
    const ask: SendProbe = (verb, draft, body) => askOnce(verb, draft, body, within)
    const written = new Written(dialect, key, ask, warn)
    const found = await prove(written)
    if (typeof found === 'string') log(`${dialect.name}: writes are sent with Content-MD5: ${found}`)
    else {
      checksums.prove(found)
      const also = found.trailer ? ', also after the bytes' : ''
      log(`${dialect.name}: writes are sent with x-amz-checksum-crc32, which this server verifies${also}`)
    }
    return written.removed()
  }

  /** What is proven, or why nothing is. */
  async function prove(written: Written): Promise<Proven | string> {
    const bytes = probeBytes()
    const names = checksums.crcNames()
    const right = digestsOf(names, bytes)
    const wrong = { ...right, crc32: digestOf('crc32', bytes.subarray(1)) }
    const [refusal, versions] = await Promise.all([
      written.put(written.dialect.put(key, wrong), bytes),
      written.ask('read', { method: 'GET', path: bucketPath, query: [['versioning', '']] }),
    ])
    if (!(refusal instanceof Fault)) return 'this server does not look at x-amz-checksum-crc32'
    const said = `its answer to a wrong x-amz-checksum-crc32 was: ${refusal.message}`
    const unclear = /^InvalidRequest\b/.test(refusal.message)
    if (refusal.code !== 'Corrupt' && !unclear) return said
    if (!keepsNoVersions(versions)) return unclear ? said : { trailer: false }

    /** Whether these bytes are there now as the server has acknowledged them. */
    async function isRight(draft: Draft, body: Buffer): Promise<boolean> {
      const answer = await written.put(draft, body)
      if (answer instanceof Fault || !tells(answer, right.crc32)) return false
      const headers = { 'x-amz-checksum-mode': 'ENABLED' }
      const read = await written.ask('read', { ...written.dialect.get(key, undefined), headers })
      if (read instanceof Fault || read.status !== 200 || read.text !== bytes.toString()) return false
      return tells(read, right.crc32) && read.headers['content-encoding'] === undefined
    }

    if (!checksums.bound) {
      const { body, size, headers } = trailed(sourceOf(bytes).open(), bytes.byteLength)
      const { headers: usual, ...draft } = written.dialect.put(key, {})
      if (await isRight({ ...draft, headers: { ...usual, ...headers } }, await collect({ size, body })))
        return { trailer: true }
    }
    if (await isRight(written.dialect.put(key, right), bytes)) return { trailer: false }
    return 'what was written with x-amz-checksum-crc32 did not come back with it'
  }
}

/** Different each time: two Orthancs that start at once must not take the other's object for their own. */
const probeBytes = () => Buffer.from(`orthanc-cloud-storage ${randomUUID()}`)
const PROBE = /orthanc-cloud-storage [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/

/** Whether an object has what a check wrote that was broken off, perhaps with the framing. */
export function isOfProof(text: string): boolean {
  return PROBE.test(text)
}

function tells(answer: HttpAnswer, crc32: string | undefined): boolean {
  return answer.headers['x-amz-checksum-crc32'] === crc32
}

/** Whether it is certain that an object which is removed is gone. */
function keepsNoVersions(answer: HttpAnswer | Fault): boolean {
  if (answer instanceof Fault) return false
  return /<VersioningConfiguration\b[^<>]*(\/>|>\s*<\/VersioningConfiguration>)\s*$/.test(answer.text)
}

/** What the proof has written, as far as it is not removed yet. */
class Written {
  readonly dialect: Dialect
  readonly ask: SendProbe
  readonly #key: string
  readonly #warn: (line: string) => void
  readonly #versions: string[] = []
  #isThere = false

  constructor(dialect: Dialect, key: string, ask: SendProbe, warn: (line: string) => void) {
    this.dialect = dialect
    this.ask = ask
    this.#key = key
    this.#warn = warn
  }

  async put(draft: Draft, body: Buffer): Promise<HttpAnswer | Fault> {
    const answer = await this.ask('write', draft, body)
    if (answer instanceof Fault) {
      this.#isThere ||= answer.doubtful || answer.code === 'Timeout'
      return answer
    }
    this.#isThere = true
    const version = answer.headers['x-amz-version-id']
    if (typeof version === 'string' && version !== 'null') this.#versions.push(version)
    return answer
  }

  /** Removes versions that a plain removal would leave. Resolves with whether the object may still be there. */
  async removed(): Promise<boolean> {
    for (const version of this.#versions) {
      const remove = this.dialect.remove(this.#key)
      const answer = await this.ask('remove', { ...remove, query: [['versionId', version]] })
      if (!(answer instanceof Fault)) continue
      this.#warn(
        `the check wrote a version of '${this.#key}' to ${this.dialect.name} and could not remove it: ${answer.message}`,
      )
      return true
    }
    return this.#isThere && this.#versions.length === 0
  }
}
