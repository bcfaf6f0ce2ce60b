/** Removals that do not wait: what Orthanc sees of them, what reaches the store, and what a crash changes. */
import assert from 'node:assert/strict'
import { appendFileSync, chmodSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { compose } from '../src/compose.ts'
import { parseConfig } from '../src/config/config.ts'
import { withDeferredRemovals } from '../src/deletions/deferred.ts'
import type { Deletions } from '../src/deletions/deletions.ts'
import { segmentFile } from '../src/deletions/folder.ts'
import { lineOf } from '../src/deletions/record.ts'
import { Fault } from '../src/fault.ts'
import { logTo } from '../src/log.ts'
import { thisProcess } from '../src/stores/directory/lease-process.ts'
import type { Removal, Store } from '../src/stores/store.ts'
import { ended, type OpenOptions, openDeletions, temporaryFolder, until } from './support/deletions.ts'
import { memoryStore } from './support/memory-store.ts'
import { describeStore, never, noise, sourceOf } from './support/store.suite.ts'
import { undo } from './support/undo.ts'

const DAY_MS = 24 * 3_600_000
const put = (store: Store, key: string) => store.put(key, sourceOf(noise(3)), never)

async function keysOf(store: Store): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list('', never)) keys.push(key)
  return keys
}

/** A store in memory whose removals a test may hold up or refuse; and what Orthanc has in its place. */
async function opened({
  folder = join(temporaryFolder(), 'journal'),
  ...more
}: OpenOptions & { folder?: string } = {}) {
  const lines: string[] = []
  const memory = memoryStore('s3:bucket')
  const batches: string[][] = []
  let verdict = (_key: string): Removal | Promise<Removal> => 'gone'
  const real: Store = {
    ...memory,
    async removeMany(keys) {
      batches.push([...keys])
      const removals = new Map<string, Removal>()
      for (const key of keys) {
        const removal = await verdict(key)
        removals.set(key, removal)
        if (removal === 'gone') await memory.remove(key, never)
      }
      return removals
    },
  }
  const deletions = await openDeletions(folder, real, { lines, ...more })
  return {
    folder,
    lines,
    batches,
    deletions,
    real,
    store: withDeferredRemovals(deletions)(real) as Store,
    set verdict(next: typeof verdict) {
      verdict = next
    },
  }
}

const done = (deletions: Deletions) => until(() => deletions.status.pending === 0)

describeStore('withDeferredRemovals(memory)', async () => {
  const { store, deletions } = await opened()
  deletions.begin()
  return { store, dispose: () => deletions.close(0) }
})

