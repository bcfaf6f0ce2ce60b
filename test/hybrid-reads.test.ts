/** Reads of two tiers when one of them is slow, silent, forbids, or breaks in the middle. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { TierName } from '../src/area/area.ts'
import { type HybridArea, hybridArea } from '../src/area/hybrid.ts'
import { otherTier, type Tier } from '../src/area/tier.ts'
import { type Content, checkedContent, collect, sourceOf } from '../src/bytes.ts'
import { Fault, type FaultCode } from '../src/fault.ts'
import type { Store } from '../src/stores/store.ts'
import {
  digests,
  fileBytes,
  fileSystem,
  keyOn,
  makeHybrid as makeTiers,
  moveOptions,
  never,
  newFile,
  objectStorage,
  readWhole,
  storeOn,
} from './support/tiers.ts'

type Wraps = NonNullable<Parameters<typeof makeTiers>[1]>

/** Its patience is over at the next moment, so that no test waits. */
function makeHybrid(primary: typeof fileSystem | typeof objectStorage, wraps: Wraps = {}) {
  const { area, stores } = makeTiers(primary, wraps)
  const warnings: string[] = []
  const hasty = hybridArea({
    tiers: area.tiers,
    primary,
    digests,
    warn: line => void warnings.push(line),
    askOtherAfterMs: 0,
    silenceMs: 1,
  })
  return { area: hasty, stores, warnings }
}

/** Answers when the test says so, or when the read is given up. */
function slow() {
  const asked: { signal: AbortSignal; answer(): void }[] = []
  const wrap = (store: Store): Store => ({
    ...store,
    async get(key, range, signal) {
      const told = Promise.withResolvers<void>()
      asked.push({ signal, answer: told.resolve })
      signal.addEventListener('abort', () => told.reject(signal.reason))
      await told.promise
      return store.get(key, range, signal)
    },
  })
  return { asked, wrap }
}

/** Breaks after its first bytes, so many times. */
const breaking =
  (times: number, options = { retryable: true }, code: FaultCode = 'Unavailable') =>
  (store: Store): Store => {
    let left = times
    return {
      ...store,
      async get(key, range, signal) {
        const whole = await collect(await store.get(key, range, signal))
        if (left-- <= 0) return checkedContent(whole.byteLength, sourceOf(whole).open())
        return {
          size: whole.byteLength,
          body: (async function* () {
            yield whole.subarray(0, 5)
            throw new Fault(code, `${store.name} broke`, options)
          })(),
        }
      },
    }
  }

/** Falls silent after its first bytes, until the test lets it go on. `asked`: the signal of each reading. */
function silent() {
  const asked: AbortSignal[] = []
  const on = Promise.withResolvers<void>()
  const wrap = (store: Store): Store => ({
    ...store,
    async get(key, range, signal) {
      const whole = await collect(await store.get(key, range, signal))
      asked.push(signal)
      const body = async function* () {
        yield whole.subarray(0, 5)
        await on.promise
        yield whole.subarray(5)
      }
      return { size: whole.byteLength, body: body() }
    },
  })
  return { wrap, asked, goOn: on.resolve }
}

const deliver = async (area: HybridArea, attachment = newFile(), range?: { start: number; end: number }) => {
  const tries: string[] = []
  const use = async ({ body }: Content) => {
    const at = tries.push('') - 1
    for await (const chunk of body) tries[at] += String(Buffer.from(chunk))
    return tries[at]
  }
  const got = await area.deliver(attachment, range, use, never)
  return { got, tries }
}

