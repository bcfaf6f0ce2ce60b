import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ContentType } from '../src/area/area.ts'
import { keysOf, type Naming } from '../src/area/naming.ts'

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
