import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import { checkedContent, collect } from '../src/bytes.ts'
import { crc32c } from '../src/stores/crc32c.ts'
import { digestOf, hasher } from '../src/stores/digest.ts'
import type { Store } from '../src/stores/store.ts'
import { withChecksum } from '../src/stores/wrappers/checksum.ts'
import { withRetry } from '../src/stores/wrappers/retry.ts'
import { memoryStore } from './support/memory-store.ts'
import { fc } from './support/property.ts'
import { never, noise } from './support/store.suite.ts'

describe('CRC-32C', () => {
  // RFC 3720, appendix B.4
  const vectors: [string, Buffer, number][] = [
    ['zeros', Buffer.alloc(32), 0x8a9136aa],
    ['ones', Buffer.alloc(32, 0xff), 0x62a8ab43],
    ['rising', Buffer.from(Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e],
    ['falling', Buffer.from(Array.from({ length: 32 }, (_, i) => 31 - i)), 0x113fdb5c],
    ['digits', Buffer.from('123456789'), 0xe3069283],
    ['nothing', Buffer.alloc(0), 0],
  ]
  for (const [what, bytes, expected] of vectors) it(`of ${what}`, () => assert.equal(crc32c(bytes) >>> 0, expected))

  it('is the same wherever the bytes lie in memory', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.integer({ min: 0, max: 7 }), (bytes, offset) => {
        const moved = new Uint8Array(offset + bytes.length).subarray(offset)
        moved.set(bytes)
        const byOne = bytes.reduce((crc, _, i) => crc32c(bytes.subarray(i, i + 1), crc), 0)
        assert.equal(crc32c(moved), byOne)
      }),
    )
  })

  it('is written as Google writes it', () => assert.equal(digestOf('crc32c', Buffer.from('hello world')), 'yZRlqg=='))
})

describe('a digest', () => {
  for (const name of ['md5', 'crc32', 'crc32c', 'sha256'] as const)
    it(`${name} does not depend on how the bytes are cut`, () => {
      fc.assert(
        fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 10 }), chunks => {
          const pieces = hasher(name)
          for (const chunk of chunks) pieces.update(chunk)
          assert.equal(pieces.digest(), digestOf(name, Buffer.concat(chunks)))
        }),
      )
    })
  // The check value of the catalogue of CRC algorithms (CRC-32/ISO-HDLC) is cbf43926.
  it('crc32 is that of zlib and of S3', () => assert.equal(digestOf('crc32', Buffer.from('123456789')), 'y/Q5Jg=='))
  it('md5 is MD5', () =>
    assert.equal(digestOf('md5', noise(1000)), createHash('md5').update(noise(1000)).digest('base64')))
})

describe('withChecksum', () => {
  const bytes = noise(300_000)
  /** Announces the digest of `told`, gives `given`, and breaks once after `breakAt` bytes. */
  const telling = (told: Buffer, given: Buffer, breakAt = given.length): Store => {
    let broken = breakAt === given.length
    return {
      ...memoryStore(),
      async get(_key, range = { start: 0, end: given.length }) {
        const whole = range.start === 0 && range.end === given.length
        const part = given.subarray(range.start, range.end)
        const end = broken ? part.length : breakAt
        broken = true
        const content = checkedContent(
          part.length,
          (async function* () {
            yield part.subarray(0, end)
          })(),
        )
        return whole ? { ...content, digest: { name: 'md5', value: digestOf('md5', told) } } : content
      },
    }
  }
  const damaged = Buffer.from(bytes)
  damaged[150_000] = (damaged[150_000] ?? 0) ^ 1
  const read = async (store: Store) => collect(await withChecksum(store).get('x', undefined, never))

  it('passes what is right', async () => assert.deepEqual(await read(telling(bytes, bytes)), bytes))
  it('refuses one flipped bit', () =>
    assert.rejects(read(telling(bytes, damaged)), { code: 'Corrupt', retryable: true, message: /md5 .* but those/ }))

  const retried = withRetry({ maxRetries: 2, firstDelayMs: 1 }, () => {})
  it('passes a body that broke and was resumed', async () =>
    assert.deepEqual(await read(retried(telling(bytes, bytes, 100_000))), bytes))
  it('refuses a bit that flipped after the resumption', () =>
    assert.rejects(read(retried(telling(bytes, damaged, 100_000))), { code: 'Corrupt' }))
})
