/** The parts of reading ahead: what the head of a file tells, the shelf, the account. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { constants, deflateRawSync, deflateSync } from 'node:zlib'
import { instanceUid, makeImage } from '../harness/dicom.ts'
import { Account } from '../src/ahead/account.ts'
import { Head, identify } from '../src/ahead/head.ts'
import { Series } from '../src/ahead/series.ts'
import { Shelf } from '../src/ahead/shelf.ts'
import { sourceOf } from '../src/bytes.ts'
import { rest } from './support/ahead-stage.ts'
import { fc } from './support/property.ts'

const image = makeImage({ seed: 7, rows: 40, columns: 40 })
const known = { series: '2.25.8149003.2.1001', instance: instanceUid(7) }
const compressed = (bytes: Uint8Array) => Buffer.concat([Buffer.alloc(8), deflateSync(bytes)])

describe('the head of a file', () => {
  it('tells the series and the instance', () =>
    assert.deepEqual(identify(image.subarray(0, 1000)), { ...known, compressed: false }))

  it('tells it when Orthanc has compressed the file', () =>
    assert.deepEqual(identify(compressed(image).subarray(0, 1000)), { ...known, compressed: true }))

  it('tells it of a compressed file of black pixels, which is a thousand times larger', () => {
    const black = makeImage({ seed: 7, rows: 1500, columns: 1500 }, () => Buffer.alloc(1500 * 1500 * 2))
    assert.deepEqual(identify(compressed(black)), { ...known, compressed: true })
  })

  it('tells it of a file whose transfer syntax is deflated', () => {
    const text = image.toString('latin1').replace('1.2.840.10008.1.2.1\0', '1.2.840.10008.1.2.1.99')
    const changed = Buffer.from(text, 'latin1')
    const at = changed.indexOf('1.2.840.10008.1.2.1.99')
    changed.writeUInt16LE(22, at - 2)
    changed.writeUInt32LE(changed.readUInt32LE(140) + 2, 140)
    const body = 144 + changed.readUInt32LE(140)
    const deflated = Buffer.concat([changed.subarray(0, body), deflateRawSync(changed.subarray(body))])
    assert.deepEqual(identify(deflated.subarray(0, 4000)), { ...known, compressed: false })
  })

  it('tells nothing when it is cut too early, or is no DICOM', () => {
    for (const bytes of [image.subarray(0, 0), image.subarray(0, 140), image.subarray(0, 400), Buffer.alloc(2000, 'x')])
      assert.equal(identify(bytes), undefined)
  })

  it('tells nothing when a UID is none', () => {
    const text = image.toString('latin1').replaceAll('2.25.8149003.2.1001', '2.25.8149003.2.*\\??')
    assert.equal(identify(Buffer.from(text, 'latin1')), undefined)
  })

  it('passes with all bytes, in chunks of any size', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 3000 }), async size => {
        const head = new Head()
        async function* chunks() {
          for (let at = 0; at < image.byteLength; at += size) yield image.subarray(at, at + size)
        }
        const passed: Uint8Array[] = []
        for await (const chunk of head.watch(chunks())) passed.push(chunk)
        assert.ok(Buffer.concat(passed).equals(image))
        assert.deepEqual(head.identity(), { ...known, compressed: false })
      }),
      { numRuns: 30 },
    )
  })

  it('begins again with a body that is delivered again', async () => {
    const head = new Head()
    for (const bytes of [Buffer.alloc(500, 'x'), image])
      for await (const _ of head.watch(sourceOf(bytes).open())) void _
    assert.deepEqual(head.identity(), { ...known, compressed: false })
  })

  describe('is never a reason to fail', () => {
    const bytes = fc.uint8Array({ maxLength: 3000 })
    const changes = fc.array(fc.tuple(fc.integer({ min: 120, max: 700 }), fc.nat(255)), { maxLength: 20 })

    it('for any bytes', () =>
      fc.assert(
        fc.property(bytes, some => {
          identify(some)
          identify(compressed(some))
          identify(Buffer.concat([image.subarray(0, 132), some]))
        }),
      ))

    it('for any change of a file, also where it is compressed', () =>
      fc.assert(
        fc.property(changes, some => {
          const changed = Buffer.from(image)
          for (const [at, byte] of some) changed[at] = byte
          identify(changed)
          identify(compressed(changed))
          const broken = compressed(image)
          for (const [at, byte] of some) broken[at - 112] = byte
          identify(broken)
        }),
      ))

    it('for sequences in sequences, as many as there is room for', () => {
      const open = Buffer.from('0800401153510000ffffffff', 'hex') // (0008,1140), SQ, of unknown length
      const item = Buffer.from('feff00e0ffffffff', 'hex')
      const nested = Buffer.concat(Array.from({ length: 1600 }, () => [open, item]).flat())
      const meta = 144 + image.readUInt32LE(140)
      assert.equal(identify(Buffer.concat([image.subarray(0, meta), nested])), undefined)
    })

    it('for what inflates without end', () => {
      const bomb = deflateSync(Buffer.alloc(64 * 1024 * 1024), { level: constants.Z_BEST_COMPRESSION })
      assert.equal(identify(Buffer.concat([Buffer.alloc(8), bomb])), undefined)
    })
  })
})

describe('the shelf', () => {
  const series = new Series('1.2', { compressed: false, asksFirst: false })
  const fetching = (uuid: string, size: number) => ({
    uuid,
    series,
    size,
    risk: size,
    whole: true,
    fetch: async () => Buffer.alloc(size),
  })

  it('drops what was read first, and nothing that is in a hand, under way or still to come', async () => {
    const gone: string[] = []
    const shelf = new Shelf(100, ({ uuid }) => gone.push(uuid))
    const [a, b, c] = ['a', 'b', 'c'].map(uuid => shelf.add(fetching(uuid, 30)))
    assert.ok(a && b && c)
    await rest()
    assert.equal(
      shelf.makeRoom(30, () => false),
      false,
    )
    shelf.use(b)
    shelf.use(a)
    assert.equal(
      shelf.makeRoom(30, () => false),
      true,
    )
    assert.deepEqual(gone, ['b'])
    a.readers++
    assert.equal(
      shelf.makeRoom(60, () => false),
      false,
    )
    assert.equal(
      shelf.makeRoom(60, ({ uuid }) => uuid === 'c'),
      true,
    )
    assert.deepEqual(gone, ['b', 'c'])
    assert.equal(shelf.bytes, 30)
  })

  it('counts what is forgotten until nobody has it any more', async () => {
    const shelf = new Shelf(100, () => {})
    const held = shelf.add(fetching('held', 10))
    let arrive = (_: Buffer) => {}
    const coming = new Promise<Buffer>(resolve => {
      arrive = resolve
    })
    const late = shelf.add({ ...fetching('late', 20), fetch: () => coming })
    await rest()
    held.readers++
    shelf.clear()
    assert.equal(shelf.bytes, 30)
    shelf.release(held)
    assert.equal(shelf.bytes, 20)
    arrive(Buffer.alloc(20))
    assert.equal(await late.bytes, undefined)
    assert.equal(shelf.bytes, 0)
  })
})

describe('the account', () => {
  const MB = 1024 * 1024

  it('allows what was allowed at first, and an eighth of what was delivered', () => {
    const account = new Account(MB)
    assert.deepEqual([account.allows(MB), account.allows(MB + 1)], [true, false])
    account.wasted(MB / 2)
    assert.deepEqual([account.allows(MB / 2), account.allows(MB / 2 + 1)], [true, false])
    account.delivered(2 * MB)
    assert.deepEqual([account.allows(0.75 * MB), account.allows(0.75 * MB + 1)], [true, false])
  })

  it('does not let long good years pay for one bad day', () => {
    const account = new Account(MB)
    account.delivered(1000 * MB)
    assert.equal(account.allows(MB + 1), false)
  })

  it('always allows a little, and forgives in the end', () => {
    const account = new Account(MB)
    account.wasted(1000 * MB)
    assert.deepEqual([account.allows(100_000), account.allows(200_000)], [true, false])
    account.delivered(16 * MB)
    assert.equal(account.allows(MB), true)
  })
})
