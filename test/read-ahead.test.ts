/** Reading ahead, with an Orthanc and a store that are both played by support/ahead-stage.ts. */
import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'
import { endStages, progress, rest, staged, upTo } from './support/ahead-stage.ts'

afterEach(endStages)

/** Of a file with 32 rows of 32 pixels, about. */
const FILE = 2700

describe('a series that fits into memory', () => {
  it('is fetched from its second file on, and each object once', async () => {
    const stage = staged({ series: [30] })
    for (const at of [0, 1]) assert.deepEqual(await stage.read(at), stage.file(at).bytes)
    await progress('all files', () => stage.area.counts.fetched === 28)
    for (const at of upTo(30)) assert.deepEqual(await stage.read(at, undefined), stage.file(at).bytes)
    // Two were read before anything was known of them; Orthanc read them once more.
    assert.deepEqual(
      stage.order.toSorted((a, b) => a - b),
      [0, 0, 1, 1, ...upTo(30).slice(2)],
    )
    const { fetched, used, unused } = stage.area.counts
    assert.deepEqual([fetched, used, unused], [28, 28, 0])
  })

  it('is fetched whatever the order of the reader', async () => {
    const stage = staged({ series: [30] })
    await stage.read(17)
    await stage.read(4)
    await progress('all files', () => stage.area.counts.fetched === 28)
    assert.deepEqual(
      stage.order.toSorted((a, b) => a - b),
      upTo(30),
    )
  })

  for (const [name, first, second, next] of [
    ['forwards', 10, 11, [12, 13, 14, 15]],
    ['backwards', 20, 19, [18, 17, 16, 15]],
  ] as const)
    it(`is fetched ${name} when it is read so`, async () => {
      const stage = staged({ series: [30] })
      await stage.read(first)
      await stage.read(second)
      await progress('some files', () => stage.asked.length >= 6)
      assert.deepEqual(stage.order.slice(2, 6), next)
    })

  it('is fetched as Orthanc lists it when it is read so', async () => {
    const stage = staged({ series: [30] })
    const shuffled = upTo(30).map(i => (i * 7) % 30)
    const usual = stage.files.slice()
    for (const [i, at] of shuffled.entries()) stage.files[i] = usual[at] as never
    await stage.read(3)
    await stage.read(4)
    await progress('some files', () => stage.asked.length >= 6)
    assert.deepEqual(stage.order.slice(2, 6), [5, 6, 7, 8])
  })

  it('is fetched for one reader and for all others who wait', async () => {
    const stage = staged({ series: [10] })
    await stage.read(0)
    await stage.read(1)
    stage.hold()
    await progress('fetches', () => stage.underWay > 0)
    const readers = [2, 2, 2].map(at => stage.read(at))
    stage.release()
    for (const bytes of await Promise.all(readers)) assert.deepEqual(bytes, stage.file(2).bytes)
    await progress('all files', () => stage.area.counts.fetched === 8)
    assert.deepEqual(
      stage.order.toSorted((a, b) => a - b),
      upTo(10),
    )
  })

  it('is fetched on when a reader that waits gives up', async () => {
    const stage = staged({ series: [10] })
    await stage.read(0)
    await stage.read(1)
    stage.hold()
    await progress('fetches', () => stage.underWay > 0)
    const impatient = new AbortController()
    const given = assert.rejects(stage.read(2, undefined, impatient.signal), /canceled/)
    const patient = stage.read(2)
    impatient.abort()
    await given
    stage.release()
    assert.deepEqual(await patient, stage.file(2).bytes)
    assert.equal(stage.order.filter(at => at === 2).length, 1)
  })

  it('is fetched again when it is read again and was dropped meanwhile', async () => {
    const stage = staged({ series: [40], memoryBytes: 8 * FILE })
    for (const round of [1, 2])
      for (const at of upTo(40)) assert.deepEqual(await stage.read(at), stage.file(at).bytes, `round ${round}`)
    assert.ok(stage.area.counts.used > 60, `only ${stage.area.counts.used} were fetched ahead`)
  })
})

