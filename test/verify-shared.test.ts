/** `verify` in shards finds what the whole way finds, also when it is killed in the middle and goes on. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import type { ContentType } from '../src/area/area.ts'
import { SHARDS } from '../src/bulk/work.ts'
import { Fault } from '../src/fault.ts'
import type { Finding } from '../src/verify/finding.ts'
import type { VerifyTally } from '../src/verify/tally.ts'
import { chanceOf } from './support/chance.ts'
import { fc } from './support/property.ts'
import { DAY_MS, type Encryption, makeSite, named, never, type Site } from './support/verify-stage.ts'

const folder = mkdtempSync(join(tmpdir(), 'ocs-shared-'))
after(() => rmSync(folder, { recursive: true, force: true }))
let files = 0
const newState = () => join(folder, String(files++))

const sorted = (findings: readonly Finding[]) =>
  findings.map(finding => JSON.stringify(finding, Object.keys(finding).sort())).sort()

/** All that both ways count. */
function counted({ places, ...tally }: VerifyTally) {
  const ofPlaces = places.map(({ objects, bytes, known, leftovers }) => {
    const { young, undated, strangers } = leftovers
    return { objects, bytes, known, young, undated, strangers }
  })
  const { indexed, present, findings, suspects, settled, young, promised, read, withoutMd5, digests } = tally
  return { ofPlaces, indexed, present, findings, suspects, settled, young, promised, read, withoutMd5, digests }
}

async function same(site: Site, how: Parameters<Site['verify']>[0]): Promise<readonly string[]> {
  const whole = await site.verify(how)
  const shared = await site.shared(newState(), how)
  assert.equal(shared.ended, undefined)
  assert.deepEqual(shared.failures, [])
  assert.ok(shared.complete && whole.verification.complete)
  assert.deepEqual(sorted(shared.findings), sorted(whole.findings))
  assert.deepEqual(counted(shared.tally), counted(whole.verification.tally))
  return named(shared.findings)
}

const FAULTS = ['missing', 'wrong size', 'orphan', 'young', 'double', 'corrupt', 'unknown key', 'stranger'] as const

async function addWithFaults(site: Site, seed: number, count: number): Promise<void> {
  const chance = chanceOf(seed)
  const types: readonly ContentType[] = ['dicom', 'dicom-as-json', 'dicom-until-pixel-data', 'unknown']
  for (let i = 0; i < count; i++) {
    const type = chance.oneOf(types)
    const where = site.disk ? chance.oneOf(['store', 'disk'] as const) : 'store'
    const bytes = Buffer.from(`${i} ${'x'.repeat(chance.between(0, 200))}`)
    const file = await site.add({ type, where, bytes })
    if (chance() < 0.1) site.index.files.set(file.uuid, { ...file, md5: undefined })
    const at = where === 'disk' && site.disk ? site.disk : site.store
    const key = site.keyOf(file, where)
    const fault = chance() < 0.5 ? chance.oneOf(FAULTS) : undefined
    if (fault === 'missing') await at.remove(key, never)
    if (fault === 'orphan' || fault === 'young') site.index.files.delete(file.uuid)
    if (fault === 'young') at.young.add(key)
    if (fault === 'wrong size') await site.put(at, key, Buffer.concat([bytes, Buffer.from('!')]))
    if (fault === 'corrupt') await site.put(at, key, Buffer.from(bytes.map(byte => byte ^ 1)))
    if (fault === 'unknown key') await site.put(at, key, bytes, 'stranger')
    if (fault === 'stranger') await site.put(at, key.replace(/.{4}$/, 'zzzz'), bytes)
    if (fault === 'double' && site.disk) {
      const other = where === 'disk' ? 'store' : 'disk'
      await site.put(other === 'disk' ? site.disk : site.store, site.keyOf(file, other), bytes)
    }
  }
}

