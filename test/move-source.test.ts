/** The file that is moved, while somebody seals it again. Its tier is played here. */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import { MoveSource } from '../src/area/move-source.ts'
import type { Tier } from '../src/area/tier.ts'
import { collectSource, sourceOf } from '../src/bytes.ts'
import { noise } from './support/noise.ts'
import { digests, makeHybrid, never, newFile, objectStorage, storeOn } from './support/tiers.ts'

it('is read again with its new data key when it was sealed again meanwhile', async () => {
  const { area, stores } = makeHybrid(objectStorage)
  const attachment = newFile()
  const bytes = noise(600_000)
  await storeOn(stores, objectStorage, attachment, bytes)
  const other = Buffer.alloc(bytes.byteLength)
  let opened = 0
  const from: Tier = {
    ...area.tiers[objectStorage],
    async ranges() {
      const seen = opened++ === 0 ? other : bytes // the old data key makes something else of the new object
      return async ({ start, end }) => ({ size: end - start, body: sourceOf(seen).open({ start, end }) })
    },
  }
  const source = new MoveSource({ from, attachment, digests, signal: never })
  await source.fingerprint()
  const body = await source.source()
  await assert.rejects(collectSource(body), /changed after it was verified/)
  assert.ok((await collectSource(body)).equals(bytes))
  await source.end()
})
