/**
 * Sealed objects as a store may give them back: changed, cut, mixed up. Nothing of them is ever taken for what was
 * stored.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { keysOf } from '../../src/area/naming.ts'
import { objectArea } from '../../src/area/object-area.ts'
import { VerifiedCache } from '../../src/area/verified-cache.ts'
import {
  type Bytes,
  type Content,
  checkedContent,
  collect,
  Fingerprint,
  type Range,
  sourceOf,
} from '../../src/bytes.ts'
import { Fault } from '../../src/fault.ts'
import { a1, keyIdOf, OVERHEAD_BYTES } from '../../src/seal/a1.ts'
import { Budget } from '../../src/seal/budget.ts'
import { unsealIfSealed } from '../../src/seal/detect.ts'
import { plain } from '../../src/seal/envelope.ts'
import { keyring, masterKey } from '../../src/seal/keyring.ts'
import { memoryStore } from '../support/memory-store.ts'
import { fc } from '../support/property.ts'
import { digests, naming, never } from '../support/tiers.ts'
import type { Claims } from './claim.ts'

const PIECE = 256 * 1024
const LARGEST_PLAIN = 2 ** 36 - 32

const key = (id: number, fill: number) => masterKey(id, Buffer.alloc(32, fill).toString('base64'))
const keys = keyring(key(7, 1), [key(8, 2)])
/** The same input is sealed to the same bytes. */
const envelopeOf = (random: Uint8Array) =>
  a1(keys, () => ({
    dataKey: createHash('sha256').update(random).update('key').digest(),
    iv: createHash('sha256').update(random).update('iv').digest(),
  }))
const random = fc.uint8Array({ minLength: 1, maxLength: 4 })

/** Lengths where something begins or ends: blocks of the cipher, the pieces it is given, header and tag. */
const borders = [0, 1, 15, 16, 17, 31, 32, 69, 70, 71, 85, 86, 87, 127, 128, 131, 132, 133, 4095, 4096]
const large = [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, PIECE - OVERHEAD_BYTES, PIECE - 70]
const length = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...borders) },
  { weight: 3, arbitrary: fc.nat(400) },
  { weight: 1, arbitrary: fc.constantFrom(...large) },
)

/** Of a length that no block or piece has. */
const PATTERN = Uint8Array.from({ length: 251 }, (_, i) => i)

function plaintext(size: number, start: string): Buffer {
  const bytes = Buffer.alloc(size, PATTERN)
  bytes.write(start.slice(0, size), start === 'DICM' ? Math.min(128, size) : 0, 'latin1')
  return bytes
}
/** What files begin with, or have behind their preamble; a plain one may begin as a sealed one does. */
const beginning = fc.constantFrom(
  '',
  'DICM',
  '{"00080005"',
  'A1',
  'A1\u0007\u0000\u0000\u0000',
  'A1\u0009\u0000\u0000\u0000',
)

/** Sizes of chunks, over and over. 0: a store may give empty ones. */
const chunking = fc.array(fc.constantFrom(0, 1, 5, 6, 16, 69, 70, 71, 1000, PIECE, 1e9), { minLength: 1, maxLength: 5 })

async function* chunked(bytes: Buffer, sizes: readonly number[]): Bytes {
  const all = sizes.every(size => size < 70) && bytes.byteLength > 5000 ? [...sizes, 5000] : sizes
  for (let at = 0, i = 0; at < bytes.byteLength; i++) {
    const size = all[i % all.length] as number
    if (size === 0 && i > 1000) return yield bytes.subarray(at)
    yield bytes.subarray(at, at + size)
    at += size
  }
}
const nonempty = chunking.map(sizes => (sizes.some(size => size > 0) ? sizes : [...sizes, 7]))

const change = fc.oneof(
  fc.record({ kind: fc.constant('flip'), at: fc.nat(), bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('flip'), at: fc.nat(90), bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('cut'), at: fc.nat(), bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('extend'), at: fc.nat(40), bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('swap'), at: fc.nat(), bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('zero'), at: fc.nat(), bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('twice'), at: fc.nat(), bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('graft'), at: fc.nat(), bit: fc.nat(7) }),
)
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never