describe('a removal that does not wait', () => {
  it('is answered before the store is asked, and is absent from then on', async () => {
    const { store, real, deletions, batches } = await opened({ sender: { gatherMs: 1e6 } })
    await put(real, 'a')
    await store.remove('a', never)
    assert.equal(batches.length, 0)
    await assert.rejects(store.get('a', undefined, never), { code: 'NotFound' })
    await assert.rejects(store.get('a', { start: 0, end: 1 }, never), { code: 'NotFound' })
    assert.equal(await store.stat('a', never), undefined)
    assert.deepEqual(await keysOf(store), [])
    assert.deepEqual(await keysOf(real), ['a'], 'a move still sees what is really there')
    deletions.begin()
    await done(deletions)
    assert.deepEqual(await keysOf(real), [])
  })

  it('travels with others', async () => {
    const { store, real, deletions, batches } = await opened({ sender: { gatherMs: 1e6 } })
    for (let i = 0; i < 2500; i++) await store.remove(`k${i}`, never)
    deletions.begin()
    await done(deletions)
    assert.deepEqual(await keysOf(real), [])
    assert.ok(batches.length <= 4 && batches.every(batch => batch.length <= 1000), `${batches.length} batches`)
  })

  it('is sent once, however often Orthanc asks for it', async () => {
    const { store, deletions, batches } = await opened({ sender: { gatherMs: 1e6 } })
    await Promise.all(Array.from({ length: 20 }, () => store.remove('a', never)))
    await store.remove('a', never)
    deletions.begin()
    await done(deletions)
    assert.deepEqual(batches.flat().filter(key => key === 'a').length, 1)
  })

  it('is repeated while the store is away, with one warning', async () => {
    const site = await opened()
    let tries = 0
    site.verdict = () => (++tries < 5 ? new Fault('Unavailable', 'connection refused') : 'gone')
    await site.store.remove('a', never)
    await done(site.deletions)
    assert.equal(site.lines.filter(line => /wait until the store takes them/.test(line)).length, 1)
  })

  it('never reaches an object that is written again', async () => {
    const { store, real, deletions, folder } = await opened({ sender: { gatherMs: 1e6 } })
    await put(real, 'a')
    await store.remove('a', never)
    await put(store, 'a')
    assert.ok(await store.stat('a', never))
    deletions.begin()
    await deletions.drain(never)
    assert.ok(await real.stat('a', never))
    // As after a power cut at this moment: what the next engine finds.
    const next = await opened({ folder, lock: { waitMs: 0, self: { ...ended, started: '2' } } })
    assert.equal(next.deletions.status.pending, 0)
  })

  it('that is under way ends before the object is written again', async () => {
    const site = await opened()
    const asked = Promise.withResolvers<void>()
    const answer = Promise.withResolvers<Removal>()
    site.verdict = () => {
      asked.resolve()
      return answer.promise
    }
    await put(site.real, 'a')
    await site.store.remove('a', never)
    await asked.promise
    let written = false
    const writing = put(site.store, 'a').then(() => {
      written = true
    })
    await new Promise(setImmediate)
    assert.equal(written, false)
    answer.resolve('gone')
    await writing
    assert.ok(await site.real.stat('a', never))
    assert.equal(site.deletions.status.pending, 0)
  })

  it('is direct when there are too many', async () => {
    const { store, real, deletions, lines } = await opened({ most: 2, sender: { gatherMs: 1e6 } })
    for (const key of ['a', 'b', 'c', 'd']) await put(real, key)
    for (const key of ['a', 'b', 'c', 'd']) await store.remove(key, never)
    assert.deepEqual(await keysOf(real), ['a', 'b'])
    assert.equal(deletions.status.pending, 2)
    assert.equal(lines.length, 1)
  })

  it('is direct when the journal cannot be written', async () => {
    const { store, real, folder, lines } = await opened({ sender: { gatherMs: 1e6 } })
    await put(real, 'a')
    writeFileSync(segmentFile(folder, 1), '') // the first file cannot be made
    await store.remove('a', never)
    assert.deepEqual(await keysOf(real), [])
    assert.match(lines.join(), /journal of removals cannot be written/)
  })
})

describe('a removal that the store refuses', () => {
  it('is repeated, and does not keep others waiting', async () => {
    const site = await opened()
    let refusals = 0
    site.verdict = key => (key === 'kept' && ++refusals < 4 ? new Fault('Denied', 'AccessDenied') : 'gone')
    for (const key of ['kept', 'b', 'c']) await site.store.remove(key, never)
    await done(site.deletions)
    assert.equal(refusals, 4)
    assert.equal(site.lines.filter(line => /are refused, and repeated for a day/.test(line)).length, 1)
  })

  it('becomes a finding after a day, and no sooner, whatever the clock of the first minutes says', async () => {
    const folder = join(temporaryFolder(), 'journal')
    const start = Date.now()
    const first = await opened({ folder, sender: { clock: () => start } })
    first.verdict = () => new Fault('Denied', 'retention')
    await first.store.remove('kept', never)
    await until(() => first.batches.length > 10)
    assert.equal(first.deletions.status.findings, 0)
    await first.deletions.close(0)

    const later = await opened({ folder, sender: { clock: () => start + DAY_MS } })
    let refusals = 0
    later.verdict = () => {
      refusals++
      return new Fault('Denied', 'retention')
    }
    later.deletions.begin()
    await until(() => later.deletions.status.findings === 1)
    assert.equal(refusals, 3)
    assert.deepEqual(later.deletions.status.pending, 0)
    assert.equal(await later.store.stat('kept', never), undefined)
    assert.match(later.lines.join(), /1 removals were refused for a day and are not repeated: .*retention/)
    await later.deletions.close(0)

    const last = await opened({ folder })
    assert.equal(last.deletions.status.findings, 1)
    assert.match(last.lines.join(), /1 removals were refused for a day/)
    last.deletions.begin()
    assert.equal(last.batches.length, 0)
    await last.deletions.drain(never)
    assert.deepEqual(last.deletions.status, { pending: 0, oldestMs: 0, findings: 0 })
  })
})

