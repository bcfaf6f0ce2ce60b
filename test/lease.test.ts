/** Whose turn it is to move files: takeovers, crashes at each step, holders that were paused and come back. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { directoryStore } from '../src/stores/directory/directory.ts'
import type { LeaseShare } from '../src/stores/directory/lease.ts'
import { thisProcess } from '../src/stores/directory/lease-process.ts'
import { LEASE } from '../src/stores/directory/names.ts'
import { type Mover, Movers, shareOf, waitsFor } from './support/movers.ts'

const FILE = 'aaaabbbb-0000-4000-8000-000000000000'
const DISK = 'file-system'
const CLOUD = 'object-storage'
const never = new AbortController().signal

describe('the lease of moves', () => {
  let movers: Movers
  beforeEach(() => {
    movers = new Movers()
  })
  afterEach(() => movers.dispose())

  /** A removal that stops in the middle until it is told to go on. */
  function slowly() {
    const begun = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const remove = async () => {
      begun.resolve()
      await goOn.promise
    }
    return { begun: begun.promise, goOn: goOn.resolve, remove }
  }
  const removes = async ({ lease }: Mover, place: string, remaining: string) => {
    let removed = false
    await lease.removing(FILE, place, remaining, async () => {
      removed = true
    })
    return removed
  }

  it('is held by one process at a time, says by whom, and leaves nothing behind', async () => {
    const [a, b] = [movers.add(), movers.add()]
    const share = await shareOf(a)
    assert.equal(await waitsFor(b), 'host-0')
    await share.end()
    const next = await shareOf(b)
    assert.equal(await waitsFor(a), 'host-1')
    await next.end()
    assert.deepEqual(movers.names(), [])
  })

  it('is shared by the jobs of one process until the last one ends', async () => {
    const [a, b] = [movers.add(), movers.add()]
    const shares = [await shareOf(a), await shareOf(a)]
    await shares[0]?.end()
    assert.equal(await waitsFor(b), 'host-0')
    await shares[1]?.end()
    assert.equal(await waitsFor(b), undefined)
  })

  it('goes to exactly one of many that want it at once', async () => {
    for (let round = 0; round < 30; round++) {
      const all = Array.from({ length: 6 }, () => movers.add())
      const taken = await Promise.all(all.map(({ lease }) => lease.take()))
      const shares = taken.filter(one => !('waitsFor' in one)) as LeaseShare[]
      assert.equal(shares.length, 1)
      await shares[0]?.end()
    }
    assert.deepEqual(movers.names(), [])
  })

  it('is no file of the store, and no store can have a key of that name', async () => {
    const store = directoryStore(movers.folder, { marked: false })
    await shareOf(movers.add())
    writeFileSync(join(movers.folder, 'real'), '')
    const keys: string[] = []
    for await (const { key } of store.list('', never)) keys.push(key)
    assert.deepEqual(keys, ['real'])
    await assert.rejects(store.stat(`${LEASE}/holder`, never), { code: 'BadRequest' })
  })

  it('stays with a holder that lives, however long, and however the others are paused', async () => {
    const [a, b] = [movers.add(), movers.add()]
    const share = await shareOf(a)
    assert.equal(await movers.pass(100, b), undefined)
    movers.seconds += 100 // b was stopped
    assert.equal(await movers.pass(3, b), undefined)
    assert.equal(share.lost, false)
  })

  it('is taken from a silent holder on another host after 30 seconds of looking, no sooner', async () => {
    const [a, b] = [movers.add(), movers.add()]
    const share = await shareOf(a)
    a.paused = true
    assert.equal(await movers.pass(25, b), undefined)
    movers.seconds += 60 // b was stopped as well, or the disk: who knows what the holder did?
    assert.equal(await movers.pass(30, b), undefined)
    assert.ok(await movers.pass(2, b))
    assert.match(b.warnings.join(), /process 7 on host-0 was silent in its turn to move files: it has lost its turn/)
    a.paused = false
    await movers.pass(1)
    assert.equal(share.lost, true)
    assert.match(a.warnings.join(), /another one has it now/)
    await share.end()
    assert.equal(await waitsFor(a), 'host-1', 'the end of what was lost takes nothing from the new holder')
  })

  it('is taken at once from a process of this machine that has ended', async () => {
    const program = `
      const { directoryStore } = await import('${join(import.meta.dirname, '../src/stores/directory/directory.ts')}')
      const lease = directoryStore('${movers.folder}', { marked: false }).lease({ place: '${DISK}', warn() {} })
      await lease.removing('${FILE}', '${DISK}', '${CLOUD}', async () => {
        process.stdout.write('in the middle of a removal')
        await new Promise(resolve => setTimeout(resolve, 1e9))
      })`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    const next = movers.add(thisProcess())
    assert.notEqual(await waitsFor(next), undefined, 'it lives')
    child.kill('SIGKILL')
    await once(child, 'exit')
    const share = await shareOf(next)
    assert.equal(await removes(next, CLOUD, DISK), true, 'what it had under way has ended with it')
    await share.end()
    assert.deepEqual(movers.names(), [])
  })

  it('is taken at once when another process of this machine has the number of the holder', async () => {
    await shareOf(movers.add({ ...thisProcess(), started: 'long ago' }))
    assert.equal(await waitsFor(movers.add(thisProcess())), undefined)
  })

  describe('when a holder was paused and lost it', () => {
    it('before a removal: the removal does not begin', async () => {
      const [a, b] = [movers.add(), movers.add()]
      const share = await shareOf(a)
      a.paused = true
      const taken = await movers.pass(40, b)
      await assert.rejects(removes(a, DISK, CLOUD), /lost its turn/)
      assert.equal(share.lost, true)
      assert.equal(await removes(b, DISK, CLOUD), true)
      await taken?.end()
    })

    it('in a removal: the other copy is not removed until that removal has ended', async () => {
      const [a, b, c] = [movers.add(), movers.add(), movers.add()]
      await shareOf(a)
      a.paused = true
      const slow = slowly()
      const removal = a.lease.removing(FILE, DISK, CLOUD, slow.remove)
      await slow.begun
      const taken = await movers.pass(40, b)
      await assert.rejects(removes(b, CLOUD, DISK), /process 7 on host-0 may still remove the copy that would remain/)
      assert.equal(await removes(b, DISK, CLOUD), true, 'the same direction harms nothing')
      await taken?.end()
      const next = await shareOf(c)
      await assert.rejects(removes(c, CLOUD, DISK), /may still remove/, 'nor does who comes later')
      slow.goOn()
      await removal
      assert.equal(await removes(c, CLOUD, DISK), true)
      await next.end()
      assert.deepEqual(movers.names(), [])
    })
  })

  describe('after a crash', () => {
    const life = async (mover: Mover) => {
      const share = await shareOf(mover)
      await removes(mover, DISK, CLOUD)
      await share.end()
    }
    /** How many operations all of it takes. */
    const operations = async (mover: Mover, work: () => Promise<unknown>) => {
      const before = mover.disk.done
      await work()
      return mover.disk.done - before
    }

    it('before any step, the next holder gets it, and knows of a removal that was under way', async () => {
      const whole = movers.add()
      const steps = await operations(whole, () => life(whole))
      assert.ok(steps > 15)
      let doubts = 0
      for (let step = 0; step < steps; step++) {
        const dead = movers.add()
        dead.disk.left = step
        await life(dead).catch(() => {})
        const underWay = movers.names().some(name => name.endsWith(`${FILE}.${DISK}`))
        dead.paused = true
        const next = movers.add()
        const share = await movers.pass(40, next)
        assert.ok(share, `nobody gets it after a crash before step ${step}`)
        const refused = await removes(next, CLOUD, DISK).then(
          () => false,
          () => true,
        )
        assert.equal(refused, underWay, `after a crash before step ${step}`)
        if (refused) doubts++
        await share.end()
        movers.dispose()
        movers = new Movers()
        await life(movers.add())
      }
      assert.ok(doubts > 0, 'no crash was in a removal')
    })

    it('of who takes it over, before any step, the next one gets it and keeps the doubt', async () => {
      const silent = async () => {
        const mover = movers.add()
        await shareOf(mover)
        mover.paused = true
        const slow = slowly()
        const removal = mover.lease.removing(FILE, DISK, CLOUD, slow.remove)
        await slow.begun
        return { ...slow, removal }
      }
      for (let step = 0, ended = false; !ended; step++) {
        const first = await silent()
        const taker = movers.add()
        await movers.pass(29, taker)
        taker.disk.left = step
        const took = await movers.pass(3, taker).catch(() => undefined)
        ended = taker.disk.left > 0
        taker.paused = true
        taker.disk.left = 0
        const next = movers.add()
        const share = ended ? undefined : await movers.pass(80, next)
        if (!ended) assert.ok(share, `nobody gets it after a crash of the taker before step ${step}`)
        taker.disk.left = Number.POSITIVE_INFINITY
        await took?.end()
        const holder = ended ? taker : next
        if (ended) assert.equal(await waitsFor(holder), undefined)
        await assert.rejects(removes(holder, CLOUD, DISK), /may still remove/, `after step ${step}`)
        first.goOn()
        await first.removal
        assert.equal(await removes(holder, CLOUD, DISK), true)
        await share?.end()
        movers.dispose()
        movers = new Movers()
      }
    })
  })

  describe('that cannot be had', () => {
    for (const code of ['EROFS', 'EACCES', 'ENOTSUP', 'EXDEV'])
      it(`is refused with what to do (${code})`, async () => {
        const mover = movers.add()
        mover.disk.refuses = code
        const refused = /each must be allowed to make, rename and remove files and folders in Orthanc's Storage/
        const told = (error: { describe(): string }) => refused.test(error.describe())
        await assert.rejects(mover.lease.take(), told)
        await assert.rejects(removes(mover, DISK, CLOUD), told)
      })

    it('leaves its holder those removals, too, when the disk is full later', async () => {
      const mover = movers.add()
      const share = await shareOf(mover)
      mover.disk.refuses = 'ENOSPC'
      assert.equal(await removes(mover, DISK, CLOUD), true)
      await assert.rejects(removes(mover, CLOUD, DISK), { code: 'TooLarge' })
      mover.disk.refuses = undefined
      await share.end()
      assert.deepEqual(movers.names(), [])
    })

    it('on a full disk leaves only removals that make room there', async () => {
      const [a, b] = [movers.add(), movers.add()]
      a.disk.refuses = 'ENOSPC'
      await assert.rejects(a.lease.take(), { code: 'TooLarge' })
      assert.equal(await removes(a, DISK, CLOUD), true)
      await assert.rejects(removes(a, CLOUD, DISK), { code: 'TooLarge' })
      const share = await shareOf(b)
      await assert.rejects(removes(a, DISK, CLOUD), /it is the turn of process 7 on host-1/)
      await share.end()
    })
  })
})
