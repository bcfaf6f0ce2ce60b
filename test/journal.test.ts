/** The journal of removals on disk: what a crash leaves of it, and what a disk does to it. */
import assert from 'node:assert/strict'
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { readJournal } from '../src/deletions/folder.ts'
import { Journal, type JournalOptions } from '../src/deletions/journal.ts'
import { type JournalRecord, lineOf, recordOf } from '../src/deletions/record.ts'
import { Segments } from '../src/deletions/segments.ts'
import { Disk, type DiskFile } from '../src/stores/directory/disk.ts'
import { temporaryFolder, until } from './support/deletions.ts'
import { fc } from './support/property.ts'
import { undo } from './support/undo.ts'

const STORE = 's3 https://store.example bucket'

async function openJournal(folder: string, more: Partial<JournalOptions> = {}) {
  const disk = new Disk(folder)
  const found = await readJournal(disk, folder)
  const lines: string[] = []
  const journal = new Journal({
    disk,
    folder,
    lock: { holds: async () => true },
    found,
    lost: () => {},
    warn: line => lines.push(line),
    ...more,
  })
  undo.push(() => journal.close().catch(() => {}))
  return { journal, lines, found, pending: () => [...journal.entries.of(STORE).pending.keys()] }
}

const journalFiles = (folder: string) => readdirSync(folder).filter(name => name.endsWith('.journal'))
const lastFile = (folder: string) => join(folder, journalFiles(folder).sort().at(-1) as string)

/** Says ENOSPC as long as `full`: after it has written half of the line. */
class FullDisk extends Disk {
  full: boolean | 'once' = false
  readonly refused: string[] = []
  override async open(...args: Parameters<Disk['open']>): Promise<DiskFile> {
    const file = await super.open(...args)
    const { run } = file
    file.run = (work, ms) =>
      run.call(
        file,
        handle =>
          work(
            new Proxy(handle, {
              get: (target, name) => {
                const value = Reflect.get(target, name)
                if (name !== 'appendFile' || !this.full) return typeof value === 'function' ? value.bind(target) : value
                return async (text: string) => {
                  if (this.full === 'once') this.full = false
                  this.refused.push(text)
                  await target.appendFile(text.slice(0, text.length / 2))
                  throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
                }
              },
            }),
          ),
        ms,
      ) as never
    return file
  }
}

describe('a line of the journal', () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 60 })
  const plain = { noNullPrototype: true }
  const record: fc.Arbitrary<JournalRecord> = fc.oneof(
    fc.record({ kind: fc.constant('done' as const), store: text, key: text }, plain),
    fc.record({ kind: fc.constant('removal' as const), store: text, key: text, at: fc.nat() }, plain),
    fc.record({ kind: fc.constant('finding' as const), store: text, key: text, at: fc.nat(), words: text }, plain),
  )

  it('gives back what went in', () =>
    fc.assert(fc.property(record, one => assert.deepEqual(recordOf(lineOf(one).slice(0, -1)), one))))

  it('has one end, whatever the key', () =>
    fc.assert(fc.property(record, one => assert.equal(lineOf(one).indexOf('\n'), lineOf(one).length - 1))))

  it('says nothing when a part of it is missing or changed', () =>
    fc.assert(
      fc.property(record, fc.nat(), fc.integer({ min: 1, max: 255 }), (one, where, change) => {
        const bytes = Buffer.from(lineOf(one).slice(0, -1))
        const at = where % bytes.length
        assert.equal(recordOf(bytes.subarray(0, at).toString()), undefined)
        bytes[at] = (bytes[at] as number) ^ change
        const changed = recordOf(bytes.toString())
        if (changed) assert.deepEqual(changed, one) // a digit of the checksum in another case, at most
      }),
    ))
})

