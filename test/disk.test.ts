/** A disk that hangs: FIFOs that nobody writes to stand for files on a network mount whose server is away. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { sourceOf } from '../src/bytes.ts'
import { compose } from '../src/compose.ts'
import { parseConfig } from '../src/config/config.ts'
import { logTo } from '../src/log.ts'
import { directoryStore } from '../src/stores/directory/directory.ts'
import { Disk } from '../src/stores/directory/disk.ts'
import { attempt } from '../src/stores/wrappers/retry.ts'
import { stayAlive } from './support/alive.ts'

stayAlive()

const never = new AbortController().signal
const silent = { code: 'Unavailable', message: /^the disk of .* does not answer/ }

/** What has become of it by now. */
const stateOf = (work: Promise<unknown>) =>
  Promise.race([
    work.then(
      () => 'done',
      () => 'given up',
    ),
    new Promise(resolve => setImmediate(() => resolve('waits'))),
  ])

/** Operations that end when the test says so. */
function byHand() {
  const begun: PromiseWithResolvers<string>[] = []
  const work = () => {
    const next = Promise.withResolvers<string>()
    begun.push(next)
    return next.promise
  }
  return { begun, work }
}

describe('a disk', () => {
  it('runs no more operations at once than it may, in the order of asking', async () => {
    const disk = new Disk('/x', { threads: 2 })
    const { begun, work } = byHand()
    const all = [1, 2, 3].map(() => disk.run(work))
    assert.equal(begun.length, 2)
    begun[0]?.resolve('one')
    assert.equal(await all[0], 'one')
    assert.equal(begun.length, 3)
    begun[2]?.reject(new Error('EIO'))
    await assert.rejects(all[2] as Promise<string>, /EIO/)
    begun[1]?.resolve('two')
    assert.equal(await all[1], 'two')
  })

  it('is not blamed for a time in which this process was stopped', async () => {
    const disk = new Disk('/x', { timeoutMs: 100 })
    const { begun, work } = byHand()
    const all = disk.run(work)
    // Nothing runs in this process meanwhile.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500)
    setImmediate(() => begun[0]?.resolve('it has answered'))
    assert.equal(await all, 'it has answered')
  })

  it('gives up what hangs, but counts it until it ends; when all hang, nobody waits', async () => {
    const disk = new Disk('/x', { threads: 2, timeoutMs: 5 })
    const { begun, work } = byHand()
    const [first, second, waiting] = [1, 2, 3].map(() => assert.rejects(disk.run(work), silent))
    await Promise.all([first, second, waiting])
    assert.equal(begun.length, 2) // the third never began
    await assert.rejects(disk.run(work), silent)
    assert.equal(begun.length, 2)
    begun[0]?.resolve('late')
    await begun[0]?.promise
    const next = disk.run(work, 60_000)
    assert.equal(begun.length, 3)
    begun[2]?.resolve('in time')
    assert.equal(await next, 'in time')
    begun[1]?.resolve('later still')
  })

  it('gives the next ones less time while one hangs, and all of it again afterwards', async t => {
    let time = 0
    t.mock.method(performance, 'now', () => time)
    const disk = new Disk('/x', { threads: 4, timeoutMs: 5 })
    const { begun, work } = byHand()
    const first = assert.rejects(disk.run(work), silent)
    const before = assert.rejects(disk.run(work, 16), silent)
    time = 5
    await first
    const suspicious = disk.run(work, 60)
    time = 16
    await before // so everybody has been looked at
    assert.equal(await stateOf(suspicious), 'given up')
    for (const one of begun.splice(0)) one.resolve('late')
    await stateOf(suspicious)
    assert.equal(disk.hangs, false)
    const patient = disk.run(work, 60)
    const short = assert.rejects(disk.run(work, 12), silent)
    time = 30
    await short
    assert.equal(await stateOf(patient), 'waits')
    for (const one of begun) one.resolve('in time')
    await patient
  })

  it('is not asked again by the retries: Orthanc waits', async () => {
    const disk = new Disk('/x', { threads: 8, timeoutMs: 5 })
    const { begun, work } = byHand()
    await assert.rejects(
      attempt(
        () => disk.run(work),
        { maxRetries: 3 },
        never,
        () => {},
      ),
      silent,
    )
    assert.equal(begun.length, 1)
    begun[0]?.resolve('late')
  })

  it('hands over a result that comes too late, so that it is released', async () => {
    const disk = new Disk('/x', { threads: 1, timeoutMs: 5 })
    const { begun, work } = byHand()
    const late = Promise.withResolvers<string>()
    await assert.rejects(disk.run(work, undefined, late.resolve), silent)
    begun[0]?.resolve('a file handle')
    assert.equal(await late.promise, 'a file handle')
  })
})

