import { createHash, hash } from 'node:crypto'
import { type Bytes, type Digest, openWhole, type Source } from '../bytes.ts'
import { throwIfAborted } from '../fault.ts'
import { crc32c } from './crc32c.ts'

/** How a provider verifies what it receives and describes what it has: MD5 (RFC 1321), or CRC-32C in big-endian. */
export type DigestName = Digest['name']

export interface Hasher {
  update(bytes: Uint8Array): void
  /** In base64, as all providers write it. */
  digest(): string
}

export function hasher(name: DigestName): Hasher {
  if (name === 'md5') {
    const md5 = createHash('md5')
    return { update: bytes => void md5.update(bytes), digest: () => md5.digest('base64') }
  }
  let crc = 0
  return {
    update: bytes => {
      crc = crc32c(bytes, crc)
    },
    digest: () => base64Of(crc),
  }
}

export function digestOf(name: DigestName, bytes: Uint8Array): string {
  return name === 'md5' ? hash('md5', bytes, 'base64') : base64Of(crc32c(bytes))
}

/** Of all bytes of a source. */
export function digestOfSource(name: DigestName, body: Source, signal: AbortSignal): Promise<string> {
  return digestOfBody(name, openWhole(body), signal)
}

/** Of all bytes of a body, which it consumes. */
export async function digestOfBody(name: DigestName, body: Bytes, signal: AbortSignal): Promise<string> {
  const whole = hasher(name)
  for await (const chunk of body) {
    throwIfAborted(signal)
    whole.update(chunk)
  }
  return whole.digest()
}

function base64Of(crc: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(crc)
  return bytes.toString('base64')
}
