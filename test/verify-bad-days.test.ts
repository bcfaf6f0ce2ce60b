/** `verify` while files come, go and move, and when something fails in the middle. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'
import { Fault, isCode } from '../src/fault.ts'
import type { Indexed } from '../src/orthanc-index/orthanc-index.ts'
import type { Stat } from '../src/stores/store.ts'
import type { Verification } from '../src/verify/verify.ts'
import { fakeIndex, makeSite, md5Of, named, never, type Site } from './support/verify-stage.ts'

/** Runs `change` when the listing of the store has ended: before anything is compared. */
function afterListing(site: Site, change: () => Promise<void>): void {
  const { list } = site.store
  site.store.list = async function* (prefix, signal) {
    yield* list(prefix, signal)
    await change()
  }
}

describe('verify, while Orthanc works', () => {
  it('has no findings about files that are removed, stored or moved meanwhile', async () => {
    const site = makeSite({ hybrid: true })
    const disk = site.disk as Site['store']
    const files = [await site.add(), await site.add(), await site.add(), await site.add({ where: 'disk' })] as const
    const [removedFirst, removed, toDisk, toStore] = files
    const stored = { uuid: randomUUID(), type: 'dicom', size: 3, md5: md5Of(Buffer.from('new')) } as const
    // The index knew it, and its object goes before the listing.
    await site.store.remove(site.keyOf(removedFirst), never)
    // An object whose upload began before the index was read.
    await site.put(site.store, site.keyOf(stored), Buffer.from('new'))
    const bytes = Buffer.from('moved')
    for (const file of [toDisk, toStore])
      site.index.files.set(file.uuid, { ...file, size: bytes.byteLength, md5: md5Of(bytes) })
    await site.put(site.store, site.keyOf(toDisk), bytes)
    await site.put(disk, site.keyOf(toStore, 'disk'), bytes)
    // A move copies first. The listing of the store sees one of them in both tiers.
    await site.put(disk, site.keyOf(toDisk, 'disk'), bytes)
    afterListing(site, async () => {
      for (const { uuid } of [removedFirst, removed]) site.index.files.delete(uuid)
      await site.store.remove(site.keyOf(removed), never)
      site.index.files.set(stored.uuid, stored)
      await site.store.remove(site.keyOf(toDisk), never)
      await site.put(site.store, site.keyOf(toStore), bytes)
      await disk.remove(site.keyOf(toStore, 'disk'), never)
    })
    const { findings, failures, verification } = await site.verify({ olderThanMs: 0 })
    assert.deepEqual([findings, failures], [[], []])
    // The lists of the two places come at the same time. So a move may be seen or not.
    assert.ok(verification.tally.settled >= 2)
  })

  it('waits for removals and moves that are under way before it looks at orphans and doubles again', async () => {
    for (const settleMs of [60_000, 0]) {
      const site = makeSite({ hybrid: true })
      const disk = site.disk as Site['store']
      await site.add()
      const bytes = Buffer.from('twice')
      const [removed, moved] = [await site.add(), await site.add({ bytes })]
      // Orthanc has forgotten one, and will remove its file; a move has copied the other.
      site.index.files.delete(removed.uuid)
      await site.put(disk, site.keyOf(moved, 'disk'), bytes)
      const waits: number[] = []
      const wait = async (ms: number) => {
        waits.push(ms)
        await site.store.remove(site.keyOf(removed), never)
        await disk.remove(site.keyOf(moved, 'disk'), never)
      }
      const { findings, verification } = await site.verify({ settleMs, wait })
      const wrong = [`double ${site.keyOf(moved, 'disk')}`, `orphan ${site.keyOf(removed)}`]
      assert.deepEqual(named(findings), settleMs > 0 ? [] : wrong)
      assert.equal(waits.length, settleMs > 0 ? 1 : 0)
      assert.equal(verification.tally.settled, settleMs > 0 ? 2 : 0)
    }
  })

  it('asks the index once about everything that looks wrong, also about what was read', async () => {
    const site = makeSite()
    const [missing, orphan, corrupt, removed] = [await site.add(), await site.add(), await site.add(), await site.add()]
    await site.store.remove(site.keyOf(missing), never)
    site.index.files.delete(orphan.uuid)
    for (const file of [corrupt, removed]) await site.put(site.store, site.keyOf(file), Buffer.alloc(file.size))
    const { find } = site.index
    const asked: number[] = []
    site.index.find = async (uuids, signal) => {
      asked.push(uuids.size)
      site.index.files.delete(removed.uuid)
      return find(uuids, signal)
    }
    const { findings, verification } = await site.verify({ deep: true })
    const wrong = [`missing ${site.keyOf(missing)}`, `orphan ${site.keyOf(orphan)}`, `corrupt ${site.keyOf(corrupt)}`]
    assert.deepEqual(named(findings), wrong.sort())
    assert.deepEqual(asked, [4])
    assert.deepEqual([verification.tally.settled, verification.tally.suspects], [1, 0])
  })

  it('waits for nothing where there is no orphan and no double', async () => {
    const site = makeSite()
    const file = await site.add()
    await site.store.remove(site.keyOf(file), never)
    const wait = () => Promise.reject(new Error('it waits'))
    assert.deepEqual(named((await site.verify({ settleMs: 60_000, wait })).findings), [`missing ${site.keyOf(file)}`])
  })

  it('has no finding about an object whose removal waits in a journal', async () => {
    const site = makeSite()
    const [promised, orphan] = [await site.add(), await site.add()]
    site.index.files.clear()
    const { findings, verification } = await site.verify({
      promised: async () => finding => finding.key === site.keyOf(promised),
    })
    assert.deepEqual(named(findings), [`orphan ${site.keyOf(orphan)}`])
    assert.equal(verification.tally.promised, 1)
  })

  it('looks a second time in both places for what may have been moved between its looks', async () => {
    const site = makeSite({ hybrid: true })
    const disk = site.disk as Site['store']
    const file = await site.add({ where: 'disk' })
    const key = site.keyOf(file, 'disk')
    const { list, stat } = disk
    disk.list = async function* (prefix, signal) {
      for await (const one of list(prefix, signal)) if (one.key !== key) yield one // a listing that is old
    }
    let looks = 0
    disk.stat = async (name, signal) => (++looks === 1 ? undefined : stat(name, signal))
    assert.deepEqual((await site.verify()).findings, [])
    assert.equal(looks, 2)
  })

  it('believes a finding only if the index has not changed between the looks at it', async () => {
    const site = makeSite()
    await site.add()
    const [gone, orphan] = [await site.add(), { uuid: randomUUID(), type: 'dicom' } as const]
    await site.store.remove(site.keyOf(gone), never)
    await site.put(site.store, site.keyOf(orphan), Buffer.from('x'))
    const { find } = site.index
    let asked = 0
    site.index.find = async (uuids, signal) => {
      asked++
      site.index.files.delete(gone.uuid)
      site.index.files.set(orphan.uuid, { ...orphan, size: 1, md5: undefined })
      return find(uuids, signal)
    }
    const { findings, verification } = await site.verify()
    assert.deepEqual(findings, [])
    assert.equal(asked, 1, 'it may have to read everything to answer')
    assert.equal(verification.tally.settled, 2)
  })

  it('has no finding about a file that is removed while it is read, and has one if only its object is', async () => {
    for (const fromIndex of [true, false]) {
      const site = makeSite()
      const [file, other] = [await site.add(), await site.add()]
      const { get } = site.store
      site.store.get = async (key, range, signal) => {
        if (key === site.keyOf(file)) {
          if (fromIndex) site.index.files.delete(file.uuid)
          await site.store.remove(key, never)
        }
        return get(key, range, signal)
      }
      const { findings, verification } = await site.verify({ deep: true })
      assert.deepEqual(named(findings), fromIndex ? [] : [`missing ${site.keyOf(file)}`])
      assert.equal(verification.tally.read.files, 1)
      assert.ok(other)
    }
  })

  it('reads a file once more before it calls it corrupt', async () => {
    const site = makeSite()
    const file = await site.add({ bytes: Buffer.from('abc') })
    const { get } = site.store
    let reads = 0
    site.store.get = async (key, range, signal) => {
      const content = await get(key, range, signal)
      if (++reads > 1) return content
      return {
        size: 3,
        body: (async function* () {
          yield Buffer.from('abd')
        })(),
      }
    }
    assert.deepEqual((await site.verify({ deep: true })).findings, [])
    assert.equal(reads, 2)
    assert.ok(file)
  })

  it('does not need the order of a listing, nor that it names each object once', async () => {
    const site = makeSite({ hybrid: true })
    for (let i = 0; i < 300; i++) await site.add()
    const [missing, orphan] = [await site.add(), { uuid: randomUUID(), type: 'dicom' } as const]
    await site.store.remove(site.keyOf(missing), never)
    await site.put(site.store, site.keyOf(orphan), Buffer.from('x'))
    const { list } = site.store
    site.store.list = async function* (prefix, signal) {
      const all: Stat[] = []
      for await (const stat of list(prefix, signal)) all.push(stat)
      yield* [...all, ...all.slice(0, 5)].reverse()
    }
    const { all } = site.index
    site.index.all = async function* (signal) {
      yield* all(signal)
      yield* all(signal)
    }
    const { findings, verification } = await site.verify()
    assert.deepEqual(named(findings), [`missing ${site.keyOf(missing)}`, `orphan ${site.keyOf(orphan)}`])
    assert.equal(verification.tally.indexed, 301)
  })
})