describe('the journal of removals', () => {
  it('has after any crash what was noted and not done', async () => {
    const folder = temporaryFolder()
    const { journal } = await openJournal(folder)
    for (const key of ['a', 'b', 'c']) await journal.add(STORE, key, 5)
    journal.done(STORE, 'b')
    await journal.flush()
    const { pending } = await openJournal(folder)
    assert.deepEqual(pending(), ['a', 'c'])
  })

  it('has a removal on disk when it is answered, without a sync', async () => {
    const folder = temporaryFolder()
    const { journal } = await openJournal(folder)
    await journal.add(STORE, 'a', 5)
    assert.match(readFileSync(lastFile(folder), 'utf8'), /"a"/)
    await journal.close()
  })

  it('writes and syncs the removals of many threads together', async () => {
    const folder = temporaryFolder()
    const counts = { writes: 0, syncs: 0 }
    class Counting extends Disk {
      override async open(...args: Parameters<Disk['open']>) {
        const file = await super.open(...args)
        const { run, sync } = file
        file.run = (work, ms) => run.call(file, handle => work(counting(handle, counts)), ms) as never
        file.sync = () => {
          counts.syncs++
          return sync.call(file)
        }
        return file
      }
    }
    const { journal, pending } = await openJournal(folder, { disk: new Counting(folder) })
    await Promise.all(Array.from({ length: 500 }, (_, i) => journal.add(STORE, `${i}`, 5)))
    await journal.flush()
    assert.equal(pending().length, 500)
    assert.ok(counts.writes <= 3, `${counts.writes} writes`)
    assert.ok(counts.syncs <= 6, `${counts.syncs} syncs`)
    await journal.close()
  })

  it('writes what comes at any moment of a write before it', async () => {
    const { journal, pending } = await openJournal(temporaryFolder())
    // Each one as many steps after the one before as it has a number: also in the step in which a pass ends.
    for (let steps = 0; steps < 60; steps++) {
      const first = journal.add(STORE, `a${steps}`, 5)
      const then = first.then(async () => {
        for (let i = 0; i < steps; i++) await undefined
        await journal.add(STORE, `b${steps}`, 5)
      })
      await then
    }
    assert.equal(pending().length, 120)
  })

  it('is synced soon after a write, without a further call', async () => {
    const folder = temporaryFolder()
    let syncs = 0
    class Counting extends Disk {
      override async open(...args: Parameters<Disk['open']>) {
        const file = await super.open(...args)
        const { sync } = file
        file.sync = () => sync.call(file).finally(() => syncs++)
        return file
      }
    }
    const { journal } = await openJournal(folder, { disk: new Counting(folder) })
    await journal.add(STORE, 'a', 5)
    const before = syncs // of the folder
    await until(() => syncs > before)
    await journal.close()
  })

  it('loses only what was cut off at its end, and says so', async () => {
    const folder = temporaryFolder()
    const { journal } = await openJournal(folder)
    for (const key of ['a', 'b']) await journal.add(STORE, key, 5)
    await journal.flush()
    appendFileSync(lastFile(folder), lineOf({ kind: 'removal', store: STORE, key: 'torn', at: 5 }).slice(0, 20))
    const second = await openJournal(folder)
    assert.deepEqual(second.pending(), ['a', 'b'])
    assert.match(second.found.warnings.join(), /ends in 20 bytes that were not written whole/)
    await second.journal.add(STORE, 'c', 6) // not behind the torn line
    await second.journal.flush()
    const third = await openJournal(folder)
    assert.deepEqual(third.pending(), ['a', 'b', 'c'])
  })

  it('also where a power cut left zeros', async () => {
    const folder = temporaryFolder()
    const { journal } = await openJournal(folder)
    await journal.add(STORE, 'a', 5)
    await journal.flush()
    appendFileSync(lastFile(folder), Buffer.alloc(4096))
    const { pending, found } = await openJournal(folder)
    assert.deepEqual(pending(), ['a'])
    assert.equal(found.segments[0]?.damaged, false)
  })

  it('uses all good lines around a damaged one, says how many are lost, and keeps the file', async () => {
    const folder = temporaryFolder()
    const { journal } = await openJournal(folder)
    for (const key of ['a', 'b', 'c']) await journal.add(STORE, key, 5)
    await journal.flush()
    const file = lastFile(folder)
    writeFileSync(file, readFileSync(file, 'utf8').replace('"b"', '"x"'))
    const second = await openJournal(folder)
    assert.deepEqual(second.pending(), ['a', 'c'])
    assert.match(second.found.warnings.join(), /1 lines in the middle of .* are damaged/)
    for (const key of ['a', 'c']) second.journal.done(STORE, key)
    await second.journal.close()
    assert.deepEqual(readdirSync(folder), ['0000000001.damaged'])
  })

  it('is empty when everything is done and it is closed', async () => {
    const folder = temporaryFolder()
    const { journal } = await openJournal(folder)
    await journal.add(STORE, 'a', 5)
    journal.done(STORE, 'a')
    await journal.close()
    assert.deepEqual(readdirSync(folder), [])
  })

  it('gives back files whose entries are done, and moves the few of old files on', async () => {
    const folder = temporaryFolder()
    const { journal, pending } = await openJournal(folder, { segmentBytes: 1000, slackBytes: 5000 })
    await journal.add(STORE, 'stuck', 5)
    await journal.giveUp(STORE, 'finding', 5, 'words')
    for (let i = 0; i < 500; i++) {
      await journal.add(STORE, `k${i}`, 5)
      journal.done(STORE, `k${i}`)
    }
    await journal.flush()
    assert.ok(journalFiles(folder).length < 10, `${journalFiles(folder).length} files`)
    assert.deepEqual(pending(), ['stuck'])
    const again = await openJournal(folder)
    assert.deepEqual(again.pending(), ['stuck'])
    assert.deepEqual(
      [...again.journal.entries.of(STORE).findings.values()].map(({ words }) => words),
      ['words'],
    )
  })

  it('forgets for good before an object is written again', async () => {
    const folder = temporaryFolder()
    const { journal } = await openJournal(folder)
    await journal.add(STORE, 'a', 5)
    journal.done(STORE, 'a')
    await journal.safe(STORE, 'a')
    const { pending } = await openJournal(folder) // as after a power cut at this moment
    assert.deepEqual(pending(), [])
  })

  it('notes the removal of an object that was written again', async () => {
    const folder = temporaryFolder()
    const { journal } = await openJournal(folder)
    await journal.add(STORE, 'a', 5)
    journal.done(STORE, 'a')
    await journal.add(STORE, 'a', 6)
    await journal.flush()
    assert.deepEqual((await openJournal(folder)).pending(), ['a'])
  })

  it('replays any history to the same end, wherever it is cut', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom('add', 'done', 'up'), fc.constantFrom('a', 'b', 'c')), { maxLength: 30 }),
        fc.nat(),
        async (history, seed) => {
          const folder = temporaryFolder()
          const { journal } = await openJournal(folder, { segmentBytes: 200, slackBytes: 0 })
          for (const [what, key] of history) {
            if (what === 'add') await journal.add(STORE, key, 5)
            else if (what === 'done') journal.done(STORE, key)
            else await journal.giveUp(STORE, key, 5, 'w')
          }
          await journal.flush()
          const known = journal.entries.of(STORE)
          const { journal: replayed } = await openJournal(folder)
          const found = replayed.entries.of(STORE)
          assert.deepEqual([...found.pending.keys()].sort(), [...known.pending.keys()].sort())
          assert.deepEqual([...found.findings.keys()].sort(), [...known.findings.keys()].sort())
          const [last] = journalFiles(folder).sort().reverse()
          if (last === undefined) return
          const bytes = readFileSync(join(folder, last))
          writeFileSync(join(folder, last), bytes.subarray(0, seed % (bytes.length + 1)))
          const asked = new Set<string>(history.filter(([what]) => what !== 'done').map(([, key]) => key))
          const cut = (await openJournal(folder)).journal.entries.of(STORE)
          for (const key of [...cut.pending.keys(), ...cut.findings.keys()]) assert.ok(asked.has(key))
        },
      ),
    ))

  describe('on a disk that is full', () => {
    it('rejects removals, with one warning, leaves no half of a line, and goes on when there is room', async () => {
      const folder = temporaryFolder()
      const disk = new FullDisk(folder)
      const { journal, lines } = await openJournal(folder, { disk })
      await journal.add(STORE, 'a', 5)
      disk.full = true
      for (const key of ['b', 'c', 'd']) await assert.rejects(journal.add(STORE, key, 5), { code: 'TooLarge' })
      assert.equal(lines.length, 1)
      assert.match(lines[0] ?? '', /cannot be written.*ENOSPC/)
      disk.full = false
      await journal.add(STORE, 'e', 5)
      await journal.flush()
      assert.equal(journalFiles(folder).length, 1)
      const { pending, found } = await openJournal(folder)
      assert.deepEqual(pending(), ['a', 'e'])
      assert.deepEqual(found.warnings, [])
    })

    it('lets no object be written again whose removal could come back', async () => {
      const folder = temporaryFolder()
      const disk = new FullDisk(folder)
      const { journal } = await openJournal(folder, { disk })
      await journal.add(STORE, 'a', 5)
      disk.full = true
      journal.done(STORE, 'a')
      await assert.rejects(journal.safe(STORE, 'a'), { code: 'Unavailable' })
      disk.full = false
      await journal.safe(STORE, 'a')
      assert.deepEqual((await openJournal(folder)).pending(), [])
    })
  })

  it('moves old entries on once there is room, and leaves no half of a line before those that come', async () => {
    const folder = temporaryFolder()
    const disk = new FullDisk(folder)
    const moved = () => disk.refused.some(text => text.includes('"stuck"'))
    const holds = async () => {
      if (journal.entries.size > 0 && !moved()) disk.full = 'once' // after the write, before old entries move on
      return true
    }
    const { journal } = await openJournal(folder, { disk, lock: { holds }, segmentBytes: 500, slackBytes: 0 })
    await journal.add(STORE, 'stuck', 5)
    for (let i = 0; !moved(); i++) {
      await journal.add(STORE, `k${i}`, 5).catch(() => {})
      journal.done(STORE, `k${i}`)
    }
    await journal.add(STORE, 'last', 5)
    await journal.flush()
    const { pending, found } = await openJournal(folder)
    assert.deepEqual(found.warnings, [])
    assert.deepEqual(pending().sort(), ['last', 'stuck'])
  })

  it('calls nothing synced in a file that was left before', async () => {
    const folder = temporaryFolder()
    const segments = new Segments({ disk: new Disk(folder), folder }, [])
    await segments.put('a line\n')
    await segments.sync()
    await segments.put('another one\n')
    await segments.leave()
    await assert.rejects(segments.sync())
  })

  it('lets no removal come back that was written, but not answered', async () => {
    const folder = temporaryFolder()
    let failure: Error | undefined
    const holds = async () => {
      if (failure) throw failure
      return true
    }
    const { journal } = await openJournal(folder, { lock: { holds } })
    await journal.add(STORE, 'a', 5)
    failure = Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
    await assert.rejects(journal.add(STORE, 'b', 5))
    failure = undefined
    await journal.safe(STORE, 'b') // so that it may be written again
    assert.deepEqual((await openJournal(folder)).pending(), ['a'])
  })

  it('takes no removal once another process has taken it', async () => {
    const folder = temporaryFolder()
    let held = true
    let lost = 0
    const { journal } = await openJournal(folder, { lock: { holds: async () => held }, lost: () => lost++ })
    await journal.add(STORE, 'a', 5)
    held = false
    await assert.rejects(journal.add(STORE, 'b', 5), { code: 'Unavailable' })
    await assert.rejects(journal.add(STORE, 'c', 5), { code: 'Unavailable' })
    assert.equal(lost, 1)
  })
})

function counting(handle: object, counts: { writes: number }) {
  return new Proxy(handle, {
    get(target, name) {
      const value = Reflect.get(target, name)
      if (name === 'appendFile') counts.writes++
      return typeof value === 'function' ? value.bind(target) : value
    },
  }) as never
}
