/** What `import` takes for a whole DICOM file: never the beginning of another one. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { makeImage, makeReport } from '../harness/dicom.ts'
import { DicomWalk, type Ending, elementsAt } from '../src/import/walk.ts'
import { dicomFile, type Element, metaOf, PREAMBLE, type Syntax, syntaxes } from './support/dicom-files.ts'
import { noise } from './support/noise.ts'

/** In pieces of this size; 0: at once. */
function walked(file: Buffer, piece = 0) {
  const walk = new DicomWalk(elementsAt(file) ?? assert.fail('it does not begin as DICOM'))
  for (let at = 0; at < file.byteLength; at += piece || file.byteLength)
    walk.push(file.subarray(at, at + (piece || file.byteLength)))
  return { ending: walk.end(), instance: walk.instance }
}

const number = (value: number) => Buffer.from([value & 0xff, value >> 8])
const named: readonly Element[] = [
  [0x0008_0016, 'UI', '1.2.3'],
  [0x0008_0018, 'UI', '2.25.77'],
]
/** Sequences of each kind, and one that has pixels of its own: an icon. */
const nested = (endless: boolean): readonly Element[] => {
  const icon: readonly Element[] = [
    [0x0028_0010, 'US', number(2)],
    [0x7fe0_0010, 'OW', noise(8, 1)],
  ]
  return [
    [
      0x0008_1140,
      'SQ',
      [
        [
          [0x0008_1155, 'UI', '1.9'],
          [0x0008_1199, 'SQ', [[], [[0x0008_0018, 'UI', '9.9']]], endless],
        ],
      ],
      endless,
    ],
    [0x0009_1001, 'UN', [[[0x0009_1002, 'LO', 'private']]], true],
    [0x0088_0200, 'SQ', [icon], endless],
  ]
}
const ofPixels: readonly Element[] = [
  [0x0028_0010, 'US', number(16)],
  [0x0028_0011, 'US', number(16)],
]

describe('a DICOM file', () => {
  for (const syntax of Object.keys(syntaxes) as Syntax[])
    for (const endless of [false, true])
      it(`is whole only with all of its pixel data: ${syntax}, sequences ${endless ? 'with' : 'without'} an end`, () => {
        const before = dicomFile(syntax, [...named, ...nested(endless)])
        const { head, whole } = dicomFile(syntax, [...named, ...nested(endless), ...ofPixels], noise(64, 3))
        for (const piece of [0, 1, 7, 100]) {
          assert.deepEqual(walked(whole, piece), { ending: 'whole', instance: '2.25.77' })
          assert.equal(walked(head, piece).ending, 'no pixel data')
          assert.equal(walked(Buffer.concat([whole, Buffer.from('what comes after')]), piece).ending, 'whole')
        }
        // Every beginning that has the first element about pixels.
        for (let size = before.whole.byteLength + 10; size < whole.byteLength; size++)
          assert.notEqual(walked(whole.subarray(0, size)).ending, 'whole', `${size} of ${whole.byteLength} bytes`)
        // Before that, one that ends between two elements cannot be told from a file without pixels.
        const boundaries = 12
        let taken = 0
        for (let size = PREAMBLE.byteLength; size < before.whole.byteLength; size++)
          if (walked(whole.subarray(0, size)).ending === 'whole') taken++
        assert.ok(taken < boundaries, `${taken} beginnings are taken`)
      })

  const ends = (file: Buffer, ending: Ending) => assert.equal(walked(file).ending, ending)

  it('may have no pixels, where it describes none or has something else', () => {
    ends(dicomFile('explicit', named).whole, 'whole')
    ends(makeReport({ seed: 1 }), 'whole')
    ends(makeImage({ seed: 1, rows: 8, columns: 8 }), 'whole')
    ends(dicomFile('explicit', [...named, ...ofPixels, [0x0028_7fe0, 'UT', 'http://a']]).whole, 'whole')
    ends(dicomFile('implicit', [...named, ...ofPixels, [0x5600_0020, 'OF', noise(8, 1)]]).whole, 'whole')
    ends(dicomFile('explicit', [...named, ...ofPixels, [0x7fe0_0008, 'OW', noise(8, 1)]]).whole, 'whole')
    // The table of a header that was cut off before its pixels.
    ends(dicomFile('explicit', [...named, ...ofPixels, [0x7fe0_0001, 'OB', noise(8, 1)]]).whole, 'no pixel data')
  })

  it('may be filled with zeros, have no preamble, or be deflated', () => {
    const { whole, head } = dicomFile('explicit', [...named, ...ofPixels], noise(64, 3))
    const report = dicomFile('explicit', named).whole
    for (const zeros of [1, 7, 8, 100]) {
      ends(Buffer.concat([report, Buffer.alloc(zeros)]), 'whole')
      ends(Buffer.concat([head, Buffer.alloc(zeros)]), 'no pixel data')
    }
    ends(Buffer.concat([report, Buffer.alloc(64), Buffer.from('x')]), 'not understood')
    ends(whole.subarray(132), 'whole')
    ends(head.subarray(132), 'no pixel data')
    ends(Buffer.concat([PREAMBLE, metaOf('1.2.840.10008.1.2.1.99'), noise(50, 1)]), 'whole')
  })

  it('is not taken for whole when it is something else', () => {
    ends(PREAMBLE, 'cut')
    ends(Buffer.concat([PREAMBLE, metaOf(syntaxes.explicit)]), 'cut')
    ends(Buffer.concat([PREAMBLE, metaOf(syntaxes.explicit), noise(1000, 1)]), 'not understood')
    ends(Buffer.concat([PREAMBLE, noise(1000, 1)]), 'not understood')
    // Implicit elements under the name of an explicit syntax.
    const implicit = dicomFile('implicit', named).whole.subarray(132 + metaOf(syntaxes.implicit).byteLength)
    ends(Buffer.concat([PREAMBLE, metaOf(syntaxes.explicit), implicit]), 'not understood')
    assert.equal(elementsAt(Buffer.from('PK')), undefined)
    assert.equal(elementsAt(Buffer.alloc(0)), undefined)
  })
})
