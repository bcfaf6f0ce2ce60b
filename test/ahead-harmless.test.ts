/** What reading ahead must never do, with an Orthanc and a store that are both played by support/ahead-stage.ts. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { afterEach, describe, it } from 'node:test'
import { Fault } from '../src/fault.ts'
import type { Json } from '../src/orthanc.ts'
import { endStages, progress, rest, staged, upTo } from './support/ahead-stage.ts'
import { fc } from './support/property.ts'

afterEach(endStages)

const MB = 1024 * 1024
describe('only verified bytes are served', () => {
  const other = (bytes: Buffer) => Buffer.from(bytes.map((byte, at) => (at > 500 ? byte ^ 1 : byte)))

  for (const [name, wrong] of [
    ['other bytes of the same length', other],
    ['a shorter file', (bytes: Buffer) => bytes.subarray(0, -2)],
    ['a longer file', (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(2)])],
  ] as const)
    it(`and not ${name}, where the store has no digests`, async () => {
      const stage = staged({ series: [10], verified: false })
      await stage.read(0)
      await stage.read(1)
      stage.given = (_, bytes) => wrong(bytes)
      await rest()
      assert.ok(stage.asked.length > 2)
      stage.given = (_, bytes) => bytes
      for (const at of upTo(10)) assert.deepEqual(await stage.read(at), stage.file(at).bytes)
      assert.equal(stage.area.counts.used, 0)
    })

  for (const options of [{ verified: false }, { compressed: true }])
    it(`by the digest that Orthanc tells of all files at once: ${Object.keys(options)}`, async () => {
      const stage = staged({ series: [10], tellsAll: true, ...options })
      for (const at of upTo(10)) {
        assert.deepEqual(await stage.read(at), stage.file(at).bytes)
        await rest()
      }
      assert.equal(stage.area.counts.used, 8)
      assert.equal(stage.requests.length, 3)
    })

  it('which Orthanc compressed, by its own digest', async () => {
    const stage = staged({ series: [10], compressed: true })
    for (const at of upTo(10)) {
      const { bytes } = stage.file(at)
      assert.deepEqual(await stage.read(at, { start: 0, end: bytes.byteLength }), bytes)
      await rest()
    }
    assert.equal(stage.asked.length, 10)
    assert.equal(stage.area.counts.used, 8)
  })

  it('without a digest of Orthanc by their size', async () => {
    const stage = staged({ series: [10], verified: false })
    stage.answer = uri => {
      const file = stage.files.find(
        ({ attachment: { uuid } }) => uri.includes('/info') && uri.includes(stage.idOf(uuid)),
      )
      return (
        file &&
        Promise.resolve({ Uuid: file.attachment.uuid, CompressedSize: file.bytes.byteLength, CompressedMD5: '' })
      )
    }
    for (const at of upTo(10)) {
      assert.deepEqual(await stage.read(at), stage.file(at).bytes)
      await rest()
    }
    assert.equal(stage.area.counts.used, 8)
  })
})

describe('a file that is removed', () => {
  it('is forgotten when it was there', async () => {
    const stage = staged({ series: [10] })
    await stage.read(0)
    await stage.read(1)
    await progress('all files', () => stage.area.counts.fetched === 8)
    const before = stage.area.held
    await stage.remove(5)
    assert.equal(stage.area.held, before - stage.file(5).bytes.byteLength)
    await assert.rejects(stage.read(5), /no such object/)
  })

  it('is forgotten when it is under way, and given to nobody who waits', async () => {
    const stage = staged({ series: [10] })
    await stage.read(0)
    await stage.read(1)
    stage.hold()
    await progress('the fetch', () => stage.order.includes(2))
    const waiting = assert.rejects(stage.read(2), /no such object/)
    await stage.remove(2)
    assert.ok(stage.asked.find(({ uuid }) => uuid === stage.file(2).attachment.uuid)?.signal.aborted)
    stage.release()
    await waiting
    await rest()
    assert.equal(stage.area.counts.fetched, 7)
  })

  it('is not fetched when Orthanc had it still in its list', async () => {
    const stage = staged({ series: [10] })
    let list = () => {}
    const asked = new Promise<void>(resolve => {
      list = resolve
    })
    stage.answer = uri =>
      uri === '/tools/lookup' ? asked.then(() => [{ Type: 'Series', ID: stage.seriesId(1) }]) : undefined
    await stage.read(0)
    await stage.read(1)
    await stage.remove(5)
    list()
    await progress('the others', () => stage.area.counts.fetched === 7)
    await rest()
    assert.ok(!stage.order.includes(5))
  })

  it('and written again is read again', async () => {
    const stage = staged({ series: [10] })
    await stage.read(0)
    await stage.read(1)
    await progress('all files', () => stage.area.counts.fetched === 8)
    await stage.write(5)
    assert.deepEqual(await stage.read(5), stage.file(5).bytes)
    assert.equal(stage.order.filter(at => at === 5).length, 2)
  })
})

describe('the end', () => {
  it('lets go of everything at once, also of what is under way', async () => {
    const stage = staged({ series: [30] })
    await stage.read(0)
    await stage.read(1)
    await progress('some files', () => stage.area.counts.fetched > 4)
    stage.hold()
    await progress('fetches', () => stage.underWay > 0)
    await stage.end()
    assert.ok(stage.asked.slice(-1).every(({ signal }) => signal.aborted))
    stage.release()
    await rest()
    assert.equal(stage.area.held, 0)
  })
})

describe('Orthanc', () => {
  it('may have copies of a series under several patients: only that of the file is fetched', async () => {
    const stage = staged({ series: [10, 10] })
    stage.answer = uri =>
      uri === '/tools/lookup'
        ? Promise.resolve([2, 1].map(number => ({ Type: 'Series', ID: stage.seriesId(number) })))
        : undefined
    await stage.read(0)
    await stage.read(1)
    await progress('all files', () => stage.area.counts.fetched === 8)
    await rest()
    assert.deepEqual(
      stage.order.toSorted((a, b) => a - b),
      upTo(10),
    )
  })

  it('may refuse: reads go on, and the log says it once', async () => {
    const stage = staged({ series: [10] })
    stage.answer = () => Promise.reject(new Error('the database is locked'))
    for (const at of upTo(10)) assert.deepEqual(await stage.read(at), stage.file(at).bytes)
    await rest()
    assert.deepEqual(stage.order, upTo(10))
    assert.match(stage.lines[0] ?? '', /nothing of a series is read ahead: the database is locked/)
    assert.ok(stage.lines.length < 4, stage.lines.join('\n'))
  })

  it('may answer anything', async () => {
    const answers = fc.oneof(
      fc.jsonValue(),
      fc.array(fc.record({ ID: fc.string(), Type: fc.constant('Series'), FileUuid: fc.string() })),
    )
    await fc.assert(
      fc.asyncProperty(answers, async answer => {
        const stage = staged({ series: [6] })
        stage.answer = () => Promise.resolve(answer as Json)
        for (const at of upTo(6)) assert.deepEqual(await stage.read(at), stage.file(at).bytes)
        await stage.end()
      }),
      { numRuns: 60 },
    )
  })

  it('may list a file no more that another Orthanc has removed', async () => {
    const stage = staged({ series: [20] })
    const later = stage.files.splice(10)
    await stage.read(0)
    await stage.read(1)
    await progress('all files', () => stage.area.counts.fetched === 8)
    const { uuid } = stage.file(5).attachment
    stage.files.splice(5, 1, ...later)
    for (const at of [5, 6, 7, 8]) await stage.read(at)
    await progress('the others', () => stage.area.counts.fetched >= 12)
    await stage.end()
    assert.equal(stage.area.held, 0, `${uuid} is held`)
  })

  it('is asked for a few series at a time, however slow it is', async () => {
    const stage = staged({ series: Array(12).fill(5) })
    let answer = () => {}
    const answered = new Promise<undefined>(resolve => {
      answer = () => resolve(undefined)
    })
    stage.answer = uri => (uri === '/tools/lookup' ? answered.then(() => []) : undefined)
    for (const at of upTo(60)) await stage.read(at)
    await rest()
    assert.equal(stage.requests.length, 4)
    stage.answer = () => undefined
    answer()
    await rest()
    await stage.read(58)
    await progress('the last series', () => stage.requests.length > 4)
  })

  it('is asked once for a series that is too large for it', async () => {
    const stage = staged({ series: [200] })
    stage.answer = uri =>
      uri.startsWith('/series/') ? Promise.reject(new Fault('TooLarge', 'more than a frame holds')) : undefined
    for (const at of upTo(200)) {
      await stage.read(at)
      await rest()
    }
    assert.equal(stage.requests.filter(uri => uri.startsWith('/series/')).length, 1)
    assert.equal(stage.lines.length, 1)
  })

  it('is asked once for a series with more files than are remembered', async () => {
    const stage = staged({ series: [100] })
    const listed = upTo(50_001).map(i => ({
      ID: stage.idOf(String(i)),
      FileUuid: i < 100 ? stage.file(i).attachment.uuid : randomUUID(),
      FileSize: 1000,
      IndexInSeries: i,
    }))
    stage.answer = uri => (uri.startsWith('/series/') ? Promise.resolve(listed) : undefined)
    for (const at of upTo(100)) {
      await stage.read(at)
      await rest()
    }
    assert.equal(stage.requests.filter(uri => uri.startsWith('/series/')).length, 1)
  })

  it('is asked again for a series that grows, and less and less often', async () => {
    const stage = staged({ series: [40] })
    const all = stage.files.splice(10)
    for (const at of upTo(10)) await stage.read(at)
    await rest()
    for (const file of all) {
      stage.files.push(file)
      await stage.read(stage.files.length - 1)
      await rest()
    }
    const listings = stage.requests.filter(uri => uri.includes('/instances')).length
    assert.ok(listings > 1 && listings <= 5, `${listings} listings`)
  })
})

describe('any way of reading', () => {
  const way = fc.record({
    at: fc.nat(359),
    length: fc.integer({ min: 1, max: 12 }),
    by: fc.constantFrom(1, -1, 3, 7),
    part: fc.option(fc.constantFrom({ start: 0, end: 700 }, { start: 50, end: 60 }), { nil: undefined, freq: 4 }),
  })

  it('gets the right bytes, in bounded memory', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(way, { minLength: 1, maxLength: 25 }), async ways => {
        const memoryBytes = 100_000
        const stage = staged({ series: Array(12).fill(30), memoryBytes })
        for (const { at, length, by, part } of ways)
          for (let i = 0; i < length; i++) {
            const which = (at + i * by + 360) % 360
            const bytes = await stage.read(which, part)
            assert.ok(bytes.equals(stage.file(which).bytes.subarray(part?.start, part?.end)))
            if (i % 3 === 0) await rest()
          }
        assert.ok(stage.mostHeld <= memoryBytes, `${stage.mostHeld} bytes were held`)
        await stage.end()
        await rest()
        assert.equal(stage.area.held, 0)
      }),
      { numRuns: 40 },
    )
  })

  it('in order is fast at once, also after many series were left', async () => {
    const stage = staged({ series: [...Array(12).fill(20), 70], memoryBytes: 0.5 * MB })
    for (let series = 0; series < 12; series++)
      for (const at of [0, 1, 2, 3]) {
        await stage.read(series * 20 + at)
        await rest()
      }
    const before = stage.area.counts.used
    for (const at of upTo(70)) {
      await stage.read(240 + at)
      await rest()
    }
    assert.ok(stage.area.counts.used - before > 60, `${stage.area.counts.used - before} of 70`)
  })

  it('at random costs few reads more', async () => {
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(upTo(360), { minLength: 100 }), async reads => {
        const stage = staged({ series: Array(12).fill(30), memoryBytes: 0.5 * MB })
        for (const at of reads) {
          await stage.read(at)
          await rest()
        }
        // At the beginning, 16 requests of 32 KB may be for nothing.
        assert.ok(stage.asked.length <= reads.length * 1.2 + 32, `${stage.asked.length} reads for ${reads.length}`)
        await stage.end()
      }),
      { numRuns: 10, endOnFailure: true },
    )
  })
})
