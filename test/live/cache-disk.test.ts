/** A cache on real file systems that are full, read-only, or hang: they turn it off, and no reader feels more. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { until } from '../../harness/until.ts'
import { collect, sourceOf } from '../../src/bytes.ts'
import type { DiskCache } from '../../src/stores/cache/cache.ts'
import { cacheIn, copiesIn, MB } from '../support/cache-folder.ts'
import { memoryStore } from '../support/memory-store.ts'
import { never, noise } from '../support/store.suite.ts'
import { freezeDisk, hang, makeReadOnly, mountExt4, thawDisk, unmountAll, whyNoMounts } from './support/mounts.ts'

const missing = whyNoMounts()
if (missing && process.env['LIVE'] === 'required') throw new Error(`LIVE=required, but ${missing}`)
if (missing) process.stderr.write(`\nSKIPPED: ${process.argv[1]}: ${missing}\n\n`)

describe('a cache whose disk', { skip: missing !== undefined }, () => {
  let above: string
  let disk: string
  let cache: DiskCache
  let lines: string[]
  const store = memoryStore()

  beforeEach(async () => {
    above = mkdtempSync(join(tmpdir(), 'ocs-cache-disk-'))
    disk = join(above, 'disk')
    mountExt4(disk, join(above, 'image'), 16)
    lines = []
    const limits = { timeoutMs: 500, longTimeoutMs: 1_000 }
    cache = cacheIn(join(disk, 'cache'), { onWrite: true, warn: line => lines.push(line), limits })
    await cache.start()
  })
  afterEach(async () => {
    await cache.close()
    unmountAll(disk)
    rmSync(above, { recursive: true })
  })

  const works = async (key: string, size = MB) => {
    const cached = cache.around(store)
    await cached.put(key, sourceOf(noise(size)), never)
    assert.ok((await collect(await cached.get(key, undefined, never))).equals(noise(size)))
  }
  const isOff = async (words: RegExp) => {
    await until('the cache to be off', () => !cache.on)
    assert.equal(lines.length, 1)
    assert.match(lines[0] ?? '', words)
    await works('while off')
    await cache.around(store).remove('while off', never)
    assert.equal(lines.length, 1)
  }

  it('is full turns off, and leaves no unfinished file', async () => {
    const { bavail, bsize } = statfsSync(disk)
    writeFileSync(join(disk, 'others'), Buffer.alloc(bavail * bsize - 3 * MB))
    for (let i = 0; i < 6 && cache.on; i++) {
      await works(`key${i}`)
      await cache.settled()
    }
    await isOff(/is off, and all files are read from the store: .*(no space left|ENOSPC).*Make room/i)
    const names = readdirSync(join(disk, 'cache'), { recursive: true, encoding: 'utf8' })
    assert.deepEqual(
      names.filter(name => name.endsWith('.tmp')),
      [],
    )
    rmSync(join(disk, 'others'))
    await cache.start(false)
    await works('again')
    await until('it to be on again', () => lines.length === 2)
    assert.match(lines[1] ?? '', /on again/)
  })

  it('becomes read-only turns off', async () => {
    await works('before')
    await cache.settled()
    await until('the disk to be read-only', () => makeReadOnly(disk, true))
    await works('a')
    await isOff(/is off.*(read-only|EROFS)/i)
    makeReadOnly(disk, false)
    await cache.start(false)
    assert.equal(cache.on, true)
  })

  it('hangs at writes delays nobody, and turns off', async () => {
    await works('before')
    await cache.settled()
    freezeDisk(disk)
    try {
      await works('a')
      await isOff(/is off.*does not answer/)
    } finally {
      thawDisk(disk)
    }
  })

  it('hangs at everything turns off; a start over it is not refused', async () => {
    const hung = join(above, 'hung')
    mkdirSync(hung)
    const end = hang(hung)
    try {
      const other = cacheIn(join(hung, 'cache'), { warn: line => lines.push(line), limits: { timeoutMs: 200 } })
      await other.start()
      assert.equal(other.on, false)
      assert.match(lines[0] ?? '', /is off.*does not answer/)
      await store.put('k', sourceOf(noise(10)), never)
      assert.ok((await collect(await other.around(store).get('k', undefined, never))).equals(noise(10)))
      await other.close()
    } finally {
      end()
    }
    assert.equal(copiesIn(join(disk, 'cache')).length, 0)
  })
})
