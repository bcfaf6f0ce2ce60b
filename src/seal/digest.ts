import { createHash } from 'node:crypto'

/** A digest of bytes that come one after the other, in hex. */
export function newDigest(algorithm: 'sha256' | 'md5') {
  const hash = createHash(algorithm)
  return { update: (bytes: Uint8Array) => void hash.update(bytes), hex: () => hash.digest('hex') }
}
