/** Makes DICOM files for tests and the demonstration: Part 10, explicit VR little endian. One seed makes one file. */

export const PATIENT_NAME = 'Phantom^Made Up'

export interface ImageOptions {
  /** Another one for each instance; all UIDs derive from it, from `series` and from `study`. */
  readonly seed: number
  readonly rows: number
  readonly columns: number
  readonly study?: number
  readonly series?: number
  readonly frames?: number
  readonly patientName?: string
  readonly patientId?: string
  readonly studyDescription?: string
}

const CT = '1.2.840.10008.5.1.4.1.1.2'
const SECONDARY_CAPTURE = '1.2.840.10008.5.1.4.1.1.7.3'
const BASIC_TEXT = '1.2.840.10008.5.1.4.1.1.88.11'
const EXPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2.1'
const ROOT = '2.25.8149003' // belongs to nobody: these files never leave a test

const uid = (kind: number, number: number) => `${ROOT}.${kind}.${number}`
export const instanceUid = (seed: number) => uid(3, seed)

type Value = string | number | Uint8Array

/** One element; text is padded with a space, or NUL for UIDs, numbers are unsigned 16-bit. */
function element(group: number, tag: number, vr: string, value: Value): Buffer {
  let bytes: Uint8Array
  if (typeof value === 'number') {
    const number = Buffer.alloc(2)
    number.writeUInt16LE(value)
    bytes = number
  } else if (typeof value === 'string')
    bytes = Buffer.from(value.length % 2 === 0 ? value : value + (vr === 'UI' ? '\0' : ' '))
  else bytes = value
  const long = ['OB', 'OW', 'SQ', 'UN', 'UT'].includes(vr)
  const head = Buffer.alloc(long ? 12 : 8)
  head.writeUInt16LE(group, 0)
  head.writeUInt16LE(tag, 2)
  head.write(vr, 4, 'latin1')
  if (long) head.writeUInt32LE(bytes.byteLength, 8)
  else head.writeUInt16LE(bytes.byteLength, 6)
  return Buffer.concat([head, bytes])
}

function file(sopClass: string, seed: number, elements: Buffer[]): Buffer {
  const meta = Buffer.concat([
    element(2, 1, 'OB', Buffer.from([0, 1])),
    element(2, 2, 'UI', sopClass),
    element(2, 3, 'UI', uid(3, seed)),
    element(2, 0x10, 'UI', EXPLICIT_LITTLE_ENDIAN),
    element(2, 0x12, 'UI', `${ROOT}.0`),
  ])
  const length = Buffer.alloc(4)
  length.writeUInt32LE(meta.byteLength)
  const metaLength = Buffer.concat([Buffer.from([2, 0, 0, 0, 0x55, 0x4c, 4, 0]), length])
  return Buffer.concat([Buffer.alloc(128), Buffer.from('DICM'), metaLength, meta, ...elements])
}

function identity(sopClass: string, modality: string, options: Omit<ImageOptions, 'rows' | 'columns'>): Buffer[] {
  const { seed, study = 1, series = 1, patientName = PATIENT_NAME, patientId = 'PHANTOM-1' } = options
  return [
    element(8, 5, 'CS', 'ISO_IR 192'),
    element(8, 0x16, 'UI', sopClass),
    element(8, 0x18, 'UI', uid(3, seed)),
    element(8, 0x20, 'DA', '20260101'),
    element(8, 0x60, 'CS', modality),
    element(8, 0x1030, 'LO', options.studyDescription ?? 'Made-up study'),
    element(0x10, 0x10, 'PN', patientName),
    element(0x10, 0x20, 'LO', patientId),
    element(0x20, 0x0d, 'UI', uid(1, study)),
    element(0x20, 0x0e, 'UI', uid(2, study * 1000 + series)),
    element(0x20, 0x10, 'SH', String(study)),
    element(0x20, 0x11, 'IS', String(series)),
    element(0x20, 0x13, 'IS', String(seed)),
  ]
}

/** A 16-bit image; 332 x 332 make 220 KB. The pixels are `pixels(seed)`, noise unless given. */
export function makeImage(options: ImageOptions, pixels: (image: ImageOptions) => Buffer = noisePixels): Buffer {
  const { rows, columns, frames } = options
  const sopClass = frames === undefined ? CT : SECONDARY_CAPTURE
  return file(sopClass, options.seed, [
    ...identity(sopClass, frames === undefined ? 'CT' : 'OT', options),
    element(0x28, 2, 'US', 1),
    element(0x28, 4, 'CS', 'MONOCHROME2'),
    ...(frames === undefined ? [] : [element(0x28, 8, 'IS', String(frames))]),
    element(0x28, 0x10, 'US', rows),
    element(0x28, 0x11, 'US', columns),
    element(0x28, 0x100, 'US', 16),
    element(0x28, 0x101, 'US', 12),
    element(0x28, 0x102, 'US', 11),
    element(0x28, 0x103, 'US', 0),
    element(0x28, 0x1050, 'DS', '2048'),
    element(0x28, 0x1051, 'DS', '4096'),
    element(0x7fe0, 0x10, 'OW', pixels(options)),
  ])
}

/** A file without pixel data. */
export function makeReport(options: { seed: number; study?: number }): Buffer {
  return file(BASIC_TEXT, options.seed, [
    ...identity(BASIC_TEXT, 'SR', { ...options, series: 2 }),
    element(0x40, 0xa040, 'CS', 'CONTAINER'),
    element(0x40, 0xa050, 'CS', 'SEPARATE'),
  ])
}

function noisePixels({ seed, rows, columns, frames = 1 }: ImageOptions): Buffer {
  const bytes = Buffer.allocUnsafe(rows * columns * frames * 2)
  const values = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2)
  let state = (seed * 2654435761) >>> 0 || 1
  for (let i = 0; i < values.length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    values[i] = state & 0xfff
  }
  return bytes
}

/** One slice of a phantom like a head, to look at in a viewer: ellipses that grow and shrink through the series. */
export function phantomPixels(slice: number, slices: number): (image: ImageOptions) => Buffer {
  const through = Math.sin((Math.PI * (slice + 0.5)) / slices)
  const ellipses = [
    { x: 0, y: 0, a: 0.72, b: 0.92, add: 2600 }, // bone
    { x: 0, y: 0, a: 0.66, b: 0.86, add: -1200 }, // tissue
    { x: -0.22, y: -0.05, a: 0.12, b: 0.32, add: -500 },
    { x: 0.22, y: -0.05, a: 0.12, b: 0.32, add: -500 },
    { x: 0.05, y: 0.38, a: 0.14, b: 0.1, add: 700 },
  ]
  return ({ rows, columns }) => {
    const bytes = Buffer.alloc(rows * columns * 2)
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++) {
        const x = (2 * column) / columns - 1
        const y = (2 * row) / rows - 1
        let value = 100
        for (const { x: cx, y: cy, a, b, add } of ellipses)
          if ((x / through - cx) ** 2 / a ** 2 + (y / through - cy) ** 2 / b ** 2 < 1) value += add
        bytes.writeUInt16LE(Math.max(value, 0), (row * columns + column) * 2)
      }
    return bytes
  }
}
