/** Must fail: whatever happened to a file of the cache, no wrong byte of it is served, and no reader gets an error. */
import assert from 'node:assert/strict'
import { readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs'
import { it } from 'node:test'
import { cacheSetting, copiesIn, flip, MB } from './support/cache-folder.ts'
import { noise } from './support/store.suite.ts'

const size = 600 * 1024

it('a flipped byte anywhere is never served, and never an error', async () => {
  const { path, asked, cache, read, write } = await cacheSetting()
  const bytes = noise(size)
  await write('k', bytes)
  await read('k')
  await cache.settled()
  const [file = ''] = copiesIn(path)
  const good = readFileSync(file)
  const head = good.byteLength - size
  const places = [...Array(head).keys(), head, head + 1, head + 262_143, head + 262_144, good.byteLength - 1]
  for (const at of places) {
    writeFileSync(file, good)
    flip(file, at, 1 << (at % 8))
    const before = asked.length
    assert.ok((await read('k')).equals(bytes), `byte ${at}`)
    assert.equal(asked.length, before + 1, `byte ${at} was served`)
    await cache.settled()
  }
  assert.equal(cache.figures().dropped, places.length)
})

it('a flipped byte behind the first part: the rest comes from the store', async () => {
  const { path, asked, cache, read, write } = await cacheSetting()
  const bytes = noise(5 * MB)
  await write('k', bytes)
  // When the disk is slower than the reader, the copy is given up, and the next read makes one.
  while (copiesIn(path).length === 0) {
    await read('k')
    await cache.settled()
  }
  const before = asked.length
  const [file = ''] = copiesIn(path)
  flip(file, 4 * MB)
  assert.ok((await read('k')).equals(bytes))
  assert.equal(asked.length, before + 1)
  assert.equal(cache.figures().dropped, 1)
})

for (const [what, harm] of [
  ['truncated', (file: string) => truncateSync(file, 1000)],
  ['empty', (file: string) => truncateSync(file, 0)],
  ['full of zeros', (file: string) => writeFileSync(file, Buffer.alloc(10_100))],
  ['a stranger', (file: string) => writeFileSync(file, 'something else')],
] as const)
  it(`a file that is ${what} is dropped`, async () => {
    const { path, asked, cache, read, write } = await cacheSetting()
    await write('k', noise(10_000))
    await read('k')
    await cache.settled()
    for (const file of copiesIn(path)) harm(file)
    assert.ok((await read('k')).equals(noise(10_000)))
    await cache.settled()
    assert.ok((await read('k')).equals(noise(10_000)))
    assert.equal(asked.length, 2)
  })

it('a file under the name of another is dropped', async () => {
  const { path, asked, cache, read, write } = await cacheSetting()
  await write('a', noise(1000))
  await read('a')
  await cache.settled()
  const [ofA = ''] = copiesIn(path)
  await write('b', noise(2000))
  await read('b')
  await cache.settled()
  const ofB = copiesIn(path).find(file => file !== ofA) ?? ''
  renameSync(ofA, ofB)
  assert.ok((await read('b')).equals(noise(2000)))
  assert.equal(asked.length, 3)
})