describe('verify in shards', () => {
  it('finds and counts what the whole way does: every encryption, structure and mode', async () => {
    const kinds = new Set<string>()
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<Encryption>('none', 'on', 'on, and plain objects are read'),
        fc.constantFrom<'flat' | 'legacy'>('flat', 'legacy'),
        fc.boolean(),
        fc.constantFrom('pacs', ''),
        fc.constantFrom({}, { digests: true }, { deep: true }, { olderThanMs: 0 }),
        fc.integer(),
        async (encryption, structure, hybrid, rootPath, how, seed) => {
          const site = makeSite({ encryption, structure, hybrid, rootPath })
          await addWithFaults(site, seed, 60)
          for (const name of await same(site, how)) kinds.add(name.replace(/ \S*$/, ''))
        },
      ),
      { numRuns: 12 },
    )
    for (const kind of ['missing', 'orphan', 'wrong size']) assert.ok(kinds.has(kind), kind)
  })

  it('finds a digest that differs in one shard when those of others are right', async () => {
    const site = makeSite()
    const bytes = Buffer.from('abc')
    for (let i = 0; i < 20; i++) await site.add()
    const one = await site.add({ bytes })
    await site.put(site.store, site.keyOf(one), Buffer.from('abd'))
    const { list, stat } = site.store
    const { createHash } = await import('node:crypto')
    const md5Of = async (key: string) => {
      const { body } = await site.store.get(key, undefined, never)
      const digest = createHash('md5')
      for await (const chunk of body) digest.update(chunk)
      return digest.digest('hex')
    }
    Object.assign(site.store, {
      async *list(prefix: string, signal: AbortSignal) {
        for await (const found of list(prefix, signal)) yield { ...found, md5: await md5Of(found.key) }
      },
      async stat(key: string, signal: AbortSignal) {
        const found = await stat(key, signal)
        return found && { ...found, md5: await md5Of(key) }
      },
    })
    assert.deepEqual(await same(site, { digests: true }), [`corrupt ${site.keyOf(one)}`])
  })

  it('measures ages by the newest object of the whole place, where the store tells no time', async () => {
    const site = makeSite()
    const orphan = await site.add()
    site.index.files.delete(orphan.uuid)
    const { list } = site.store
    Object.assign(site.store, {
      async *list(prefix: string, signal: AbortSignal) {
        for await (const { asOf: _, ...found } of list(prefix, signal)) yield found
      },
    })
    assert.deepEqual(await same(site, {}), [])
    const newest = await site.add()
    site.store.young.add(site.keyOf(newest))
    assert.deepEqual(await same(site, {}), [`orphan ${site.keyOf(orphan)}`])
  })

  it('believes nothing that changed while it ran', async () => {
    const site = makeSite({ hybrid: true })
    const [gone, back] = [await site.add(), await site.add()]
    const key = site.keyOf(back)
    await site.store.remove(key, never)
    let asked = 0
    const orphan = randomUUID()
    const { find, all } = site.index
    const index = {
      ...site.index,
      all,
      async find(...words: Parameters<typeof find>) {
        asked++
        site.index.files.delete(gone.uuid)
        return await find(...words)
      },
    }
    await site.store.remove(site.keyOf(gone), never)
    await site.put(site.store, site.keyOf({ uuid: orphan, type: 'dicom' }), Buffer.from('x'))
    const wait = async () => {
      await site.put(site.store, key, Buffer.from('as before, or not'))
      await site.store.remove(site.keyOf({ uuid: orphan, type: 'dicom' }), never)
    }
    const { findings, tally, ended } = await site.shared(newState(), { index, settleMs: 60_000, wait })
    assert.equal(ended, undefined)
    assert.deepEqual(named(findings), [])
    assert.deepEqual([asked, tally.settled, tally.suspects], [1, 3, 0])
  })

  it('goes on where it was after an end at any moment, and reads nothing twice that was read', async () => {
    for (const at of [1, 40, 100, 150]) {
      const site = makeSite({ encryption: 'on' })
      await addWithFaults(site, at, 120)
      const whole = await site.verify({ deep: true })
      const state = newState()
      const read: string[] = []
      const listed = new Set<string>()
      const shardIn = (key: string) => key.slice('pacs/'.length).slice(0, 2).toLowerCase()
      const stop = new AbortController()
      const { get, list } = site.store
      let listings = 0
      Object.assign(site.store, {
        async get(...words: Parameters<typeof get>) {
          read.push(shardIn(words[0]))
          return await get(...words)
        },
        list(...words: Parameters<typeof list>) {
          const shard = shardIn(words[0])
          if (/^[0-9a-f]{2}$/.test(shard)) listed.add(shard) // and not the trash
          if (++listings === at * 2) stop.abort(new Fault('Canceled', 'killed'))
          return list(...words)
        },
      })
      const first = await site.shared(state, { deep: true, mostListed: 0 }, stop.signal)
      assert.equal(first.ended?.message, 'killed')
      assert.ok(!first.complete)
      const done = first.tally.shared.compared
      listed.clear()
      read.length = 0
      let indexReads = 0
      const all: Site['index']['all'] = signal => {
        indexReads++
        return site.index.all(signal)
      }
      const second = await site.shared(state, { deep: true, mostListed: 0, index: { ...site.index, all } })
      assert.equal(indexReads, 0)
      assert.equal(second.ended, undefined)
      assert.deepEqual(sorted(second.findings), sorted(whole.findings))
      assert.deepEqual(counted(second.tally), counted(whole.verification.tally))
      assert.equal(listed.size, SHARDS - done)
      assert.deepEqual(
        read.filter(shard => !listed.has(shard)),
        [],
      )
      assert.ok(done > 0 || at === 1)
    }
  })

  it('reads the index anew when that had not come to its end', async () => {
    const site = makeSite()
    await addWithFaults(site, 7, 60)
    const state = newState()
    const broken: Site['index'] = {
      ...site.index,
      async *all() {
        yield [...site.index.files.values()].slice(0, 20)
        throw new Fault('Unavailable', 'the index is away', { retryable: false })
      },
    }
    const first = await site.shared(state, { index: broken })
    assert.equal(first.ended?.message, 'the index is away')
    assert.equal(first.tally.shared.compared, 0)
    const second = await site.shared(state)
    assert.deepEqual(sorted(second.findings), sorted((await site.verify()).findings))
    assert.equal(second.tally.indexed, site.index.files.size)
  })

  it('is not complete when a look failed, and looks only at that shard again', async () => {
    const site = makeSite()
    await addWithFaults(site, 3, 60)
    const first = [...site.index.files.values()][0] ?? assert.fail()
    const bad = site.keyOf(first)
    await site.put(site.store, bad, Buffer.alloc(first.size))
    const { get } = site.store
    let isAway = true
    let reads = 0
    Object.assign(site.store, {
      async get(...words: Parameters<typeof get>) {
        reads++
        if (words[0] === bad && isAway) throw new Fault('Archived', 'it is in an archive')
        return await get(...words)
      },
    })
    const state = newState()
    const one = await site.shared(state, { deep: true })
    assert.deepEqual([one.ended, one.complete, one.tally.failures, one.failures.length], [undefined, false, 1, 1])
    isAway = false
    const readsBefore = reads
    const two = await site.shared(state, { deep: true })
    assert.ok(two.complete)
    assert.ok(reads - readsBefore < 10, `${reads - readsBefore} reads`)
    assert.deepEqual(sorted(two.findings), sorted((await site.verify({ deep: true })).findings))
  })

  it('waits for removals under way, counted from the end of the listings, and asks what is promised', async () => {
    const site = makeSite()
    await site.add()
    const [promised, orphan] = [await site.add(), await site.add()].map(file => {
      site.index.files.delete(file.uuid)
      return site.keyOf(file)
    })
    const waited: number[] = []
    const { findings, tally } = await site.shared(newState(), {
      settleMs: DAY_MS,
      wait: async ms => waited.push(ms),
      promised:
        async () =>
        ({ key }) =>
          key === promised,
    })
    assert.equal(waited.length, 1)
    assert.ok((waited[0] ?? 0) > DAY_MS - 60_000)
    assert.deepEqual(named(findings), [`orphan ${orphan}`])
    assert.equal(tally.promised, 1)
  })
})
