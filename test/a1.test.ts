/** Format A1: vectors of the official plugin first, then properties, then what must fail. */
import assert from 'node:assert/strict'
import { createCipheriv, createHash, hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { type Bytes, checkedContent, collect, collectSource, type Source, sourceOf } from '../src/bytes.ts'
import { a1, OVERHEAD_BYTES, type Randomness } from '../src/seal/a1.ts'
import { peek } from '../src/seal/detect.ts'
import { gcmCounterMode } from '../src/seal/gcm-ranges.ts'
import { type Keyring, keyring, masterKey } from '../src/seal/keyring.ts'
import { fc } from './support/property.ts'
import { noise } from './support/store.suite.ts'

const sha256 = (bytes: Uint8Array) => hash('sha256', bytes)
const keyOf = (id: number, fill = id) => masterKey(id, Buffer.alloc(32, fill).toString('base64'))
const keys = keyring(keyOf(1), [keyOf(2)])

/** In chunks of these sizes, over and over. */
function chunked(bytes: Buffer, sizes: readonly number[]): Source {
  return {
    size: bytes.byteLength,
    async *open({ start, end } = { start: 0, end: bytes.byteLength }) {
      for (let at = start, i = 0; at < end; i++) {
        const next = Math.min(at + (sizes[i % sizes.length] ?? 1), end)
        yield bytes.subarray(at, next)
        at = next
      }
    },
  }
}

const open = (object: Buffer, ring: Keyring = keys, sizes = [65_536]): Promise<Buffer> =>
  collect(a1(ring).unseal(checkedContent(object.byteLength, chunked(object, sizes).open())))
const seal = (bytes: Buffer, random?: Randomness): Promise<Buffer> =>
  collectSource(a1(keys, random && (() => random)).seal(sourceOf(bytes)))

interface Vector {
  readonly name: string
  readonly masterKeyId: number
  readonly masterKey: string
  readonly plainSize: number
  readonly plainSha256: string
  readonly objectSha256: string
  readonly object?: string
  readonly objectFile?: string
}

describe('objects written by the official plugin', () => {
  const folder = new URL('vectors/', import.meta.url)
  const { vectors }: { vectors: Vector[] } = JSON.parse(readFileSync(new URL('a1.json', folder), 'utf8'))
  for (const vector of vectors) {
    const object = vector.objectFile
      ? readFileSync(new URL(vector.objectFile, folder))
      : Buffer.from(vector.object ?? '', 'hex')
    const key = masterKey(vector.masterKeyId, vector.masterKey)

    it(`${vector.name}: is opened`, async () => {
      const plain = await open(object, keyring(key, []))
      assert.equal(plain.byteLength, vector.plainSize)
      assert.equal(sha256(plain), vector.plainSha256)
    })

    it(`${vector.name}: its data key and IV give the same bytes`, async () => {
      const unwrap = (bytes: Buffer) => createCipheriv('aes-256-ctr', key.secret, Buffer.alloc(16)).update(bytes)
      const random = { iv: unwrap(object.subarray(6, 38)), dataKey: unwrap(object.subarray(38, 70)) }
      const plain = await open(object, keyring(key, []))
      const again = await collectSource(a1(keyring(key, []), () => random).seal(sourceOf(plain)))
      assert.equal(sha256(again), vector.objectSha256)
    })
  }
})

describe('seal and unseal', () => {
  const bytes = fc.integer({ min: 0, max: 5000 }).map(size => noise(size, size + 1))
  const sizes = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 5 })

  it('are inverse, for any size and any chunks', () =>
    fc.assert(
      fc.asyncProperty(bytes, sizes, sizes, async (plain, into, outOf) => {
        const object = await collectSource(a1(keys).seal(chunked(plain, into)))
        assert.equal(object.byteLength, plain.byteLength + OVERHEAD_BYTES)
        assert.deepEqual(await open(object, keys, outOf), plain)
      }),
    ))

  it('give the same bytes however often, and from wherever, the sealed source is opened', () =>
    fc.assert(
      fc.asyncProperty(bytes, sizes, fc.nat(), fc.nat(), async (plain, chunks, a, b) => {
        const source = a1(keys).seal(chunked(plain, chunks))
        const whole = await collectSource(source)
        assert.deepEqual(await collectSource(source), whole)
        const [start = 0, end = 1] = [a % whole.byteLength, b % whole.byteLength].sort((x, y) => x - y)
        const range = { start, end: end + 1 }
        const part = await collect({ size: range.end - range.start, body: source.open(range) })
        assert.deepEqual(part, whole.subarray(range.start, range.end))
      }),
      { numRuns: 300 },
    ))

  it('read the source once when it is taken part by part, whatever their size, and once more in any other order', async () => {
    const plain = noise(10_000)
    let opened = 0
    const counted: Source = {
      size: plain.byteLength,
      async *open(range) {
        for await (const chunk of chunked(plain, [333]).open(range)) {
          opened += chunk.byteLength
          yield chunk
        }
      },
    }
    const rangesOf = (size: number, of: number) =>
      Array.from({ length: Math.ceil(of / size) }, (_, i) => ({ start: i * size, end: Math.min((i + 1) * size, of) }))
    for (const size of [10, 70, 71, 1000, 5043, 10_069, 10_070, 10_071, 10_085]) {
      const source = a1(keys).seal(counted)
      const ranges = rangesOf(size, source.size)
      const part = ({ start, end }: { start: number; end: number }) =>
        collect({ size: end - start, body: source.open({ start, end }) })
      opened = 0
      const parts: Buffer[] = []
      for (const range of ranges) parts.push(await part(range))
      assert.equal(opened, plain.byteLength, `parts of ${size} bytes`)
      const whole = Buffer.concat(parts)
      assert.deepEqual(await open(whole), plain)
      for (const range of ranges.toReversed())
        assert.deepEqual(await part(range), whole.subarray(range.start, range.end))
      assert.deepEqual(Buffer.concat(await Promise.all(ranges.map(part))), whole)
    }
  })

  it('end well though the first reading of a part broke', async () => {
    const plain = noise(9_000)
    for (const broken of [0, 1, 2]) {
      let left = 3 + broken
      const source = a1(keys).seal({
        size: plain.byteLength,
        async *open(range) {
          for await (const chunk of chunked(plain, [1000]).open(range)) {
            if (left-- === 0) throw new Error('broken on purpose')
            yield chunk
          }
        },
      })
      const parts: Buffer[] = []
      for (let start = 0; start < source.size; start += 3_000) {
        const range = { start, end: Math.min(start + 3_000, source.size) }
        const part = () => collect({ size: range.end - range.start, body: source.open(range) })
        parts.push(await part().catch(part))
      }
      assert.deepEqual(await open(Buffer.concat(parts)), plain)
    }
  })

  it('take a fresh data key and IV for every object', async () => {
    const heads = await Promise.all(Array.from({ length: 100 }, () => seal(Buffer.from('same'))))
    assert.equal(new Set(heads.map(head => head.toString('hex', 6, 38))).size, 100)
    assert.equal(new Set(heads.map(head => head.toString('hex', 38, 70))).size, 100)
  })

  it('write the current key id little-endian', async () =>
    assert.equal((await seal(Buffer.alloc(0))).toString('hex', 0, 6), '413101000000'))

  it('hold no more than a chunk at a time', async () => {
    // 256 MB that are never there at once; a copy of the whole anywhere would show.
    const chunk = noise(1024 * 1024)
    const large: Source = {
      size: 256 * chunk.byteLength,
      async *open() {
        for (let i = 0; i < 256; i++) yield chunk
      },
    }
    const before = process.memoryUsage().rss
    const sealed = a1(keys).seal(large)
    const opened = a1(keys).unseal(checkedContent(sealed.size, sealed.open()))
    const [sent, came] = [createHash('sha256'), createHash('sha256')]
    for await (const bytes of opened.body) came.update(bytes)
    for (let i = 0; i < 256; i++) sent.update(chunk)
    assert.equal(came.digest('hex'), sent.digest('hex'))
    assert.ok(process.memoryUsage().rss - before < 128 * 1024 * 1024)
  })
})

