import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { TierName } from '../src/area/area.ts'
import type { Tier } from '../src/area/tier.ts'
import { Fault } from '../src/fault.ts'
import { whereRoute } from '../src/routes/where.ts'
import type { RouteRequest } from '../src/wire/router.ts'
import { FakeOrthanc } from './support/fake-orthanc.ts'

describe('the places of files', () => {
  it('are asked for no more as soon as one cannot be told', async () => {
    const orthanc = new FakeOrthanc()
    const id = orthanc.addPatient('p', [1, 1, 200])
    let asked = 0
    const signals = new Set<AbortSignal>()
    const find: Tier['find'] = async (_attachment, signal) => {
      signals.add(signal)
      if (++asked === 20) throw new Fault('Unavailable', 'the store is away')
      await new Promise(resolve => setImmediate(resolve))
      return undefined
    }
    const route = whereRoute({ 'object-storage': { find } as Tier })
    const get = route.methods['GET']
    assert.ok(get)
    const signal = new AbortController().signal
    const request = { groups: ['patients', id] } as unknown as RouteRequest
    await assert.rejects(async () => await get(request, orthanc, signal), { code: 'Unavailable', message: /is away/ })
    const atTheFailure = asked
    for (let i = 0; i < 50; i++) await new Promise(resolve => setImmediate(resolve))
    assert.equal(asked, atTheFailure)
    assert.ok(asked < 30, `${asked} files were asked for`)
    for (const given of signals) assert.ok(given.aborted)
  })
  it('are looked for again when a move may have passed by between two looks, or took the file while it was looked at', async () => {
    const orthanc = new FakeOrthanc()
    const id = orthanc.addPatient('p', [1])
    for (const how of ['between', 'during']) {
      let at: TierName = 'object-storage'
      const tier = (name: TierName) =>
        ({
          area: { name },
          async find() {
            const found = at === name
            if (how === 'between') at = 'file-system' // after the look at the disk, before the one at the store
            return found ? { key: 'k', size: 1 } : undefined
          },
          async keyIdOf() {
            if (at === 'file-system') return undefined
            at = 'file-system'
            throw new Fault('NotFound', 'NoSuchKey')
          },
        }) as unknown as Tier
      const tiers = { 'file-system': tier('file-system'), 'object-storage': tier('object-storage') }
      const request = { groups: ['patients', id] } as unknown as RouteRequest
      const answer = await whereRoute(tiers).methods['GET']?.(request, orthanc, new AbortController().signal)
      const { Totals } = JSON.parse(String((answer as { body: unknown }).body))
      assert.deepEqual([how, Totals.Missing, Totals['file-system'].Files > 0], [how, 0, true])
    }
  })
})
