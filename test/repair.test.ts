/** `verify --repair` over stores in memory: what is changed, and what nothing may change. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'
import type { Naming } from '../src/area/naming.ts'
import { Fault, isCode } from '../src/fault.ts'
import { noise } from './support/noise.ts'
import { addOrphan, bytesOf, grown, keysOf } from './support/repair.ts'
import { DAY_MS, type Encryption, makeSite, never, type OldStore, type Site } from './support/verify-stage.ts'

const MINUTE_MS = 60_000

const inTrash = (key: string) => key.replace(/^pacs\//, 'pacs/cloud-storage-trash/')

describe('repair of orphans', () => {
  for (const structure of ['flat', 'legacy'] as const)
    for (const encryption of ['none', 'on'] as const)
      for (const size of [15, 9 * 1024 * 1024])
        it(`to the trash: the same ${size} bytes under a key that keeps the name, ${structure}, encryption ${encryption}`, async () => {
          const site = await grown(makeSite({ structure, encryption }))
          const before = await keysOf(site.store)
          const { key } = await addOrphan(site, 'dicom', noise(size))
          const stored = await bytesOf(site.store, key)
          const { repaired, refused, notRepaired } = await site.repair({ repairs: { orphans: 'trash' } })
          assert.deepEqual([refused, notRepaired], [undefined, []])
          assert.deepEqual(repaired, [`trash ${key}`])
          assert.deepEqual(await keysOf(site.store), [...before, inTrash(key)].sort())
          assert.ok((await bytesOf(site.store, inTrash(key))).equals(stored))
          const again = await site.verify()
          assert.deepEqual(again.findings, [])
          assert.deepEqual(
            [again.verification.tally.places[0]?.trash, again.verification.tally.places[0]?.strangers],
            [1, 0],
          )
        })

  it('by deletion, in both tiers, and in a dry run not at all', async () => {
    const site = await grown(makeSite({ hybrid: true }))
    for (let i = 0; i < 40; i++) await site.add({ where: 'disk' })
    const { key } = await addOrphan(site)
    const onDisk = site.keyOf({ uuid: randomUUID(), type: 'dicom' }, 'disk')
    await site.put(site.disk as OldStore, onDisk, Buffer.from('x'))
    const [store, disk] = [await keysOf(site.store), await keysOf(site.disk)]
    const dry = await site.repair({ repairs: { orphans: 'delete' }, yes: false })
    assert.deepEqual(dry.repaired, [`delete ${key}`, `delete ${onDisk}`].sort())
    assert.deepEqual([await keysOf(site.store), await keysOf(site.disk)], [store, disk])
    const { repaired } = await site.repair({ repairs: { orphans: 'delete' } })
    assert.deepEqual(repaired, dry.repaired)
    assert.deepEqual(
      await keysOf(site.store),
      store.filter(one => one !== key),
    )
    assert.deepEqual(
      await keysOf(site.disk),
      disk.filter(one => one !== onDisk),
    )
  })

  it('leaves alone what is not ours, what is in the trash, and what is young', async () => {
    const site = await grown(makeSite())
    const { key } = await addOrphan(site)
    const young = await addOrphan(site)
    site.store.young.add(young.key)
    const strange = [
      'pacs/readme',
      `pacs/${randomUUID()}.jpg`,
      `${randomUUID()}.dcm`,
      inTrash(`pacs/${randomUUID()}.dcm`),
    ]
    for (const one of strange) await site.put(site.store, one, Buffer.from('x'))
    const before = await keysOf(site.store)
    const { repaired } = await site.repair({ repairs: { orphans: 'delete' } })
    assert.deepEqual(repaired, [`delete ${key}`])
    assert.deepEqual(
      await keysOf(site.store),
      before.filter(one => one !== key),
    )
  })

  it('asks the index again about each of them', async () => {
    const site = await grown(makeSite())
    const orphan = await addOrphan(site)
    const { find } = site.index
    let looks = 0
    site.index.find = async (uuids, signal) => {
      // The second look of the verification is the first question.
      if (++looks === 2)
        site.index.files.set(orphan.uuid, { uuid: orphan.uuid, type: 'dicom', size: 15, md5: undefined })
      return find(uuids, signal)
    }
    const { repaired, settled } = await site.repair({ repairs: { orphans: 'delete' } })
    assert.deepEqual([repaired, settled], [[], 1])
    assert.ok((await keysOf(site.store)).includes(orphan.key))
  })

  for (const failing of ['get', 'put', 'stat'] as const)
    it(`removes nothing that could not be copied to the trash: ${failing} fails`, async () => {
      const site = await grown(makeSite())
      const { key } = await addOrphan(site)
      const before = await keysOf(site.store)
      const { notRepaired, repaired } = await site.repair({
        repairs: { orphans: 'trash' },
        proveBelonging: async () => {
          Object.assign(site.store, { [failing]: () => Promise.reject(new Fault('Unavailable', 'away')) })
        },
      })
      assert.deepEqual([repaired, notRepaired.length], [[], 1])
      const after = await keysOf(site.store)
      assert.deepEqual(
        before.filter(one => !after.includes(one)),
        [],
      )
      assert.ok(after.includes(key))
    })

  it('does not call gone what the store has not proven to be gone', async () => {
    const site = await grown(makeSite())
    const orphans = [await addOrphan(site), await addOrphan(site)]
    site.store.removeMany = async keys => new Map([[keys[0] as string, new Fault('Denied', 'retention')]])
    const { notRepaired, repaired } = await site.repair({ repairs: { orphans: 'delete' }, expect: orphans.length })
    assert.deepEqual(repaired, [])
    assert.deepEqual(notRepaired.map(({ code }) => code).sort(), ['Denied', 'Unavailable'])
  })
})

describe('repair of orphans is refused', () => {
  const refusedWith = async (site: Site, how: Parameters<Site['repair']>[0], words: RegExp) => {
    const before = [await keysOf(site.store), await keysOf(site.disk)]
    const { refused, repaired } = await site.repair({ repairs: { orphans: 'delete' }, ...how })
    assert.ok(isCode(refused, 'BadRequest'), String(refused))
    assert.match(refused.message, words)
    assert.deepEqual(repaired, [])
    assert.deepEqual([await keysOf(site.store), await keysOf(site.disk)], before)
  }

  it('when the index is empty, until somebody has counted', async () => {
    const site = makeSite()
    const { key } = await addOrphan(site)
    await refusedWith(site, {}, /the index is empty/)
    await refusedWith(site, { expect: 2 }, /there are 1 orphans, and --expect says 2/)
    assert.deepEqual((await site.repair({ repairs: { orphans: 'delete' }, expect: 1 })).repaired, [`delete ${key}`])
  })

  it('when more than 5 % of the objects of a place would go', async () => {
    const site = await grown(makeSite({ hybrid: true }), 100)
    for (let i = 0; i < 5; i++) await site.add({ where: 'disk' })
    await site.put(site.disk as OldStore, site.keyOf({ uuid: randomUUID(), type: 'dicom' }, 'disk'), Buffer.from('x'))
    await refusedWith(site, {}, /1 of the 6 objects in disk would go, which is more than 5 %/)
  })

  it('when the index is that of another store, with or without a count', async () => {
    const site = await grown(makeSite())
    const stranger = await grown(makeSite())
    site.index.files.clear()
    for (const [uuid, file] of stranger.index.files) site.index.files.set(uuid, file)
    await refusedWith(site, {}, /40 of the 40 files in the index are missing: is it the index of this store/)
    await refusedWith(site, { expect: 40 }, /is it the index of this store/)
  })

  it('when the orphans of a place are all that it has', async () => {
    const site = await grown(makeSite({ hybrid: true }))
    await site.put(site.disk as OldStore, site.keyOf({ uuid: randomUUID(), type: 'dicom' }, 'disk'), Buffer.from('x'))
    await refusedWith(site, {}, /nothing in disk is in the index/)
  })

  it('when the database was restored from an older state: the index has nothing of the days since then', async () => {
    const site = await grown(makeSite())
    const { key } = await addOrphan(site)
    site.store.young.add(key)
    const { refused, repaired } = await site.repair({ repairs: { orphans: 'delete' } }, 0)
    assert.ok(isCode(refused, 'BadRequest'))
    assert.match(
      refused.message,
      /1 of them in store were written on days of which the index has nothing \(20\d\d-\d\d-\d\d\)/,
    )
    assert.deepEqual(repaired, [])
  })

  it('when a second Orthanc has its files below the same root path; with a root path of its own it is not seen', async () => {
    const site = await grown(makeSite())
    const apart = await grown(makeSite({ rootPath: 'pacs/second', store: site.store }), 10)
    const { refused, repaired, findings } = await site.repair({ repairs: { orphans: 'delete' } })
    assert.deepEqual([refused, repaired, findings], [undefined, [], []])
    assert.deepEqual((await apart.verify()).findings, [])
    const other = await grown(makeSite({ store: site.store }), 10)
    await refusedWith(site, {}, /10 of the 50 objects in store would go/)
    await refusedWith(other, {}, /40 of the 50 objects in store would go/)
  })

  it('and so is every repair, when the clocks differ, or index and store are not proven to belong together', async () => {
    const site = await grown(makeSite())
    const { key } = await addOrphan(site)
    const lost = await site.add()
    const replica = makeSite()
    await replica.put(replica.store, replica.keyOf(lost), await bytesOf(site.store, site.keyOf(lost)))
    await site.store.remove(site.keyOf(lost), never)
    const repairs = { orphans: 'delete', doubles: 'delete', missing: replica.tiers } as const
    const proveBelonging = async () => {
      throw new Fault('BadRequest', 'it is another one')
    }
    await refusedWith(site, { repairs, proveBelonging }, /it is another one/)
    const { list } = site.store
    site.store.list = async function* (prefix, signal) {
      for await (const stat of list(prefix, signal)) yield { ...stat, asOf: new Date(Date.now() - 6 * MINUTE_MS) }
    }
    await refusedWith(site, { repairs }, /the clocks of the store and of this machine differ by 6 minutes/)
    assert.ok((await keysOf(site.store)).includes(key))
  })
})

describe('repair of doubles', () => {
  const twice = async (encryption: Encryption, structure: Naming['structure'] = 'flat') => {
    const site = await grown(makeSite({ hybrid: true, encryption, structure }), 3)
    const bytes = Buffer.from('the same')
    const file = await site.add({ bytes })
    return { site, file, bytes, disk: site.disk as OldStore }
  }

  for (const how of ['delete', 'trash'] as const)
    it(`in two tiers: the one that Orthanc reads first stays, the other one goes (${how})`, async () => {
      for (const structure of ['flat', 'legacy'] as const) {
        const { site, file, bytes, disk } = await twice('none', structure)
        const key = site.keyOf(file, 'disk')
        await site.put(disk, key, bytes)
        const { repaired, refused, notRepaired } = await site.repair({ repairs: { doubles: how } })
        assert.deepEqual([refused, notRepaired], [undefined, []])
        assert.deepEqual(repaired, [`${how} ${key}`])
        assert.deepEqual(await keysOf(disk), how === 'trash' ? [`cloud-storage-trash/${key}`] : [])
        assert.ok((await bytesOf(site.store, site.keyOf(file))).equals(bytes))
        assert.deepEqual((await site.verify()).findings, [])
      }
    })

  it('sealed and plain: the sealed one stays, whichever Orthanc reads first', async () => {
    const { site, file, bytes, disk } = await twice('on, and plain objects are read')
    const plainKey = site.keyOf(file, 'store', false)
    await site.put(site.store, plainKey, bytes, 'nobody')
    assert.deepEqual((await site.repair({ repairs: { doubles: 'delete' } })).repaired, [`delete ${plainKey}`])
    // The one in front is plain, that on the disk is sealed.
    await site.store.remove(site.keyOf(file), never)
    await site.put(site.store, plainKey, bytes, 'nobody')
    const onDisk = site.keyOf(file, 'disk')
    await site.put(disk, onDisk, bytes)
    assert.deepEqual((await site.repair({ repairs: { doubles: 'delete' } })).repaired, [`delete ${plainKey}`])
    assert.deepEqual(await keysOf(disk), [onDisk])
    assert.deepEqual((await site.verify({ deep: true })).findings, [])
  })

  it('keeps both when one differs, when none is right, and when one cannot be opened', async () => {
    const { site, file, bytes, disk } = await twice('on')
    const onDisk = site.keyOf(file, 'disk')
    await site.put(disk, onDisk, Buffer.from('not same'))
    const keep = async (words: RegExp) => {
      const before = [await keysOf(site.store), await keysOf(disk)]
      const { repaired, notRepaired } = await site.repair({ repairs: { doubles: 'delete' } })
      assert.deepEqual([repaired, notRepaired.length], [[], 1])
      assert.match(notRepaired[0]?.describe() ?? '', words)
      assert.deepEqual([await keysOf(site.store), await keysOf(disk)], before)
    }
    await keep(/its bytes differ from those of the other object/)
    await site.put(site.store, site.keyOf(file), Buffer.from('also not'))
    await keep(/none of its objects is what Orthanc stored/)
    await site.put(site.store, site.keyOf(file), bytes)
    await site.put(disk, onDisk, bytes, 'stranger')
    await keep(/master key 9|key 9/)
  })

  it('is refused while a move runs, and when nobody can say that', async () => {
    const { site, file, bytes, disk } = await twice('none')
    await site.put(disk, site.keyOf(file, 'disk'), bytes)
    for (const [movesRun, words] of [
      [async () => true, /Orthanc moves files now/],
      [undefined, /only when Orthanc says that it moves no file/],
    ] as const) {
      const { repaired, refused } = await site.repair({ repairs: { doubles: 'delete' }, movesRun })
      assert.deepEqual(repaired, [])
      assert.match(refused?.message ?? '', words)
    }
    assert.equal((await keysOf(disk)).length, 1)
  })

  it('says it when the kept one disappears meanwhile', async () => {
    const { site, file, bytes, disk } = await twice('none')
    await site.put(disk, site.keyOf(file, 'disk'), bytes)
    const { removeMany } = disk
    disk.removeMany = async (keys, signal) => {
      await site.store.remove(site.keyOf(file), never)
      return removeMany(keys, signal)
    }
    const { notRepaired } = await site.repair({ repairs: { doubles: 'delete' } })
    assert.match(notRepaired[0]?.message ?? '', /is gone after its double was removed/)
  })
})

describe('repair of leftovers', () => {
  it('discards those that are old and ours, and says which could not be discarded', async () => {
    const site = await grown(makeSite({ hybrid: true }), 3)
    const key = site.keyOf({ uuid: randomUUID(), type: 'dicom' })
    const begun = (of: string, ageMs: number) => ({
      ...({ key: of, id: randomUUID(), what: 'unfinished upload', started: new Date(Date.now() - ageMs) } as const),
    })
    const [old, stubborn] = [
      begun(key, 2 * DAY_MS),
      begun(site.keyOf({ uuid: randomUUID(), type: 'dicom' }), 2 * DAY_MS),
    ]
    const left = [old, stubborn, begun(key, 1000), begun('pacs/theirs', 2 * DAY_MS)]
    const removed: string[] = []
    site.store.leftovers = async function* () {
      yield* left
    }
    site.store.removeLeftover = async ({ id }) => {
      if (id === stubborn.id) throw new Fault('Denied', 'no')
      removed.push(id)
    }
    const dry = await site.repair({ repairs: { leftovers: true }, yes: false })
    assert.deepEqual([dry.repaired.length, removed], [2, []])
    const { repaired, notRepaired } = await site.repair({ repairs: { leftovers: true } })
    assert.deepEqual([repaired, removed], [[`discard ${key}`], [old.id]])
    assert.match(notRepaired[0]?.describe() ?? '', /\[Denied\]/)
  })
})