describe('encrypting from an offset on', () => {
  it('goes on where the 32-bit counter of GCM wraps', async () => {
    const key = Buffer.alloc(32, 7)
    const iv = createHash('sha256').update('iv 1257030').digest() // its counter wraps after 3127 blocks: found by search
    const plain = noise(100_000)
    const whole = createCipheriv('aes-256-gcm', key, iv).update(plain)
    const wrap = 3127 * 16
    for (const offset of [0, 1, 16, wrap - 17, wrap - 16, wrap - 1, wrap, wrap + 1, 99_999])
      for (const step of [16, 1000, 100_000]) {
        const encrypt = gcmCounterMode(key, iv, offset)
        const parts: Buffer[] = []
        for (let at = offset; at < plain.byteLength; at += step)
          parts.push(...encrypt(plain.subarray(at, Math.min(at + step, plain.byteLength))))
        assert.deepEqual(Buffer.concat(parts), whole.subarray(offset), `${offset}, ${step}`)
      }
  })
})

describe('what must fail', () => {
  const plain = noise(200)
  /** Reads to the end and gives the fault, and what was delivered before it. */
  const faultOf = async (object: Buffer, ring: Keyring = keys): Promise<string> => {
    let body: Bytes
    try {
      body = a1(ring).unseal({ size: object.byteLength, body: chunked(object, [33]).open() }).body
      for await (const _ of body);
    } catch (error) {
      return (error as { code: string }).code
    }
    return 'nothing failed'
  }

  it('a changed byte: another reading helps only where the way here may be to blame', async () => {
    const object = await seal(plain)
    object.writeUInt8(255 - object.readUInt8(100), 100)
    for (const verified of [true, false]) {
      const found = await peek({ ...checkedContent(object.byteLength, sourceOf(object).open()), verified })
      await assert.rejects(collect(a1(keys).unseal(found.content)), { code: 'Corrupt', retryable: !verified })
    }
  })

  it('each byte of header, ciphertext and tag, changed', async () => {
    const object = await seal(plain)
    for (let at = 0; at < object.byteLength; at++) {
      const changed = Buffer.from(object)
      changed[at] = (changed[at] ?? 0) ^ 0x40
      const inKeyId = at >= 2 && at < 6
      assert.equal(await faultOf(changed), inKeyId ? 'BadConfig' : 'Corrupt', `byte ${at}`)
    }
  })

  it('another key of the ring in the header', async () => {
    const object = await seal(plain)
    object.writeUInt32LE(2, 2)
    assert.equal(await faultOf(object), 'Corrupt')
  })

  it('cut at every length', async () => {
    const object = await seal(plain)
    for (let size = 0; size < object.byteLength; size++)
      assert.equal(await faultOf(object.subarray(0, size)), 'Corrupt', `${size} bytes`)
  })

  it('extended', async () => {
    const object = await seal(plain)
    for (const more of [1, 16, 86]) assert.equal(await faultOf(Buffer.concat([object, Buffer.alloc(more)])), 'Corrupt')
  })

  it('a body that is shorter or longer than announced', async () => {
    const object = await seal(plain)
    for (const size of [object.byteLength - 1, object.byteLength + 1])
      await assert.rejects(
        async () => {
          for await (const _ of a1(keys).unseal({ size, body: sourceOf(object).open() }).body);
        },
        { code: 'Corrupt' },
      )
  })

  it('an unknown key id, which is named with the remedy', () =>
    assert.rejects(
      seal(plain).then(object => open(object, keyring(keyOf(9), []))),
      { code: 'BadConfig', message: /master key 1, which is not configured/, remedy: /PreviousMasterKeys/ },
    ))

  it('a wrong key under the right id', () =>
    assert.rejects(
      seal(plain).then(object => open(object, keyring(keyOf(1, 77), []))),
      { code: 'Corrupt', remedy: /key file holds another key/ },
    ))

  it('an object of fewer than 86 bytes, before its body is asked for', () => {
    const body = (async function* (): Bytes {
      yield await Promise.reject(new Error('asked for'))
    })()
    assert.throws(() => a1(keys).unseal({ size: 85, body }), { code: 'Corrupt' })
  })

  it('a file beyond the limit of GCM', () =>
    assert.throws(() => a1(keys).seal({ ...sourceOf(plain), size: 2 ** 36 }), { code: 'TooLarge' }))

  it('to seal without a current key', () =>
    assert.throws(() => a1(keyring(undefined, [keyOf(1)])).seal(sourceOf(plain)), { code: 'Internal' }))
})