describe('the composition with deferred removals', () => {
  const uuid = '0a1b2c3d-0000-4000-8000-00000000000a'
  const attachment = { uuid, type: 'dicom' } as const
  const file = join('0a', '1b', uuid)

  async function composed(more: object = {}) {
    const folder = temporaryFolder()
    mkdirSync(join(folder, 'db'))
    const configuration = {
      DirectoryStorage: { Path: join(folder, 'objects'), ...more },
      StorageDirectory: join(folder, 'db'),
      CloudStorage: { DeferredDeletion: true },
    }
    const { config } = parseConfig(JSON.stringify(configuration), '/etc/orthanc', '1.13.0')
    assert.ok(config)
    const composition = compose(
      config,
      logTo(() => {}),
    )
    const { deletions, store, area, hybrid } = composition
    assert.ok(deletions)
    await store.check(never)
    await hybrid?.fileSystem.check(never)
    await deletions.open(store)
    undo.push(() => deletions.close(0))
    const onDisk = () => existsSync(join(folder, 'db', file))
    const inStore = () => existsSync(join(folder, 'objects', `${uuid}.dcm`))
    return { ...composition, area, deletions, onDisk, inStore, folder }
  }

  it('notes the removals of Orthanc, and lets moves and checks see what is there', async () => {
    const { area, store, deletions, inStore } = await composed()
    await area.create(attachment, sourceOf(noise(3)), never)
    await area.remove(attachment, never)
    assert.equal(deletions.has(`${uuid}.dcm`) || !inStore(), true)
    await assert.rejects(area.read(attachment, undefined, never), { code: 'NotFound' })
    deletions.begin()
    await done(deletions)
    assert.ok(!inStore())
    assert.equal(await store.stat(`${uuid}.dcm`, never), undefined)
  })

  it("removes the disk's side of a hybrid mode at once, and the store's side later", async () => {
    const { hybrid, area, tiers, deletions, onDisk, inStore } = await composed({ HybridMode: 'WriteToFileSystem' })
    await area.create(attachment, sourceOf(noise(3)), never)
    await tiers['object-storage']?.area.create(attachment, sourceOf(noise(3)), never)
    assert.ok(onDisk() && inStore())
    await area.remove(attachment, never)
    assert.ok(!onDisk())
    assert.deepEqual(await keysOf(hybrid?.fileSystem as Store), [], 'the journal is no file of the tier')
    await done(deletions)
    assert.ok(!inStore())
  })

  it('notes nothing for a removal that a move makes', async () => {
    const { tiers, deletions, inStore } = await composed({ HybridMode: 'WriteToFileSystem' })
    await tiers['object-storage']?.area.create(attachment, sourceOf(noise(3)), never)
    await tiers['object-storage']?.area.remove(attachment, never)
    assert.ok(!inStore())
    assert.equal(deletions.status.pending, 0)
  })
})