/** `other`: another object, sealed under the same key. */
function changed(object: Buffer, other: Buffer, { kind, at, bit }: Change): Buffer {
  const place = at % (object.byteLength || 1)
  const [before, after] = [object.subarray(0, place), object.subarray(place)]
  if (kind === 'cut') return bit % 2 ? before : after
  if (kind === 'extend') return Buffer.concat([object, Buffer.alloc(at + 1, bit)])
  if (kind === 'swap') return Buffer.concat([object.subarray(0, 70), after.subarray(0), before.subarray(70)])
  if (kind === 'twice') return bit % 2 ? Buffer.concat([object, other]) : Buffer.concat([object, object])
  if (kind === 'graft') return Buffer.concat([before, other.subarray(place)])
  const copy = Buffer.from(object)
  if (kind === 'zero') copy.fill(0, place, Math.min(copy.byteLength, place + 1 + bit * 5))
  else copy[place] = (copy[place] ?? 0) ^ (1 << bit)
  return copy
}

const sealedBytes = (bytes: Buffer, seed: Uint8Array) => {
  const { size, open } = envelopeOf(seed).seal(sourceOf(bytes))
  return collect({ size, body: open() })
}

/** What an attempt gave, or its fault, which has the right words. */
async function attempted(work: () => Promise<Buffer>): Promise<Buffer | Fault> {
  try {
    return await work()
  } catch (error) {
    assert.ok(error instanceof Fault && ['Corrupt', 'BadConfig', 'BadRequest'].includes(error.code), String(error))
    return error
  }
}

const unsealed = (content: () => Content) => attempted(async () => await collect(a1(keys).unseal(content())))

const object = fc.record({ size: length, start: beginning, seed: random })