for (const primary of [fileSystem, objectStorage] as const)
  describe(`a read of a hybrid area whose ${primary} is first`, () => {
    const secondary = otherTier[primary]

    it('finds a file that is moved to and fro between the looks', async () => {
      const attachment = newFile()
      const { area: calm, stores } = makeTiers(primary)
      await storeOn(stores, secondary, attachment)
      const goals = [undefined, primary, secondary] // before the first look, the second, the third
      const moving = (name: TierName): Tier => ({
        ...calm.tiers[name],
        area: {
          ...calm.tiers[name].area,
          async read(...all: Parameters<HybridArea['read']>) {
            const goal = goals.shift()
            if (goal) await area.move(attachment, goal, moveOptions, never)
            return calm.tiers[name].area.read(...all)
          },
        },
      })
      const forOrthanc = { [fileSystem]: moving(fileSystem), [objectStorage]: moving(objectStorage) }
      const area: HybridArea = hybridArea({ tiers: calm.tiers, forOrthanc, primary, digests, warn: () => {} })
      assert.deepEqual(await readWhole(area, attachment), fileBytes)
    })

    it('takes the file from the second while the first does not answer, and gives that up', async () => {
      const { asked, wrap } = slow()
      const { area, stores, warnings } = makeHybrid(primary, { [primary]: wrap })
      const attachment = newFile()
      for (const tier of [primary, secondary]) await storeOn(stores, tier, attachment)
      assert.deepEqual(await readWhole(area, attachment), fileBytes)
      assert.equal(asked.length, 1)
      assert.ok(asked[0]?.signal.aborted)
      assert.match(warnings.join(), /does not answer; '.*' was read from/)
    })

    it('waits for the first when the second has nothing, and lets go of the second when it is late', async () => {
      const one = slow()
      const two = slow()
      const { area, stores, warnings } = makeHybrid(primary, { [primary]: one.wrap, [secondary]: two.wrap })
      const attachment = newFile()
      for (const tier of [primary, secondary]) await storeOn(stores, tier, attachment)
      const reading = readWhole(area, attachment)
      while (two.asked.length === 0) await turn()
      one.asked[0]?.answer()
      assert.deepEqual(await reading, fileBytes)
      assert.ok(two.asked[0]?.signal.aborted)
      assert.deepEqual(warnings, [])
    })

    it('lets go of both when nobody wants the file any more', async () => {
      const one = slow()
      const two = slow()
      const { area } = makeHybrid(primary, { [primary]: one.wrap, [secondary]: two.wrap })
      const abort = new AbortController()
      const reading = area.read(newFile(), undefined, abort.signal)
      while (two.asked.length === 0) await turn()
      abort.abort(new Fault('Canceled', 'gone'))
      await assert.rejects(reading, { code: 'Canceled' })
      assert.ok(one.asked[0]?.signal.aborted && two.asked[0]?.signal.aborted)
    })

    it('goes on from a first that forbids what may be absent, without a word; found nowhere, that is what is told', async () => {
      const forbids = (store: Store): Store => ({
        ...store,
        async get(key, range, signal) {
          if (await store.stat(key, signal)) return store.get(key, range, signal)
          throw new Fault('Denied', 'AccessDenied', { perhapsAbsent: true })
        },
      })
      const { area, stores, warnings } = makeHybrid(primary, { [primary]: forbids })
      const attachment = newFile()
      await storeOn(stores, secondary, attachment)
      assert.deepEqual(await readWhole(area, attachment), fileBytes)
      assert.deepEqual(warnings, [])
      await assert.rejects(area.read(newFile(), undefined, never), { code: 'Denied' })
    })

    it('takes from the second what is in an archive', async () => {
      const archived = (store: Store): Store => ({
        ...store,
        get: () => Promise.reject(new Fault('Archived', 'archived')),
      })
      const { area, stores } = makeHybrid(primary, { [primary]: archived })
      const attachment = newFile()
      for (const tier of [primary, secondary]) await storeOn(stores, tier, attachment)
      assert.deepEqual(await readWhole(area, attachment), fileBytes)
      await assert.rejects(area.read(newFile(), undefined, never), { code: 'Archived' })
    })

    it('delivers from the other tier, from the first byte on, what breaks in the middle', async () => {
      for (const options of [{ retryable: true }, { retryable: false }]) {
        const { area, stores, warnings } = makeHybrid(primary, { [primary]: breaking(9, options) })
        const attachment = newFile()
        for (const tier of [primary, secondary]) await storeOn(stores, tier, attachment)
        const { got, tries } = await deliver(area, attachment)
        assert.deepEqual([got, tries], [String(fileBytes), [String(fileBytes).slice(0, 5), String(fileBytes)]])
        assert.match(warnings.join(), /broke.*; it was read from/)
        const part = await deliver(area, attachment, { start: 4, end: 9 })
        assert.equal(part.got, String(fileBytes).slice(4, 9))
      }
    })

    it('delivers once more from the same tier what the other does not have', async () => {
      for (const tier of [primary, secondary]) {
        const { area, stores } = makeHybrid(primary, { [tier]: breaking(1) })
        const attachment = newFile()
        await storeOn(stores, tier, attachment)
        assert.equal((await deliver(area, attachment)).got, String(fileBytes))
      }
    })

    it('delivers what breaks in the middle also when a move has ended since the other tier was looked at', async () => {
      const attachment = newFile()
      const moved = Promise.withResolvers<void>()
      /** Says that it does not have the file, which comes at that moment. */
      const tooEarly = (store: Store): Store => ({
        ...store,
        get: (key, range, signal) =>
          store.get(key, range, signal).catch(async error => {
            await storeOn(stores, secondary, attachment)
            await stores[primary].remove(keyOn(primary, attachment), never)
            moved.resolve()
            throw error
          }),
      })
      const { area, stores } = makeHybrid(primary, { [primary]: breaking(1), [secondary]: tooEarly })
      await storeOn(stores, primary, attachment)
      assert.equal((await deliver(area, attachment)).got, String(fileBytes))
      await moved.promise
    })

    it('delivers from the other tier what falls silent in the middle, and gives that up', async () => {
      const { wrap, asked } = silent()
      const { area, stores, warnings } = makeHybrid(primary, { [primary]: wrap })
      const attachment = newFile()
      for (const tier of [primary, secondary]) await storeOn(stores, tier, attachment)
      assert.equal((await deliver(area, attachment)).got, String(fileBytes))
      assert.ok(asked[0]?.aborted)
      assert.match(warnings.join(), /no byte has come.*; it was read from/)
    })

    it('waits for what falls silent in the middle when the other tier does not have it, or cannot say', async () => {
      for (const refuses of [false, true]) {
        const { wrap, goOn } = silent()
        const looked = Promise.withResolvers<void>()
        const looking = (store: Store): Store => ({
          ...store,
          async stat(key, signal) {
            looked.resolve()
            if (refuses) throw new Fault('Unavailable', 'away')
            return store.stat(key, signal)
          },
        })
        const { area, stores, warnings } = makeHybrid(primary, { [primary]: wrap, [secondary]: looking })
        const attachment = newFile()
        await storeOn(stores, primary, attachment)
        const delivered = deliver(area, attachment)
        await looked.promise
        goOn()
        assert.deepEqual((await delivered).tries, [String(fileBytes)])
        assert.deepEqual(warnings, [])
      }
    })

    it('tells what broke when nobody can deliver it, and repeats nothing that is final', async () => {
      const { area, stores } = makeHybrid(primary, { [primary]: breaking(9, { retryable: false }, 'Corrupt') })
      const attachment = newFile()
      await storeOn(stores, primary, attachment)
      await assert.rejects(deliver(area, attachment), { code: 'Corrupt', message: /broke/ })
    })

    it('repeats nothing when it is the reader that fails', async () => {
      const { area, stores } = makeHybrid(primary)
      const attachment = newFile()
      for (const tier of [primary, secondary]) await storeOn(stores, tier, attachment)
      let uses = 0
      const use = () => {
        uses++
        return Promise.reject(new Fault('Unavailable', 'the plugin hung up'))
      }
      await assert.rejects(area.deliver(attachment, undefined, use, never), /hung up/)
      assert.equal(uses, 1)
    })
  })
