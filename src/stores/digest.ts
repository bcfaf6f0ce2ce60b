import { createHash, hash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { type Bytes, openWhole, type Source } from '../bytes.ts'
import { throwIfAborted } from '../fault.ts'
import { crc32c } from './crc32c.ts'

/**
 * How a provider verifies what it receives and describes what it has: MD5 (RFC 1321), CRC-32 (that of zlib), CRC-32C,
 * SHA-256. A CRC is written in big-endian, and all in base64, as all providers write them.
 */
export type DigestName = 'md5' | 'crc32' | 'crc32c' | 'sha256'

/** Of the same bytes. */
export type Digests = Readonly<Partial<Record<DigestName, string>>>

export interface Hasher {
  update(bytes: Uint8Array): void
  digest(): string
}

const CRCS: Readonly<Partial<Record<DigestName, (bytes: Uint8Array, soFar?: number) => number>>> = { crc32, crc32c }

export function hasher(name: DigestName): Hasher {
  const sum = CRCS[name]
  if (!sum) {
    const whole = createHash(name)
    return { update: bytes => void whole.update(bytes), digest: () => whole.digest('base64') }
  }
  let crc = 0
  return {
    update: bytes => {
      crc = sum(bytes, crc)
    },
    digest: () => base64Of(crc),
  }
}

export function digestOf(name: DigestName, bytes: Uint8Array): string {
  const sum = CRCS[name]
  return sum ? base64Of(sum(bytes)) : hash(name, bytes, 'base64')
}

export function digestsOf(names: readonly DigestName[], bytes: Uint8Array): Digests {
  return Object.fromEntries(names.map(name => [name, digestOf(name, bytes)]))
}

export function hashers(names: readonly DigestName[]) {
  const all = names.map(name => [name, hasher(name)] as const)
  return {
    update(bytes: Uint8Array): void {
      for (const [, one] of all) one.update(bytes)
    },
    digests: (): Digests => Object.fromEntries(all.map(([name, one]) => [name, one.digest()])),
  }
}

/** Of all bytes of a body, which it consumes. */
export async function digestsOfBody(names: readonly DigestName[], body: Bytes, signal: AbortSignal): Promise<Digests> {
  const whole = hashers(names)
  for await (const chunk of body) {
    throwIfAborted(signal)
    whole.update(chunk)
  }
  return whole.digests()
}

/** Of all bytes of a source. */
export function digestsOfSource(names: readonly DigestName[], body: Source, signal: AbortSignal): Promise<Digests> {
  return digestsOfBody(names, openWhole(body), signal)
}

/** Whether all of `found` are what `expected` says. Nothing in common proves nothing. */
export function sameDigests(found: Digests, expected: Digests): boolean {
  const names = Object.keys(expected) as DigestName[]
  return names.length > 0 && names.every(name => found[name] === expected[name])
}

function base64Of(crc: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(crc | 0)
  return bytes.toString('base64')
}