export const claims: Claims = {
  'a file of any size comes back, whole and in ranges of any order': {
    property: fc.asyncProperty(
      object,
      nonempty,
      fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 5 }),
      async ({ size, start, seed }, sizes, pairs) => {
        const bytes = plaintext(size, start)
        const source = envelopeOf(seed).seal(sourceOf(bytes))
        const sealed = await collect({ size: source.size, body: source.open() })
        assert.equal(sealed.byteLength, envelopeOf(seed).sealedSize(size))
        assert.deepEqual(await unsealed(() => checkedContent(sealed.byteLength, chunked(sealed, sizes))), bytes)

        const again = envelopeOf(seed).seal(sourceOf(bytes))
        const part = ({ start, end }: Range) => checkedContent(end - start, chunked(sealed.subarray(start, end), sizes))
        const read = a1(keys).ranges(async range => part(range))
        for (const [one, other] of pairs) {
          const range = rangeOf(one, other, sealed.byteLength)
          const got = await collect({ size: range.end - range.start, body: again.open(range) })
          assert.deepEqual(got, sealed.subarray(range.start, range.end))
          if (size === 0) continue
          const inner = rangeOf(one, other, size)
          assert.deepEqual(await collect(await read(inner)), bytes.subarray(inner.start, inner.end))
        }
      },
    ),
    runs: 150,
  },

  'an object that is not what was sealed is never opened': {
    property: fc.asyncProperty(object, object, change, nonempty, async (one, other, how, sizes) => {
      const sealed = await sealedBytes(plaintext(one.size, one.start), one.seed)
      const others = await sealedBytes(plaintext(other.size, other.start), Buffer.from('other'))
      const object = changed(sealed, others, how)
      if (object.equals(sealed) || object.equals(others)) return
      const result = await unsealed(() => checkedContent(object.byteLength, chunked(object, sizes)))
      assert.ok(result instanceof Fault, 'it was opened')
      const id = object.subarray(0, 2).toString() === 'A1' && object.byteLength >= 86 ? object.readUInt32LE(2) : 7
      assert.equal(result.code, id === 7 || id === 8 ? 'Corrupt' : 'BadConfig')
    }),
    runs: 250,
  },

  'a size that is not that of the bytes is never believed, however large': {
    property: fc.asyncProperty(
      object,
      fc.oneof(
        fc.constantFrom(0, 1, 69, 70, 85, 86, LARGEST_PLAIN, LARGEST_PLAIN + 87, 2 ** 53 - 1, 2 ** 60),
        fc.nat(600),
      ),
      nonempty,
      async ({ size, start, seed }, claimed, sizes) => {
        const sealed = await sealedBytes(plaintext(size, start), seed)
        if (claimed === sealed.byteLength) return
        const result = await attempted(async () => {
          const { size, body } = a1(keys).unseal({ size: claimed, body: chunked(sealed, sizes) })
          assert.ok(size <= LARGEST_PLAIN, `an object of ${size} bytes can be none of ours`)
          for await (const _ of body);
          return Buffer.alloc(0)
        })
        assert.ok(result instanceof Fault && result.code === 'Corrupt', 'it was opened')
      },
    ),
    runs: 150,
  },

  'what is read by whatever name is the file, or the object as it is, or a fault': {
    property: fc.asyncProperty(
      object,
      fc.option(change, { nil: undefined }),
      fc.record({
        sealed: fc.boolean(),
        structure: fc.constantFrom('flat' as const, 'legacy' as const),
        type: fc.constantFrom('dicom' as const, 'unknown' as const),
        cache: fc.constantFrom(0, 1000),
      }),
      fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 3 }),
      async ({ size, start, seed }, how, { sealed, structure, type, cache }, pairs) => {
        const bytes = plaintext(size, start)
        const whole = sealed ? await sealedBytes(bytes, seed) : bytes
        const object = how ? changed(whole, whole, how) : whole
        const genuine = object.equals(whole)
        const { area, store, name } = areaOf(structure, type, cache)
        await store.put(sealed && structure === 'flat' ? `${name}.enc` : name, sourceOf(object), never)
        const attachment = { uuid, type }
        const got = await attempted(() => area.deliver(attachment, undefined, collect, never))
        // If the name does not say it, an object that does not begin as a sealed one is plain, and so is any DICOM
        // file.
        const mayBePlain =
          !sealed ||
          (structure === 'legacy' &&
            (keyIdOf(object) === undefined || object.toString('latin1', 128, 132) === 'DICM' || type === 'unknown'))
        if (!(got instanceof Fault))
          assert.ok((genuine && got.equals(bytes)) || (mayBePlain && got.equals(object)), 'these bytes are nobody’s')
        if (genuine && sealed) assert.ok(!(got instanceof Fault) && got.equals(bytes), String(got))
        for (const [one, other] of pairs) {
          const range = rangeOf(one, other, Math.max(1, size))
          const part = await attempted(() => area.deliver(attachment, range, collect, never))
          if (part instanceof Fault) continue
          assert.ok(!(got instanceof Fault), 'a range of what cannot be read')
          assert.deepEqual(part, got.subarray(range.start, range.end))
        }
      },
    ),
    runs: 250,
  },

  'a file that was verified once is read as it was, or not at all': {
    property: fc.asyncProperty(
      object,
      change,
      fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 5 }),
      async ({ size, start, seed }, how, pairs) => {
        if (size === 0) return
        const bytes = plaintext(size, start)
        const sealed = await sealedBytes(bytes, seed)
        const later = changed(sealed, sealed, how)
        const print = await Fingerprint.of(chunked(bytes, [1000]), () => digests('sha256'))
        const read = a1(keys).ranges(async ({ start, end }) => {
          if (end > later.byteLength) throw new Fault('BadRequest', 'beyond the end')
          return checkedContent(end - start, chunked(later.subarray(start, end), [1000]))
        })
        for (const [one, other] of pairs) {
          const range = rangeOf(one, other, size)
          const got = await attempted(() =>
            collect({ size: range.end - range.start, body: print.source(read, () => {}).open(range) }),
          )
          if (!(got instanceof Fault)) assert.deepEqual(got, bytes.subarray(range.start, range.end))
        }
      },
    ),
    runs: 200,
  },
}

const uuid = '0a1b2c3d-4e5f-4a6b-8c7d-000000000001'

function areaOf(structure: 'flat' | 'legacy', type: 'dicom' | 'unknown', cached: number) {
  const store = memoryStore()
  const place = { ...naming['object-storage'], structure }
  const area = objectArea({
    store,
    keysOf: (attachment, suffix) => keysOf(place, suffix, attachment),
    envelopes: [a1(keys), plain],
    unsealIfSealed: (get, { type }) => unsealIfSealed(get, a1(keys), keys, type === 'unknown'),
    budget: new Budget(100),
    cache: new VerifiedCache(cached, cached),
  })
  return { area, store, name: keysOf(place, '', { uuid, type })[0] }
}

function rangeOf(one: number, other: number, size: number): Range {
  const [a, b] = [one % size, other % size]
  return { start: Math.min(a, b), end: Math.max(a, b) + 1 }
}