describe('the journal of removals', () => {
  it('is finished by the next engine, after any end of the one before', async () => {
    const first = await opened({ sender: { gatherMs: 1e6 } })
    for (let i = 0; i < 50; i++) await put(first.real, `k${i}`)
    for (let i = 0; i < 50; i++) await first.store.remove(`k${i}`, never)
    // The first engine is dead now: its process, as the lock names it, is gone.
    const next = await opened({ folder: first.folder })
    assert.equal(next.deletions.status.pending, 50)
    next.deletions.begin()
    await done(next.deletions)
    assert.equal(next.batches.flat().length, 50)
  })

  it('is sent when Orthanc stops, and closed', async () => {
    const { store, real, deletions, folder } = await opened({ sender: { gatherMs: 1e6 } })
    await put(real, 'a')
    await store.remove('a', never)
    await deletions.close(10_000)
    assert.deepEqual(await keysOf(real), [])
    assert.deepEqual(readdirSync(folder), [])
  })

  it('does not hold up a stop when the store is away', async () => {
    const site = await opened({ sender: { gatherMs: 1e6 } })
    site.verdict = () => new Fault('Unavailable', 'away')
    await site.store.remove('a', never)
    await site.deletions.close(1e6)
    assert.equal(site.batches.length, 1)
  })

  it('keeps entries of another store, sends nothing for them, and says so', async () => {
    const folder = join(temporaryFolder(), 'journal')
    mkdirSync(folder, { mode: 0o700 })
    const entry = { kind: 'removal', store: 's3 https://old.example bucket', key: 'a', at: 5 } as const
    appendFileSync(segmentFile(folder, 1), lineOf(entry))
    const site = await opened({ folder })
    site.deletions.begin()
    await site.store.remove('b', never)
    await done(site.deletions)
    await site.deletions.close(0)
    assert.deepEqual(site.batches, [['b']])
    assert.match(site.lines.join(), /has 1 entries of another store, s3 https:\/\/old\.example bucket/)
    const again = await opened({ folder, identity: entry.store })
    assert.equal(again.deletions.status.pending, 1)
  })

  it('is for its owner only', async () => {
    const { folder, store } = await opened()
    await store.remove('a', never)
    assert.equal(statSync(folder).mode & 0o777, 0o700)
    for (const name of readdirSync(folder).filter(name => name.endsWith('.journal')))
      assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600)
  })

  it('is not kept where it cannot be written', {
    skip: process.geteuid?.() === 0 && 'root may write anywhere',
  }, async () => {
    const above = temporaryFolder()
    chmodSync(above, 0o500)
    await assert.rejects(opened({ folder: join(above, 'journal') }), { code: 'BadConfig' })
  })

  it('is not kept below a folder that is not there, or among the files of somebody else', async () => {
    const above = temporaryFolder()
    await assert.rejects(opened({ folder: join(above, 'not', 'there') }), {
      code: 'BadConfig',
      message: /cannot be kept/,
      remedy: /must be there/,
    })
    writeFileSync(join(above, 'letter.txt'), 'mine')
    await assert.rejects(opened({ folder: above }), { code: 'BadConfig', message: /are not of a journal/ })
    assert.ok(existsSync(join(above, 'letter.txt')))
    await assert.rejects(opened({ folder: join(above, 'letter.txt') }), { code: 'BadConfig' })
  })

  it('has one user: a second engine is refused while the first one lives', async () => {
    const self = thisProcess()
    const { folder, deletions } = await opened({ lock: { waitMs: 0, self } })
    await assert.rejects(opened({ folder, lock: { waitMs: 0, self } }), {
      code: 'BadConfig',
      message: new RegExp(`process ${process.pid} on ${hostname()} uses the journal`),
    })
    await deletions.close(0)
    await opened({ folder, lock: { waitMs: 0, self } })
  })

  it('of one Orthanc does not touch that of another one on the same bucket', async () => {
    const here = await opened({ sender: { gatherMs: 1e6 } })
    const lines: string[] = []
    const there = await openDeletions(join(temporaryFolder(), 'journal'), here.real, { lines })
    for (const key of ['a', 'b']) await put(here.real, key)
    await here.store.remove('a', never)
    assert.ok(await there.note('b'))
    await done(there)
    assert.deepEqual(await keysOf(here.real), ['a'])
    assert.ok(await there.note('a')) // both were asked
    await done(there)
    here.deletions.begin()
    await done(here.deletions)
    assert.deepEqual([await keysOf(here.real), lines], [[], []])
  })

  it('waits for an engine that is about to end', async () => {
    const self = thisProcess()
    const { folder, deletions } = await opened({ lock: { waitMs: 0, self } })
    const second = opened({ folder, lock: { waitMs: 60_000, self } })
    await new Promise(setImmediate)
    await deletions.close(0)
    await second
  })
})