describe('verify, when something fails', () => {
  const broken = (more = 'in the middle') => new Fault('Unavailable', `it broke ${more}`, { retryable: false })

  it('proves nothing with half a listing or half an index, and ends the other readings', async () => {
    for (const half of ['listing', 'index'] as const) {
      const site = makeSite()
      for (let i = 0; i < 250; i++) await site.add()
      await site.put(site.store, site.keyOf({ uuid: randomUUID(), type: 'dicom' }), Buffer.from('x'))
      const [{ list }, { all }] = [site.store, site.index]
      if (half === 'listing')
        site.store.list = async function* (prefix, signal) {
          for await (const stat of list(prefix, signal)) {
            yield stat
            if (stat.key > 'pacs/8') throw broken()
          }
        }
      else
        site.index.all = async function* (signal) {
          for await (const batch of all(signal)) {
            yield batch
            throw broken()
          }
        }
      const found: unknown[] = []
      await assert.rejects(
        site.verify({ onFinding: finding => found.push(finding) }),
        error => isCode(error, 'Unavailable') && /in the middle/.test(error.message),
      )
      assert.deepEqual(found, [])
    }
  })

  it('has a failure and no finding where a second look fails, and the others go on', async () => {
    const site = makeSite()
    const files = [await site.add(), await site.add(), await site.add()] as const
    for (const file of files.slice(0, 2)) await site.store.remove(site.keyOf(file), never)
    const { stat } = site.store
    site.store.stat = async (key, signal) => {
      if (key === site.keyOf(files[0])) throw broken()
      return stat(key, signal)
    }
    const { findings, failures, verification } = await site.verify()
    assert.deepEqual(named(findings), [`missing ${site.keyOf(files[1])}`])
    assert.equal(failures.length, 1)
    assert.equal(verification.tally.failures, 1)
    assert.ok(!verification.complete)
  })

  it('ends after twenty failures in a row', async () => {
    for (const deep of [true, false]) {
      const site = makeSite()
      for (let i = 0; i < 200; i++) await site.add()
      const failures: Fault[] = []
      if (deep) site.store.get = () => Promise.reject(broken())
      else {
        for (const file of site.index.files.values()) await site.store.remove(site.keyOf(file), never)
        site.store.stat = () => Promise.reject(broken())
      }
      await assert.rejects(
        site.verify({ deep, onFailure: fault => failures.push(fault) }),
        error => isCode(error, 'Unavailable') && /20 files could not be looked at/.test(error.message),
      )
      assert.ok(failures.length >= 20 && failures.length < 30, String(failures.length))
    }
  })

  it('ends when it is interrupted, with what it has found so far', async () => {
    const site = makeSite()
    for (let i = 0; i < 50; i++) await site.add()
    const stop = new AbortController()
    const { get } = site.store
    let reads = 0
    const [first] = [...site.index.files.values()].sort((a, b) => (a.uuid < b.uuid ? -1 : 1))
    if (first) await site.put(site.store, site.keyOf(first), Buffer.alloc(first.size))
    site.store.get = async (key, range, signal) => {
      if (++reads === 10) stop.abort(new Fault('Canceled', 'interrupted by SIGINT'))
      return get(key, range, signal)
    }
    let ended: Verification | undefined
    const run = site.verify({ deep: true, concurrency: 1, onStart: one => (ended = one) }, stop.signal)
    await assert.rejects(run, error => isCode(error, 'Canceled'))
    assert.ok(reads < 20)
    assert.deepEqual(named(ended?.unproven ?? []), [`corrupt ${site.keyOf(first as Indexed)}`])
  })

  it('lets others have their turn while it compares, so that it can be interrupted', async () => {
    const site = makeSite()
    await site.add()
    const stop = new AbortController()
    let turns = 0
    const tick = () => {
      if (++turns === 50) stop.abort(new Fault('Canceled', 'interrupted by SIGINT'))
      else setImmediate(tick)
    }
    afterListing(site, async () => tick())
    await assert.rejects(site.verify({}, stop.signal), error => isCode(error, 'Canceled'))
  })

  it('goes on where many objects in a row are in an archive, and says that it does not know them', async () => {
    const site = makeSite()
    for (let i = 0; i < 30; i++) await site.add()
    site.store.get = () => Promise.reject(new Fault('Archived', 'it is in an archive'))
    const { findings, failures, verification } = await site.verify({ deep: true })
    assert.deepEqual([findings.length, failures.length, verification.complete], [0, 30, false])
  })

  it('knows an index that is probably not that of the store', async () => {
    const site = makeSite()
    for (let i = 0; i < 3; i++) await site.add()
    assert.equal((await site.verify()).verification.strange, false)
    const foreign = makeSite()
    for (let i = 0; i < 3; i++) await foreign.add()
    for (const index of [foreign.index, fakeIndex()]) {
      const { findings, verification } = await site.verify({ index })
      assert.equal(verification.strange, true)
      assert.equal(findings.length, 3 + index.files.size)
    }
    const { verification } = await makeSite().verify()
    assert.equal(verification.strange, false, 'a new site is empty')
  })
})
