import { createHash } from 'node:crypto'

/** A digest of bytes that come one after the other, in hex. */
export function newDigest(algorithm: 'sha256' | 'md5') {
  const hash = createHash(algorithm)
  return { update: (bytes: Uint8Array) => void hash.update(bytes), hex: () => hash.digest('hex') }
}

/** Of all bytes, in lower-case hex. */
export function md5Of(bytes: Uint8Array): string {
  const md5 = newDigest('md5')
  md5.update(bytes)
  return md5.hex()
}
