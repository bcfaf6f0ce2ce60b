import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { collect, sourceOf } from '../src/bytes.ts'
import { Fault } from '../src/fault.ts'
import { directoryStore } from '../src/stores/directory/directory.ts'
import { MARKER, temporaryName } from '../src/stores/directory/names.ts'
import type { Store } from '../src/stores/store.ts'
import { withChecksum } from '../src/stores/wrappers/checksum.ts'
import { withDeadline } from '../src/stores/wrappers/deadline.ts'
import { withLog } from '../src/stores/wrappers/log.ts'
import { newCounts, withMetrics } from '../src/stores/wrappers/metrics.ts'
import { withRetry } from '../src/stores/wrappers/retry.ts'
import { flaky } from './support/flaky.ts'
import { memoryStore } from './support/memory-store.ts'
import { describeStore, MANY, type Made, never, noise } from './support/store.suite.ts'

const silent = () => {}
const retried = withRetry({ maxRetries: 10, firstDelayMs: 1 }, silent)

const inMemory = async (wrap: (store: Store) => Store = store => store): Promise<Made> => ({
  store: wrap(memoryStore()),
  dispose: async () => {},
})

const inFolder = async (wrap: (store: Store) => Store = store => store): Promise<Made> => {
  const folder = mkdtempSync(join(tmpdir(), 'ocs-store-'))
  /** As a process leaves it that dies in the middle. */
  async function begin(key: string): Promise<void> {
    const below = join(folder, 'objects', dirname(key))
    mkdirSync(below, { recursive: true })
    writeFileSync(join(below, temporaryName(basename(key))), 'some bytes')
  }
  return {
    store: wrap(directoryStore(join(folder, 'objects'))),
    unfinished: { begin, removes: true },
    dispose: async () => rmSync(folder, { recursive: true, force: true }),
  }
}

describeStore('memory', () => inMemory(), { listed: MANY })
describeStore('directory', () => inFolder(), { listed: MANY })
describeStore('withLog(memory)', () => inMemory(withLog(silent)))
describeStore('withMetrics(memory)', () => inMemory(withMetrics(newCounts())))
describeStore('withChecksum(memory)', () => inMemory(withChecksum))
describeStore('withDeadline(memory)', () => inMemory(withDeadline(60_000, 'Raise Option.')))
describeStore('withRetry(memory)', () => inMemory(retried))
describeStore('withRetry(flaky(memory))', () => inMemory(store => retried(flaky(store))))
describeStore('withLog(withRetry(flaky(directory)))', () => inFolder(store => withLog(silent)(retried(flaky(store)))))

it('withMetrics counts operations, bytes and errors, but no absence', async () => {
  const counts = newCounts()
  const counted = withMetrics(counts)
  const store = counted(memoryStore())
  await store.put('k', sourceOf(noise(10)), never)
  await collect(await store.get('k', undefined, never))
  await collect(await store.get('k', { start: 0, end: 4 }, never))
  await store.remove('k', never)
  await assert.rejects(store.get('k', undefined, never))
  const { servedAt: _when, ...figures } = counts
  assert.deepEqual(figures, { reads: 2, writes: 1, removals: 1, errors: 0, bytesRead: 14, bytesWritten: 10 })
  const down = counted({ ...memoryStore(), put: () => Promise.reject(new Fault('Unavailable', 'down')) })
  await assert.rejects(down.put('k', sourceOf(noise(1)), never))
  assert.equal(counts.errors, 1)
})

describe('withDeadline', () => {
  const hanging = { ...memoryStore(), remove: (_key: string, signal: AbortSignal) => rejection(signal) }
  const rejection = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

  it('ends what takes too long, naming the remedy', async () => {
    const fault = { code: 'Timeout', retryable: false, remedy: 'Raise Some.Option.' }
    await assert.rejects(withDeadline(10, 'Raise Some.Option.')(hanging).remove('x', never), fault)
  })

  it('ends a body that takes too long', async () => {
    async function* endless(signal: AbortSignal) {
      yield noise(10)
      await rejection(signal)
    }
    const store = withDeadline(
      30,
      'Raise Some.Option.',
    )({
      ...memoryStore(),
      get: async (_key, _range, signal) => ({ size: 20, body: endless(signal) }),
    })
    await assert.rejects(async () => collect(await store.get('x', undefined, never)), { code: 'Timeout' })
  })
})

describe('a directory', () => {
  it('prunes the folders of what it removes, also those that a removal left when it died', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ocs-store-'))
    const store = directoryStore(folder)
    for (const key of ['a/b/1', 'a/b/2', 'c/d/1']) await store.put(key, sourceOf(noise(10)), never)
    await store.remove('a/b/1', never)
    assert.deepEqual(readdirSync(join(folder, 'a/b')), ['2'])
    await store.remove('a/b/2', never)
    rmSync(join(folder, 'c/d'), { recursive: true }) // killed after the file and its folder, before the next
    await store.remove('c/d/1', never)
    assert.deepEqual(readdirSync(folder), [MARKER])
    rmSync(folder, { recursive: true })
  })
})