describe('nothing is read ahead', () => {
  it('after one file, one file read twice, or files of different series', async () => {
    const stage = staged({ series: [10, 10, 10] })
    for (const at of [0, 0, 10, 20]) await stage.read(at)
    await rest()
    assert.deepEqual([stage.order, stage.requests], [[0, 0, 10, 20], []])
  })

  it('of a store that is near', async () => {
    const stage = staged({ away: 3 })
    for (const at of upTo(5)) await stage.read(at)
    await rest()
    assert.deepEqual([stage.order, stage.requests], [upTo(5), []])
  })

  it('after reads from a cache or a disk, however far the store is', async () => {
    const stage = staged({ away: 1, ahead: { nearest: () => 50 } })
    for (const at of upTo(5)) await stage.read(at)
    await rest()
    assert.deepEqual([stage.order, stage.requests], [upTo(5), []])
  })

  it('before Orthanc may be asked, and after it stops', async () => {
    const stage = staged()
    await stage.end()
    for (const at of upTo(5)) assert.deepEqual(await stage.read(at), stage.file(at).bytes)
    await rest()
    assert.deepEqual([stage.order, stage.requests], [upTo(5), []])
  })

  it('again of files that were read before Orthanc could be asked', async () => {
    const stage = staged({ series: [10] }, false)
    for (const at of upTo(4)) await stage.read(at)
    stage.begin()
    await stage.read(4)
    await progress('the others', () => stage.area.counts.fetched === 5)
    await rest()
    assert.deepEqual(
      stage.order.toSorted((a, b) => a - b),
      upTo(10),
    )
  })

  it('of files larger than is allowed, or than the memory', async () => {
    for (const limits of [{ memoryBytes: 2000 }, { ahead: { largestBytes: 2000 } }]) {
      const stage = staged({ series: [10], ...limits })
      for (const at of upTo(10)) await stage.read(at)
      await rest()
      assert.deepEqual(stage.order, upTo(10))
    }
  })

  it('of a series with two files', async () => {
    const stage = staged({ series: [2] })
    for (const at of [0, 1, 0, 1]) await stage.read(at)
    await rest()
    assert.deepEqual(stage.order, [0, 1, 0, 1])
  })

  it('with one connection: half of it is none', async () => {
    const stage = staged({ connections: 1 })
    for (const at of upTo(5)) await stage.read(at)
    await rest()
    assert.deepEqual(stage.order, upTo(5))
  })

  it('of other attachments', async () => {
    const stage = staged()
    for (const type of ['dicom-as-json', 'unknown'] as const)
      for (const at of upTo(3)) {
        const { attachment, bytes } = stage.file(at)
        assert.deepEqual(await stage.readAttachment({ ...attachment, type }), bytes)
      }
    await rest()
    assert.deepEqual([stage.asked.length, stage.requests], [6, []])
  })
})

describe('a series larger than the memory', () => {
  const large = { series: [100], memoryBytes: 40 * FILE }

  it('is followed by a window that grows, in bounded memory', async () => {
    const stage = staged(large)
    const ahead: number[] = []
    for (const at of upTo(100)) {
      assert.deepEqual(await stage.read(at), stage.file(at).bytes)
      await rest()
      ahead.push(Math.max(...stage.order) - at)
      assert.ok(stage.area.held <= large.memoryBytes)
    }
    assert.equal(ahead[1], 4)
    assert.ok(Math.max(...ahead) >= 16, `the window: ${ahead}`)
    assert.ok(stage.mostHeld <= large.memoryBytes, `${stage.mostHeld} bytes were held`)
    assert.deepEqual(
      stage.order.toSorted((a, b) => a - b),
      upTo(100),
    )
  })

  it('is left alone when its reader stops', async () => {
    const stage = staged(large)
    for (const at of upTo(20)) await stage.read(at)
    await rest()
    const before = stage.asked.length
    await rest()
    assert.equal(stage.asked.length, before)
    assert.ok(before <= 60, `${before} files were fetched for 20`)
  })

  it('is not fetched for a reader that jumps', async () => {
    const stage = staged(large)
    for (const at of upTo(25).map(i => (i * 37) % 100)) {
      await stage.read(at)
      await rest()
    }
    assert.ok(stage.asked.length <= 25 * 1.3, `${stage.asked.length} files were read for 25`)
  })
})

