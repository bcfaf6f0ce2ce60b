/** `verify --repair` on bad days: two places that are one, moves of others, removals that a store refuses, Ctrl-C. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'
import { alone, type MoveTurns } from '../src/area/turns.ts'
import { RepairCounts } from '../src/cli/repair-counts.ts'
import { Fault, isCode } from '../src/fault.ts'
import type { TwoTiers } from '../src/repair/context.ts'
import { removeTogether } from '../src/repair/remove-together.ts'
import type { Finding } from '../src/verify/finding.ts'
import { makeSite, never, type OldStore, type Site } from './support/verify-stage.ts'

async function countOf(store: OldStore | undefined): Promise<number> {
  let count = 0
  if (store) for await (const _ of store.list('', never)) count++
  return count
}

const tiersWith = (turns: Partial<MoveTurns>, apart = async () => {}): TwoTiers => ({
  apart,
  turns: { ...alone, ...turns },
})

/** Files that both tiers have. */
async function doubled(count: number): Promise<{ readonly site: Site; readonly disk: OldStore }> {
  const site = makeSite({ hybrid: true })
  const disk = site.disk as OldStore
  for (let i = 0; i < count; i++) {
    const bytes = Buffer.from(`the same, ${i}`)
    await site.put(disk, site.keyOf(await site.add({ bytes }), 'disk'), bytes)
  }
  return { site, disk }
}

describe('repair of doubles in two tiers', () => {
  it('removes nothing where the tiers are not proven to be two places', async () => {
    const { site, disk } = await doubled(3)
    const apart = async () => {
      throw new Fault('BadConfig', 'disk and store are one and the same place')
    }
    const dry = await site.repair({ repairs: { doubles: 'delete' }, tiers: tiersWith({}, apart), yes: false })
    assert.equal(dry.repaired.length, 3)
    const { refused, repaired } = await site.repair({ repairs: { doubles: 'delete' }, tiers: tiersWith({}, apart) })
    assert.match(refused?.message ?? '', /one and the same place/)
    assert.deepEqual([repaired, await countOf(disk), await countOf(site.store)], [[], 3, 3])
  })

  it('ends as soon as a removal has taken the kept object as well', async () => {
    const { site, disk } = await doubled(40)
    const { removeMany } = disk
    disk.removeMany = async (keys, signal) => {
      for (const key of keys) await site.store.remove(`pacs/${key.split('/').at(-1)}.dcm`, never)
      return removeMany(keys, signal)
    }
    const { refused } = await site.repair({ repairs: { doubles: 'delete' }, concurrency: 2 })
    assert.match(refused?.message ?? '', /is gone after its double was removed/)
    assert.ok((await countOf(site.store)) >= 37)
  })

  it('has the turn to move all the time, waits for nobody, and removes only as a move may', async () => {
    const { site, disk } = await doubled(3)
    const other = { host: 'elsewhere', pid: 7, since: 'noon' }
    const busy = tiersWith({ take: async () => ({ waitsFor: other }) })
    const { refused } = await site.repair({ repairs: { doubles: 'delete' }, tiers: busy })
    assert.match(refused?.message ?? '', /process 7 on elsewhere moves files/)
    const single = await doubled(0) // without a double, nobody waits for anybody
    assert.equal((await single.site.repair({ repairs: { doubles: 'delete' }, tiers: busy })).refused, undefined)
    assert.equal(await countOf(disk), 3)
    const said: string[] = []
    const turns: MoveTurns = {
      take: async () => {
        said.push('take')
        return { lost: false, end: async () => void said.push('end') }
      },
      removing: async (_uuid, tier, remaining, remove) => {
        if (said.push(`${tier} stays in ${remaining}`) === 2) throw new Fault('Unavailable', 'in doubt')
        await remove()
      },
    }
    const { repaired, notRepaired } = await site.repair({ repairs: { doubles: 'delete' }, tiers: tiersWith(turns) })
    const removal = 'file-system stays in object-storage'
    assert.deepEqual(said, ['take', removal, removal, removal, 'end'])
    assert.deepEqual([repaired.length, notRepaired.map(({ message }) => message)], [2, ['in doubt']])
    assert.deepEqual([await countOf(disk), await countOf(site.store)], [1, 3])
  })
})

describe('repair of orphans', () => {
  async function withOrphans(count: number): Promise<Site> {
    const site = makeSite()
    await site.add()
    for (let i = 0; i < count; i++)
      await site.put(site.store, site.keyOf({ uuid: randomUUID(), type: 'dicom' }), Buffer.from('nobody knows me'))
    return site
  }

  it('ends when a store refuses all removals, before everything is in the trash as well', async () => {
    const site = await withOrphans(1_500)
    site.store.removeMany = async keys => new Map(keys.map(key => [key, new Fault('Denied', 'retention')]))
    const { refused, notRepaired } = await site.repair({ repairs: { orphans: 'trash' }, expect: 1_500 })
    assert.ok(isCode(refused, 'Denied'))
    assert.match(refused.message, /none of 1000 objects could be removed/)
    assert.equal(notRepaired.length, 1_000)
    assert.equal(await countOf(site.store), 1 + 1_500 + 1_000)
  })

  for (const how of ['trash', 'delete'] as const)
    it(`counts what may be gone after Ctrl-C as not known (${how})`, async () => {
      const site = await withOrphans(30)
      site.store.removeMany = async () => {
        throw new Fault('Canceled', 'interrupted by SIGINT')
      }
      const { refused, notRepaired, repaired } = await site.repair({ repairs: { orphans: how }, expect: 30 })
      assert.ok(isCode(refused, 'Canceled'))
      assert.deepEqual([repaired, notRepaired.length], [[], 30])
      assert.match(notRepaired[0]?.message ?? '', /nothing is known of its removal/)
    })

  it('counts all that is gone, also when the report cannot be written any more', async () => {
    const site = await withOrphans(30)
    let told = 0
    const onRepaired = () => {
      told++
      throw new Fault('TooLarge', 'the disk is full')
    }
    const { refused } = await site.repair({ repairs: { orphans: 'delete' }, expect: 30, onRepaired })
    assert.ok(isCode(refused, 'TooLarge'))
    assert.deepEqual([told, await countOf(site.store)], [30, 1])
  })
})

describe('a removal of many objects', () => {
  it('ends after Ctrl-C, so that it is known what is gone; one that hangs is given up', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    for (const hangs of [false, true]) {
      const stop = new AbortController()
      const removal = removeTogether(
        {
          removeMany: async (keys, signal) => {
            stop.abort(new Fault('Canceled', 'interrupted by SIGINT'))
            assert.ok(!signal.aborted)
            if (hangs)
              await new Promise((_, reject) => {
                signal.addEventListener('abort', () => reject(signal.reason))
                t.mock.timers.tick(10_000)
              })
            return new Map(keys.map(key => [key, 'gone']))
          },
        },
        ['a'],
        stop.signal,
      )
      if (hangs) await assert.rejects(removal, { code: 'Canceled' })
      else assert.deepEqual(await removal, new Map([['a', 'gone']]))
      await assert.rejects(removeTogether({ removeMany: () => assert.fail() }, ['a'], stop.signal), {
        code: 'Canceled',
      })
    }
  })
})

it('what was repaired of one kind mends no other kind', () => {
  const counts = new RepairCounts()
  const finding = { kind: 'leftover' } as Finding
  counts.add({ finding, how: 'discard' })
  counts.add({ finding, how: 'discard' })
  counts.settle({ kind: 'orphan' } as Finding)
  assert.deepEqual([counts.mended('leftover'), counts.mended('orphan'), counts.mended('missing')], [2, 1, 0])
})
