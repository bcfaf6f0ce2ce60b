import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ContentType } from '../src/area/area.ts'
import { keyFromTrash, keysOf, type Naming, parseKey, trashKeyOf, trashPrefixOf } from '../src/area/naming.ts'
import { sealedNames } from '../src/rotate/names.ts'
import { fc } from './support/property.ts'

const uuid = '0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d'
const flat: Naming = { rootPath: '', structure: 'flat', legacyUnknownFiles: false }

describe('object keys', () => {
  const cases: [string, Partial<Naming>, '' | '.enc', ContentType, string[]][] = [
    ['flat DICOM', {}, '', 'dicom', [`${uuid}.dcm`]],
    ['flat JSON', {}, '', 'dicom-as-json', [`${uuid}.json`]],
    ['flat header', {}, '', 'dicom-until-pixel-data', [`${uuid}.dcm.head`]],
    ['flat unknown', {}, '', 'unknown', [`${uuid}.unk`]],
    ['flat encrypted', {}, '.enc', 'dicom', [`${uuid}.dcm.enc`]],
    ['a root path', { rootPath: 'a/b' }, '', 'dicom', [`a/b/${uuid}.dcm`]],
    ['legacy', { structure: 'legacy' }, '', 'dicom', [`0a/1b/${uuid}`]],
    ['legacy encrypted, without suffix', { structure: 'legacy' }, '.enc', 'dicom', [`0a/1b/${uuid}`]],
    ['legacy below a root path', { structure: 'legacy', rootPath: 'r' }, '', 'unknown', [`r/0a/1b/${uuid}`]],
    [
      'the older name of a header',
      { legacyUnknownFiles: true },
      '',
      'dicom-until-pixel-data',
      [`${uuid}.dcm.head`, `${uuid}.unk`],
    ],
    [
      'the older name of an encrypted header',
      { legacyUnknownFiles: true },
      '.enc',
      'dicom-until-pixel-data',
      [`${uuid}.dcm.head.enc`, `${uuid}.unk.enc`],
    ],
    ['no older name for DICOM', { legacyUnknownFiles: true }, '', 'dicom', [`${uuid}.dcm`]],
    [
      'no second name in legacy',
      { legacyUnknownFiles: true, structure: 'legacy' },
      '',
      'dicom-until-pixel-data',
      [`0a/1b/${uuid}`],
    ],
  ]
  for (const [what, naming, suffix, type, keys] of cases)
    it(what, () => assert.deepEqual(keysOf({ ...flat, ...naming }, suffix, { uuid, type }), keys))

  for (const odd of ['', '../../etc/passwd', `${uuid}/..`, `${uuid}x`, uuid.replace('-', '/'), uuid.replace('0', 'g')])
    it(`refuses '${odd}' as a UUID`, () =>
      assert.throws(() => keysOf(flat, '', { uuid: odd, type: 'dicom' }), { code: 'BadRequest' }))
})

describe('a key that is parsed', () => {
  const naming = fc.record({
    rootPath: fc.constantFrom('', 'a', 'a/b', '0a/1b'),
    structure: fc.constantFrom('flat' as const, 'legacy' as const),
    legacyUnknownFiles: fc.boolean(),
  })
  const type = fc.constantFrom<ContentType>('dicom', 'dicom-as-json', 'dicom-until-pixel-data', 'unknown')
  const suffix = fc.constantFrom('' as const, '.enc' as const)

  it('is what was made a key of, and rotation takes just what may be sealed', () =>
    fc.assert(
      fc.property(naming, fc.uuid(), type, suffix, (n, id, kind, end) => {
        for (const key of keysOf(n, end, { uuid: id, type: kind })) {
          const sealed = n.structure === 'legacy' ? undefined : end === '.enc'
          const named = n.structure === 'legacy' ? undefined : key.includes('.unk') ? 'unknown' : kind
          assert.deepEqual(parseKey(n, key), { uuid: id, type: named, sealed })
          assert.equal(sealedNames(n).mayBeSealed(key), sealed ?? true)
        }
      }),
    ))

  it('is found again in the trash, where rotation takes it, too, and nothing else', () =>
    fc.assert(
      fc.property(naming, fc.uuid(), type, suffix, (n, id, kind, end) => {
        for (const key of keysOf(n, end, { uuid: id, type: kind })) {
          const aside = trashKeyOf(n, key)
          assert.ok(aside.startsWith(trashPrefixOf(n)))
          assert.equal(keyFromTrash(n, aside), key)
          assert.equal(parseKey(n, aside), undefined)
          assert.equal(keyFromTrash(n, key), undefined)
          assert.equal(keyFromTrash(n, `${aside}x`), undefined)
          assert.equal(sealedNames(n).mayBeSealed(aside), sealedNames(n).mayBeSealed(key))
          // The trash of a site is where another root path has its files: what is there can be read as they are.
          assert.ok(
            keysOf({ ...n, rootPath: trashPrefixOf(n).slice(0, -1) }, end, { uuid: id, type: kind }).includes(aside),
          )
        }
      }),
    ))

  it('is none of ours in another place, by another name', () => {
    const legacy: Naming = { ...flat, structure: 'legacy' }
    for (const key of ['', uuid, `${uuid}.dcm.gz`, `x/${uuid}.dcm`, `${uuid}.enc`, `0a/1b/${uuid}`])
      assert.equal(parseKey(flat, key), undefined, key)
    for (const key of [`0a/1c/${uuid}`, `0a/1b/${uuid}.dcm`, `x/0a/1b/${uuid}`, `0a/${uuid}`])
      assert.equal(parseKey(legacy, key), undefined, key)
  })
})