describe('a reader', () => {
  it('never waits for an answer of Orthanc', async () => {
    const stage = staged({ verified: false, series: [10] })
    stage.answer = () => new Promise(() => {})
    for (const at of upTo(10)) assert.deepEqual(await stage.read(at), stage.file(at).bytes)
    assert.equal(stage.requests.length, 1)
  })

  it('does not notice that a fetch has failed', async () => {
    const stage = staged({ series: [10] })
    await stage.read(0)
    await stage.read(1)
    stage.hold()
    await progress('the fetch', () => stage.order.includes(2))
    const reading = stage.read(2)
    const { uuid } = stage.file(2).attachment
    stage.given = (which, bytes) =>
      which === uuid && stage.order.filter(at => at === 2).length === 1 ? Buffer.alloc(3) : bytes
    stage.release()
    assert.deepEqual(await reading, stage.file(2).bytes)
    assert.equal(stage.order.filter(at => at === 2).length, 2)
  })

  it('comes before all fetches that have not begun', async () => {
    const stage = staged({ series: [30, 4], connections: 6 })
    await stage.read(0)
    stage.hold()
    const others = [30, 31, 32, 33].map(at => stage.read(at))
    const second = stage.read(1)
    await rest()
    stage.release()
    await Promise.all([...others, second])
    await progress('all files', () => stage.area.counts.fetched === 28)
    assert.ok(stage.mostUnderWay <= 6, `${stage.mostUnderWay} at a time`)
  })

  it('leaves half of the connections to others', async () => {
    const stage = staged({ series: [30], connections: 9 })
    await stage.read(0)
    await stage.read(1)
    stage.hold()
    await rest()
    assert.equal(stage.underWay, 4)
    // A fetch that somebody waits for is not one of those that are made ahead.
    const waiting = [2, 3].map(at => stage.read(at))
    await rest()
    assert.equal(stage.underWay, 6)
    stage.release()
    await Promise.all(waiting)
  })

  it('of a part of a file is served from what was fetched', async () => {
    const stage = staged({ series: [10] })
    await stage.read(0)
    await stage.read(1)
    await progress('all files', () => stage.area.counts.fetched === 8)
    assert.deepEqual(await stage.read(5, { start: 100, end: 300 }), stage.file(5).bytes.subarray(100, 300))
    const { byteLength } = stage.file(5).bytes
    assert.deepEqual(await stage.read(5, { start: 0, end: byteLength }), stage.file(5).bytes)
    assert.equal(stage.asked.length, 10)
  })
})

describe('reads of headers', () => {
  it('bring the headers of the others only', async () => {
    const stage = staged({ series: [20], pixels: 100 })
    const head = { start: 0, end: 650 }
    for (const at of upTo(20)) assert.deepEqual(await stage.read(at, head), stage.file(at).bytes.subarray(0, 650))
    assert.equal(stage.asked.length, 20)
    assert.ok(stage.bytes < 20 * 1100, `${stage.bytes} bytes were read`)
    // The rest of the file is not there.
    assert.deepEqual(await stage.read(7), stage.file(7).bytes)
  })

  it('may be reads of objects of their own', async () => {
    const stage = staged({ series: [20], pixels: 100 })
    for (const at of upTo(20)) {
      const { header, bytes } = stage.file(at)
      assert.deepEqual(await stage.readAttachment(header), bytes.subarray(0, 600))
      await rest()
    }
    assert.equal(stage.asked.length, 20)
    assert.equal(stage.area.counts.used, 18)
    assert.equal(stage.bytes, 20 * 600)
  })

  it('may be reads of such objects of which Orthanc tells all at once', async () => {
    const stage = staged({ series: [20], tellsAll: true })
    for (const at of upTo(20)) {
      await stage.readAttachment(stage.file(at).header)
      await rest()
    }
    assert.equal(stage.asked.length, 20)
    assert.equal(stage.area.counts.used, 18)
    assert.equal(stage.requests.length, 3)
  })

  it('do not stop at an instance that has no such object', async () => {
    const stage = staged({ series: [20] })
    stage.answer = uri =>
      uri.includes('until-pixel-data') && stage.requests.length % 3 === 0 ? Promise.resolve(undefined) : undefined
    for (const at of upTo(20)) {
      await stage.readAttachment(stage.file(at).header)
      await rest()
    }
    assert.equal(stage.asked.length, 20)
  })
})
