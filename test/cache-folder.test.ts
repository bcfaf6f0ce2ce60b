/** Which folders a cache takes, who may use one, and what a broken disk does: it turns the cache off, and no more. */
import assert from 'node:assert/strict'
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { collect, sourceOf } from '../src/bytes.ts'
import type { CacheOptions } from '../src/stores/cache/cache.ts'
import { FolderLock } from '../src/stores/cache/lock.ts'
import { Disk } from '../src/stores/directory/disk.ts'
import { thisProcess } from '../src/stores/directory/lease-process.ts'
import { cacheIn, copiesIn, dead, newFolder, startedCache } from './support/cache-folder.ts'
import { memoryStore } from './support/memory-store.ts'
import { never, noise } from './support/store.suite.ts'
import { undo } from './support/undo.ts'

const refusal = async (path: string, options: Partial<CacheOptions> = {}): Promise<string> => {
  const cache = cacheIn(path, options)
  undo.push(() => cache.close())
  return await cache.start().then(
    () => '',
    error => {
      assert.equal(error.code, 'BadConfig')
      return error.describe()
    },
  )
}

describe('the folder of a cache', () => {
  it('is made with mode 0700 and a mark', async () => {
    const path = newFolder()
    await startedCache(path)
    assert.equal(statSync(path).mode & 0o777, 0o700)
    assert.ok(readdirSync(path).includes('.orthanc-cloud-storage-cache'))
  })

  it('may be there, empty', async () => {
    const path = newFolder()
    mkdirSync(path, { mode: 0o700 })
    await startedCache(path)
  })

  it('is refused when it has files of others, and none of them is touched', async () => {
    const path = newFolder()
    mkdirSync(path, { mode: 0o700 })
    writeFileSync(join(path, 'image.dcm'), 'precious')
    assert.match(await refusal(path), /CloudStorage\.Cache\.Path is .* which has files that are not of the cache/)
    assert.deepEqual(readdirSync(path), ['image.dcm'])
  })

  it('is refused when others may look into it, empty or marked', async () => {
    const path = newFolder()
    await (await startedCache(path)).close()
    for (const mode of [0o755, 0o750, 0o770, 0o777, 0o500]) {
      chmodSync(path, mode)
      assert.match(await refusal(path), /CloudStorage\.Cache\.Path .* has mode \d+.*chmod 700/)
    }
  })

  it('is refused when it is a file, or cannot be made', async () => {
    const path = newFolder()
    assert.match(await refusal(join(path, 'missing', 'cache')), /cannot be made/)
    writeFileSync(path, '')
    assert.match(await refusal(path), /not a folder/)
    assert.match(await refusal(join(path, 'cache')), /cannot be made/)
  })

  it('is refused inside and around every folder of files, also through links', async () => {
    const path = newFolder()
    const above = dirname(path)
    const files = join(above, 'files')
    mkdirSync(files)
    symlinkSync(files, join(above, 'link'))
    symlinkSync(above, join(above, 'up'))
    const apart = [{ option: 'StorageDirectory', path: files }]
    for (const wrong of [
      files,
      join(files, 'cache'),
      above,
      join(above, 'link', 'cache'),
      join(above, 'up', 'files', 'c'),
    ])
      assert.match(await refusal(wrong, { apart }), /but StorageDirectory is .*outside of it/, wrong)
    const linked = [{ option: 'DirectoryStorage.Path', path: join(above, 'link', 'deep', 'folder') }]
    assert.match(await refusal(files, { apart: linked }), /but DirectoryStorage\.Path is/)
    assert.deepEqual(readdirSync(files), [])
    assert.equal(await refusal(path, { apart }), '')
    assert.equal(await refusal(`${files}-cache`, { apart }), '', 'a name that only begins alike')
  })
})

