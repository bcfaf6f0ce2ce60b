/** `verify` over stores in memory: each kind of finding, alone and together. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'
import type { ContentType } from '../src/area/area.ts'
import { chanceOf } from './support/chance.ts'
import { fc } from './support/property.ts'
import { type Encryption, makeSite, named, never, type Site, type StageOptions } from './support/verify-stage.ts'

const sites: readonly StageOptions[] = (['flat', 'legacy'] as const).flatMap(structure =>
  (['none', 'on', 'on, and plain objects are read'] as const).flatMap(encryption =>
    [false, true].map(hybrid => ({ structure, encryption, hybrid })),
  ),
)
const nameOf = ({ structure, encryption, hybrid }: StageOptions) =>
  `${structure}, encryption ${encryption}${hybrid ? ', hybrid' : ''}`

describe('verify', () => {
  for (const options of sites)
    it(`finds nothing where nothing is wrong: ${nameOf(options)}`, async () => {
      const site = makeSite(options)
      for (const type of ['dicom', 'dicom-as-json', 'dicom-until-pixel-data', 'unknown'] as const) {
        await site.add({ type })
        await site.add({ type, bytes: Buffer.alloc(0) })
        if (options.hybrid) await site.add({ type, where: 'disk' })
        // On Orthanc's disk are plain files from before encryption.
        if (options.hybrid) await site.add({ type, where: 'disk', sealed: false })
        if (options.encryption === 'on, and plain objects are read') await site.add({ type, sealed: false })
      }
      for (const how of [{}, { digests: true }, { deep: true }]) {
        const { findings, failures, verification } = await site.verify(how)
        assert.deepEqual(findings, [])
        assert.deepEqual(failures, [])
        assert.ok(verification.complete)
        assert.ok(!verification.strange)
        const { tally } = verification
        assert.equal(tally.indexed, site.index.files.size)
        assert.equal(tally.present, site.index.files.size)
        assert.equal(tally.settled, 0)
        assert.equal(tally.read.files, 'deep' in how ? site.index.files.size : 0)
      }
    })

  it('names what is missing, and where it should be', async () => {
    const site = makeSite({ hybrid: true })
    await site.add()
    const file = await site.add()
    await site.store.remove(site.keyOf(file), never)
    const { findings } = await site.verify()
    assert.deepEqual(findings, [
      {
        kind: 'missing',
        uuid: file.uuid,
        type: 'dicom',
        key: `pacs/${file.uuid}.dcm`,
        store: 'store and disk',
        expected: `a file of ${file.size} bytes`,
        found: 'nothing',
      },
    ])
  })

  it('calls a file missing that is only there under a name that Orthanc does not read, and names it', async () => {
    const site = makeSite({ encryption: 'on' })
    const file = await site.add({ sealed: false })
    const { findings } = await site.verify()
    assert.deepEqual(named(findings), [`missing ${site.keyOf(file)}`])
    assert.match(findings[0]?.found ?? '', new RegExp(`only pacs/${file.uuid}.dcm, which this configuration does not`))
  })

  it('takes both sizes where the bytes show whether a file is sealed, and no third one', async () => {
    const site = makeSite({ encryption: 'on, and plain objects are read', structure: 'legacy' })
    await site.add({ sealed: false })
    const file = await site.add()
    assert.deepEqual((await site.verify()).findings, [])
    await site.put(site.store, site.keyOf(file), Buffer.alloc(file.size + 1), 'nobody')
    const { findings } = await site.verify()
    assert.deepEqual(named(findings), [`wrong size ${site.keyOf(file)}`])
    const { expected, found } = findings[0] ?? {}
    assert.equal(expected, `${file.size + 86} or ${file.size} bytes`)
    assert.equal(found, `${file.size + 1} bytes`)
  })

  it('calls nothing an orphan that is younger than the grace, by the clock of the store', async () => {
    const site = makeSite()
    await site.add()
    const [old, young] = [randomUUID(), randomUUID()].map(uuid => site.keyOf({ uuid, type: 'dicom' }))
    for (const key of [old, young]) await site.put(site.store, key ?? '', Buffer.from('x'))
    site.store.young.add(young ?? '')
    const { findings, verification } = await site.verify()
    assert.deepEqual(named(findings), [`orphan ${old}`])
    assert.equal(verification.tally.young, 1)
    assert.equal(verification.tally.places[0]?.clock, 'store')
    const all = await site.verify({ olderThanMs: 0 })
    assert.deepEqual(named(all.findings), [`orphan ${old}`, `orphan ${young}`].sort())
  })

  it('names doubles: both tiers, sealed and plain, two names', async () => {
    const site = makeSite({
      hybrid: true,
      encryption: 'on, and plain objects are read',
      legacyUnknownFiles: true,
    })
    const bytes = Buffer.from('the same')
    const [tiers, plain, head] = [
      await site.add({ bytes }),
      await site.add({ bytes }),
      await site.add({ bytes, type: 'dicom-until-pixel-data' }),
    ]
    const onDisk = site.keyOf(tiers, 'disk')
    await site.put(site.disk as Site['store'], onDisk, bytes)
    await site.put(site.store, site.keyOf(plain, 'store', false), bytes, 'nobody')
    const unknown = site.keyOf({ ...head, type: 'unknown' })
    await site.put(site.store, unknown, bytes)
    const { findings } = await site.verify({ deep: true })
    assert.deepEqual(
      named(findings),
      [`double ${onDisk}`, `double ${site.keyOf(plain, 'store', false)}`, `double ${unknown}`].sort(),
    )
  })

  it('leaves keys alone that are not of our pattern, and counts them', async () => {
    const site = makeSite()
    await site.add()
    for (const key of [
      'pacs/x',
      `pacs/sub/${randomUUID()}.dcm`,
      `pacs/${randomUUID()}.jpg`,
      `elsewhere/${randomUUID()}.dcm`,
    ])
      await site.put(site.store, key, Buffer.from('x'))
    const { findings, verification } = await site.verify()
    assert.deepEqual(findings, [])
    assert.equal(verification.tally.places[0]?.strangers, 3)
  })

  it('reads every byte: a changed byte, another file, an unknown key', async () => {
    for (const encryption of ['none', 'on'] as const) {
      const site = makeSite({ encryption })
      for (let i = 0; i < 10; i++) await site.add()
      const [changed, swapped] = [
        await site.add({ bytes: Buffer.from('abc') }),
        await site.add({ bytes: Buffer.from('12') }),
      ]
      await site.put(site.store, site.keyOf(changed), Buffer.from('abd'))
      await site.put(site.store, site.keyOf(swapped), Buffer.from('13'))
      const expected = [`corrupt ${site.keyOf(changed)}`, `corrupt ${site.keyOf(swapped)}`]
      if (encryption === 'on') {
        const foreign = await site.add({ bytes: Buffer.from('foreign') })
        await site.put(site.store, site.keyOf(foreign), Buffer.from('foreign'), 'stranger')
        expected.push(`unknown key ${site.keyOf(foreign)}`)
        const plain = await site.add({ bytes: Buffer.alloc(100) })
        await site.put(site.store, site.keyOf(plain), Buffer.alloc(186), 'nobody')
        expected.push(`corrupt ${site.keyOf(plain)}`)
      }
      assert.deepEqual((await site.verify()).findings, [])
      const { findings, verification } = await site.verify({ deep: true })
      assert.deepEqual(named(findings), expected.sort())
      assert.equal(verification.tally.read.files, site.index.files.size)
      assert.match(findings.find(({ kind }) => kind === 'unknown key')?.found ?? 'master key 9', /master key 9/)
    }
  })

  it('says of how many files it could not compare the bytes, because the index has no MD5', async () => {
    const site = makeSite()
    const file = await site.add()
    site.index.files.set(file.uuid, { ...file, md5: undefined })
    await site.add()
    const { findings, verification } = await site.verify({ deep: true })
    assert.deepEqual(findings, [])
    assert.equal(verification.tally.withoutMd5, 1)
  })

  it('finds of N files all faults that were planted, and nothing else', async () => {
    const faults = ['missing', 'wrong size', 'orphan', 'double', 'corrupt'] as const
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<Encryption>('none', 'on', 'on, and plain objects are read'),
        fc.constantFrom<'flat' | 'legacy'>('flat', 'legacy'),
        fc.boolean(),
        fc.integer(),
        async (encryption, structure, hybrid, seed) => {
          const site = makeSite({ encryption, structure, hybrid })
          const chance = chanceOf(seed)
          const expected: string[] = []
          for (let i = 0; i < 60; i++) {
            const type = chance.oneOf<ContentType>(['dicom', 'dicom-as-json', 'dicom-until-pixel-data', 'unknown'])
            const where = hybrid ? chance.oneOf(['store', 'disk'] as const) : 'store'
            const bytes = Buffer.from(`${i} ${'x'.repeat(chance.between(0, 200))}`)
            const file = await site.add({ type, where, bytes })
            const at = where === 'disk' && site.disk ? site.disk : site.store
            const key = site.keyOf(file, where)
            const fault = chance() < 0.5 ? chance.oneOf(faults) : undefined
            if (fault === 'missing') {
              await at.remove(key, never)
              expected.push(`missing ${site.keyOf(file)}`)
            } else if (fault === 'orphan') {
              site.index.files.delete(file.uuid)
              expected.push(`orphan ${key}`)
            } else if (fault === 'wrong size') {
              await site.put(at, key, Buffer.concat([bytes, Buffer.from('!')]))
              expected.push(`wrong size ${key}`)
            } else if (fault === 'corrupt') {
              await site.put(at, key, Buffer.from(bytes.map(byte => byte ^ 1)))
              expected.push(`corrupt ${key}`)
            } else if (fault === 'double' && site.disk) {
              const other = where === 'disk' ? 'store' : 'disk'
              await site.put(other === 'disk' ? site.disk : site.store, site.keyOf(file, other), bytes)
              expected.push(`double ${site.keyOf(file, 'disk')}`)
            }
          }
          const { findings, failures } = await site.verify({ deep: true })
          assert.deepEqual(failures, [])
          assert.deepEqual(named(findings), expected.sort())
        },
      ),
      { numRuns: 30 },
    )
  })
})