describe('a folder whose disk hangs', () => {
  let root: string
  const fifos: string[] = []
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'ocs-hang-'))
  })
  afterEach(() => {
    // Else the threads that hang would keep this process from its end.
    for (const fifo of fifos.splice(0)) closeSync(openSync(fifo, 'r+'))
    rmSync(root, { recursive: true, force: true })
  })
  const fifo = (path: string) => {
    execFileSync('mkfifo', [path])
    fifos.push(path)
  }
  const open = () => readdirSync('/proc/self/fd').length

  it('fails its own calls, answers the others, and closes what opens too late', async () => {
    const store = directoryStore(root, { limits: { threads: 2, timeoutMs: 200 } })
    await store.check(never)
    await store.put('file', sourceOf(Buffer.from('x')), never)
    const before = open()
    for (const name of ['one', 'two']) fifo(join(root, name))
    await assert.rejects(store.get('one', undefined, never), silent)
    assert.equal((await store.stat('file', never))?.size, 1)
    await assert.rejects(store.get('two', undefined, never), silent)
    for (const ask of [
      () => store.stat('file', never),
      () => store.remove('file', never),
      () => store.put('other', sourceOf(Buffer.from('x')), never),
      () => store.check(never, { purpose: 'status' }),
    ])
      await assert.rejects(ask(), silent)
    for (const name of fifos.splice(0)) closeSync(openSync(name, 'r+'))
    for (;;) {
      const size = await store.stat('file', never).then(
        stat => stat?.size,
        () => undefined,
      )
      if (size === 1 && open() === before) break
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  })

  it('keeps no look from its end: the signal ends it, long before the disk is given up', async () => {
    const store = directoryStore(root, { limits: { threads: 1, timeoutMs: 60_000 } })
    await store.check(never)
    fifo(join(root, 'hangs'))
    const before = open()
    const hanging = store.get('hangs', undefined, AbortSignal.timeout(30))
    await assert.rejects(hanging, { code: 'Timeout' })
    const looks = {
      get: (signal: AbortSignal) => store.get('file', undefined, signal),
      stat: (signal: AbortSignal) => store.stat('file', signal),
      list: async (signal: AbortSignal) => {
        for await (const _ of store.list('', signal));
      },
      check: (signal: AbortSignal) => store.check(signal),
      look: (signal: AbortSignal) => store.check(signal, { purpose: 'look' }),
      status: (signal: AbortSignal) => store.check(signal, { purpose: 'status' }),
    }
    for (const [name, look] of Object.entries(looks)) {
      await assert.rejects(look(AbortSignal.timeout(30)), { code: 'Timeout' }, name)
      const abort = new AbortController()
      const looking = look(abort.signal)
      abort.abort()
      await assert.rejects(looking, { code: 'Canceled' }, name)
    }
    for (const name of fifos.splice(0)) closeSync(openSync(name, 'r+'))
    await store.put('file', sourceOf(Buffer.from('x')), never)
    while (open() !== before) await new Promise(resolve => setTimeout(resolve, 5))
  })

  it('does not keep a process from its end', () => {
    fifo(join(root, 'hangs'))
    const program = `
      import { directoryStore } from ${JSON.stringify(join(import.meta.dirname, '../src/stores/directory/directory.ts'))}
      const store = directoryStore(process.argv[1], { limits: { timeoutMs: 20 } })
      const { signal } = new AbortController()
      await store.get('hangs', undefined, signal).catch(fault => console.log(fault.code))
      process.exit(3)`
    const ended = spawnSync(process.execPath, ['--input-type=module', '-e', program, root], {
      encoding: 'utf8',
      timeout: 300_000, // only if it is not mended
      killSignal: 'SIGTERM',
    })
    assert.deepEqual([ended.stdout, ended.signal], ['Unavailable\n', 'SIGKILL'])
  })

  it('does not keep the object store from its answer', async () => {
    const [disk, cloud] = [join(root, 'disk'), join(root, 'cloud')]
    mkdirSync(join(disk, 'ab', 'cd'), { recursive: true })
    const config = {
      StorageDirectory: disk,
      DirectoryStorage: { Path: cloud, HybridMode: 'WriteToFileSystem' },
    }
    const parsed = parseConfig(JSON.stringify(config)).config
    assert.ok(parsed)
    const composed = compose(
      parsed,
      logTo(() => {}),
    )
    const uuid = (n: number) => `abcd000${n}-0000-4000-8000-000000000000`
    const hanging = [1, 2, 3, 4].map(n => {
      fifo(join(disk, 'ab', 'cd', uuid(n)))
      return composed.area.read({ uuid: uuid(n), type: 'dicom' }, undefined, never)
    })
    const ended = Promise.allSettled(hanging)
    await composed.store.put(`${uuid(5)}.dcm`, sourceOf(Buffer.from('x')), never)
    const reading = await composed.area.read({ uuid: uuid(5), type: 'dicom' }, undefined, never)
    assert.equal(reading.size, 1)
    for await (const _ of reading.body);
    const writers = fifos.splice(0).map(name => openSync(name, 'r+'))
    await ended
    for (const writer of writers) closeSync(writer)
  })
})