describe('one engine uses a cache', () => {
  it('another one is refused while it lives', async () => {
    const path = newFolder()
    await startedCache(path, { self: thisProcess() })
    const words = await refusal(path, { self: thisProcess(), patienceMs: 0 })
    assert.match(words, new RegExp(`CloudStorage.Cache.Path is ${path}, which process ${process.pid} .* uses`))
    assert.match(words, /a folder of its own/)
  })

  it('another one waits for one that is about to end', async () => {
    const path = newFolder()
    const first = await startedCache(path, { self: thisProcess() })
    const second = cacheIn(path, { self: thisProcess(), patienceMs: 60_000 })
    undo.push(() => second.close())
    const starting = second.start()
    await first.close()
    await starting
    assert.equal(second.on, true)
  })

  it('an engine that follows a dead one gets the folder, and one that follows a living one does without', async () => {
    const path = newFolder()
    const first = await startedCache(path, { self: thisProcess() })
    const lines: string[] = []
    const second = cacheIn(path, { self: thisProcess(), warn: line => lines.push(line) })
    undo.push(() => second.close())
    await second.start(false)
    assert.equal(second.on, false)
    assert.match(lines.join(), /the cache in .* is off, and all files are read from the store: .* uses/)
    await first.close()
    await second.start(false)
    assert.equal(second.on, true)
  })

  it('the lock of a dead process, and one that a power cut has emptied, go to the next one', async () => {
    const path = newFolder()
    await startedCache(path, { self: dead })
    await startedCache(path, { self: dead })
    writeFileSync(join(path, 'lock'), '')
    const third = await startedCache(path, { self: thisProcess() })
    assert.equal(third.on, true)
    assert.equal(JSON.parse(readFileSync(join(path, 'lock'), 'utf8').split('\n')[0] ?? '').pid, process.pid)
  })

  it('a lock from another machine is taken only when it does not change for half a minute', async () => {
    const path = newFolder()
    mkdirSync(path, { mode: 0o700 })
    const there = { ...dead, machine: 'another machine' }
    let now = 0
    const holder = new FolderLock(new Disk(path), path, there)
    const newcomer = new FolderLock(new Disk(path), path, thisProcess(), () => now)
    assert.equal(await holder.take(), undefined)
    for (; now < 60_000; now += 5_000) {
      assert.equal(await holder.beat(), true)
      assert.equal((await newcomer.take())?.lives, false)
    }
    for (let silence = 0; silence < 25_000; silence += 5_000, now += 5_000) assert.ok(await newcomer.take())
    assert.equal(await newcomer.take(), undefined)
    assert.equal(await holder.beat(), false, 'it knows that it has lost the lock')
  })
})

describe('a disk that fails', () => {
  const setting = async (options: Partial<CacheOptions> = {}) => {
    const path = newFolder()
    const lines: string[] = []
    const store = memoryStore()
    const cache = await startedCache(path, { warn: line => lines.push(line), ...options })
    const cached = cache.around(store)
    const read = async (key: string) => collect(await cached.get(key, undefined, never))
    return { path, lines, store, cache, cached, read }
  }

  it('turns the cache off with one warning; every file is still read, written and removed', async () => {
    const { path, lines, store, cache, cached, read } = await setting({ onWrite: true })
    rmSync(path, { recursive: true })
    for (const key of ['a', 'b', 'c']) {
      await cached.put(key, sourceOf(noise(1000)), never)
      await cache.settled()
      assert.ok((await read(key)).equals(noise(1000)))
    }
    await cached.remove('a', never)
    assert.equal(await store.stat('a', never), undefined)
    assert.equal(cache.on, false)
    assert.equal(lines.length, 1)
    assert.match(lines[0] ?? '', /the cache in .* is off/)
    assert.throws(() => statSync(path), 'nothing is made where the folder was')
  })

  it('that works again has no copy of what was removed or replaced meanwhile', async () => {
    const { path, lines, store, cache, cached, read } = await setting()
    for (const key of ['removed', 'replaced', 'same']) {
      await store.put(key, sourceOf(noise(1000)), never)
      await read(key)
      await cache.settled()
    }
    // The folder of one copy is a file now: that is no absence.
    const [copy = ''] = copiesIn(path)
    const away = `${dirname(copy)}.away`
    renameSync(dirname(copy), away)
    symlinkSync(dirname(copy), dirname(copy))
    for (const key of ['removed', 'replaced', 'same']) await read(key)
    assert.equal(cache.on, false)
    await cached.remove('removed', never)
    await cached.put('replaced', sourceOf(noise(10)), never)
    rmSync(dirname(copy))
    renameSync(away, dirname(copy))
    await cache.start(false)
    assert.equal(cache.on, true)
    await cache.settled()
    assert.equal(copiesIn(path).length, 1)
    assert.ok((await read('replaced')).equals(noise(10)))
    await cache.settled()
    assert.match(lines.at(-1) ?? '', /is on again/)
    assert.equal(lines.length, 2)
  })
})
