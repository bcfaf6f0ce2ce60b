/** `verify --repair missing=fetch-from`, over stores in memory. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { noise } from './support/noise.ts'
import { bytesOf, grown } from './support/repair.ts'
import { DAY_MS, type Encryption, makeSite, never, type Site } from './support/verify-stage.ts'

describe('repair of missing files', () => {
  const lostIn = async (encryption: Encryption, replica: Site, by?: 'nobody') => {
    const site = await grown(makeSite({ encryption }), 3)
    const bytes = noise(300_000)
    const file = await site.add({ bytes })
    await site.store.remove(site.keyOf(file), never)
    await replica.put(replica.store, replica.keyOf(file), bytes, by)
    return { site, file, bytes }
  }

  it('brings them from another store, and seals them as the configuration says', async () => {
    for (const [encryption, other] of [
      ['none', 'none'],
      ['on', 'none'],
      ['none', 'on'],
      ['on', 'on'],
    ] as const) {
      const replica = makeSite({ encryption: other, structure: 'legacy' })
      const { site, file, bytes } = await lostIn(encryption, replica)
      const dry = await site.repair({ repairs: { missing: replica.tiers }, yes: false })
      assert.equal((await site.verify()).findings.length, 1)
      const { repaired, notRepaired } = await site.repair({ repairs: { missing: replica.tiers } })
      assert.deepEqual([repaired, notRepaired], [[`fetch ${site.keyOf(file)}`], []])
      assert.deepEqual(dry.repaired, repaired)
      assert.deepEqual((await site.verify({ deep: true })).findings, [])
      assert.equal((await bytesOf(site.store, site.keyOf(file))).equals(bytes), encryption === 'none')
    }
  })

  it('writes only what has the size and the MD5 of the index', async () => {
    const replica = makeSite()
    const { site, file, bytes } = await lostIn('none', replica)
    const expectNothing = async (words: RegExp) => {
      const { repaired, notRepaired } = await site.repair({ repairs: { missing: replica.tiers } })
      assert.deepEqual([repaired, notRepaired.length], [[], 1])
      assert.match(notRepaired[0]?.describe() ?? '', words)
      assert.equal(await site.store.stat(site.keyOf(file), never), undefined)
    }
    await replica.put(replica.store, replica.keyOf(file), noise(300_000, 2))
    await expectNothing(/MD5 differs/)
    await replica.put(replica.store, replica.keyOf(file), bytes.subarray(1))
    await expectNothing(/299999 bytes instead of 300000/)
    await replica.store.remove(replica.keyOf(file), never)
    await expectNothing(/does not have it either/)
    site.index.files.set(file.uuid, { ...file, md5: undefined })
    await expectNothing(/the index has no MD5/)
  })

  it('brings back from the trash what the index has again, when the root path is that of the trash', async () => {
    const site = await grown(makeSite())
    const file = await site.add({ bytes: Buffer.from('needed') })
    site.index.files.delete(file.uuid)
    assert.equal((await site.repair({ repairs: { orphans: 'trash' } }, 0)).repaired.length, 1)
    site.index.files.set(file.uuid, file)
    const trash = makeSite({ rootPath: 'pacs/cloud-storage-trash', store: site.store })
    assert.equal((await site.repair({ repairs: { missing: trash.tiers } })).repaired.length, 1)
    assert.deepEqual((await site.verify({ deep: true, olderThanMs: DAY_MS })).findings, [])
  })
})
