/**
 * Goes through the elements of a DICOM file as its bytes come, and says at the end whether it is whole. Orthanc keeps
 * the beginning of an image, up to its pixel data, as a file of its own. That looks like a DICOM file. Orthanc would
 * take it for the image and refuse the real one after it, so nothing may pass here that could be such a beginning.
 */
import { PEEK_BYTES } from '../seal/detect.ts'

/**
 * `no pixel data`: it ends between two elements, describes pixels, and has none. `cut`: it ends within an element.
 * `not understood`: it is not what the standard says, before its pixel data, so nothing is known of its end.
 */
export type Ending = 'whole' | 'cut' | 'no pixel data' | 'not understood'

const UNDEFINED = 0xffff_ffff
const LONG_VRS = ['OB', 'OD', 'OF', 'OL', 'OV', 'OW', 'SQ', 'SV', 'UC', 'UN', 'UR', 'UT', 'UV']
const LARGEST_UID = 64 + 2
const META = { implicit: false, big: false }
const IMPLICIT = { implicit: true, big: false }
const SYNTAXES: Readonly<Record<string, typeof META>> = {
  '1.2.840.10008.1.2': IMPLICIT,
  '1.2.840.10008.1.2.2': { implicit: false, big: true },
}
/** All that comes after the meta information is compressed. Orthanc finds no pixel data in it, so it cuts none off. */
const DEFLATED = '1.2.840.10008.1.2.1.99'

const TRANSFER_SYNTAX = 0x0002_0010
const SOP_INSTANCE = 0x0008_0018
/** Samples, photometric interpretation, rows, columns, bits: what only files with pixels have. */
const OF_PIXELS = [0x0028_0002, 0x0028_0004, 0x0028_0010, 0x0028_0011, 0x0028_0100]
/** Pixels that are elsewhere, and spectra, which have rows and columns as well. */
const INSTEAD = [0x0028_7fe0, 0x5600_0010, 0x5600_0020]
/** Of floats, of doubles, and the usual one. */
const PIXELS = [0x7fe0_0008, 0x7fe0_0009, 0x7fe0_0010]
const ENCAPSULATED = 0x7fe0_0010
const ITEM = 0xfffe_e000
const ITEM_END = 0xfffe_e00d
const SEQUENCE_END = 0xfffe_e0dd

interface Level {
  readonly kind: 'sequence' | 'item' | 'fragments'
  readonly encoding: typeof META
  readonly pixels: boolean
}

/** The head of an element: its own bytes, and those of its value. */
interface Head {
  readonly tag: number
  readonly vr: string
  readonly bytes: number
  readonly length: number
}

/** The group of meta information, without the preamble before it: some systems leave that out. */
const BARE = Buffer.from([2, 0, 0, 0, 0x55, 0x4c, 4, 0])

/** Where the elements begin in a DICOM file that begins so; undefined for any other. */
export function elementsAt(start: Buffer): number | undefined {
  if (start.toString('latin1', PEEK_BYTES - 4, PEEK_BYTES) === 'DICM') return PEEK_BYTES
  return start.subarray(0, BARE.byteLength).equals(BARE) ? 0 : undefined
}

export class DicomWalk {
  /** SOPInstanceUID, once it has passed. */
  instance: string | undefined
  #syntax = ''
  #encoding = META
  #inMeta = true
  #carry: Buffer = Buffer.alloc(0)
  #skip: number
  /** What is skipped is the pixel data of the file itself. */
  #skipsPixels = false
  readonly #levels: Level[] = []
  #describesPixels = false
  #hasOther = false
  #verdict: Ending | undefined
  #padded = false

  /** `elementsBegin`: see elementsAt(). */
  constructor(elementsBegin: number) {
    this.#skip = elementsBegin
  }

  push(chunk: Uint8Array): void {
    if (this.#verdict) return
    const bytes = this.#carry.byteLength > 0 ? Buffer.concat([this.#carry, chunk]) : bufferOf(chunk)
    let at = 0
    while (!this.#verdict) {
      const skipped = Math.min(this.#skip, bytes.byteLength - at)
      at += skipped
      this.#skip -= skipped
      if (this.#skip > 0) break
      if (this.#skipsPixels) this.#verdict = 'whole'
      else {
        const used = this.#step(bytes.subarray(at))
        if (used === 0) break
        at += used
      }
    }
    this.#carry = Buffer.from(bytes.subarray(at, this.#verdict ? at : undefined)) // a copy, so that the chunk can go
  }

  end(): Ending {
    if (this.#verdict) return this.#verdict
    const rest = this.#carry.some(byte => byte !== 0)
    if (this.#skip > 0 || this.#levels.length > 0 || this.#inMeta || rest) return 'cut'
    return this.#describesPixels && !this.#hasOther ? 'no pixel data' : 'whole'
  }

  /** Returns how many bytes it used; 0: more are needed, or it has come to a verdict. */
  #step(bytes: Buffer): number {
    if (bytes.byteLength < 8) return 0
    if (this.#padded || this.#isPadding(bytes)) return this.#pad(bytes)
    if (this.#inMeta && bytes.readUInt16LE(0) !== 2) this.#endMeta()
    if (this.#verdict) return 0
    const tag = this.#tagIn(bytes)
    if (tag === ITEM || tag === ITEM_END || tag === SEQUENCE_END) return this.#delimit(tag, this.#word(bytes, 4))
    const level = this.#levels.at(-1)
    if (level && level.kind !== 'item') return this.#lost()
    const head = this.#headIn(bytes, tag)
    return head ? this.#element(head, bytes) : 0
  }

  #element({ tag, vr, bytes: size, length }: Head, bytes: Buffer): number {
    const ownTag = this.#levels.length === 0 ? tag : 0
    if (OF_PIXELS.includes(ownTag)) this.#describesPixels = true
    if (INSTEAD.includes(ownTag)) this.#hasOther = true
    if (length === UNDEFINED) {
      const pixels = ownTag === ENCAPSULATED
      const kind = pixels || !['SQ', 'UN', ''].includes(vr) ? 'fragments' : 'sequence'
      // What is written as "unknown" is always in this encoding (CP-246).
      this.#levels.push({ kind, encoding: vr === 'UN' ? IMPLICIT : this.#here, pixels })
      return size
    }
    if ((ownTag === TRANSFER_SYNTAX || ownTag === SOP_INSTANCE) && length <= LARGEST_UID) {
      if (bytes.byteLength < size + length) return 0
      const uid = bytes.toString('latin1', size, size + length).replace(/[\0 ]+$/, '')
      if (ownTag === SOP_INSTANCE) this.instance = uid
      else this.#syntax = uid
      return size + length
    }
    this.#skip = length
    this.#skipsPixels = PIXELS.includes(ownTag)
    return size
  }

  #delimit(tag: number, length: number): number {
    const level = this.#levels.at(-1)
    if (tag === ITEM) {
      if (!level || level.kind === 'item') return this.#lost()
      if (length !== UNDEFINED) this.#skip = length
      else if (level.kind === 'fragments') return this.#lost()
      else this.#levels.push({ ...level, kind: 'item' })
    } else {
      if (!level || (level.kind === 'item') !== (tag === ITEM_END)) return this.#lost()
      this.#levels.pop()
      if (level.pixels) this.#verdict = 'whole'
    }
    return 8
  }

  /** Undefined: more bytes are needed, or it is lost. */
  #headIn(bytes: Buffer, tag: number): Head | undefined {
    if (this.#here.implicit) return { tag, vr: '', bytes: 8, length: this.#word(bytes, 4) }
    const vr = bytes.toString('latin1', 4, 6)
    if (!/^[A-Z]{2}$/.test(vr)) this.#lost()
    else if (!LONG_VRS.includes(vr)) return { tag, vr, bytes: 8, length: this.#half(bytes, 6) }
    else if (bytes.byteLength >= 12) return { tag, vr, bytes: 12, length: this.#word(bytes, 8) }
    return undefined
  }

  #endMeta(): void {
    this.#inMeta = false
    if (this.#syntax === DEFLATED) this.#verdict = 'whole'
    else if (this.#syntax === '') this.#lost()
    this.#encoding = SYNTAXES[this.#syntax] ?? META
  }

  /** Some systems fill the last block of a file with zeros. */
  #isPadding(bytes: Buffer): boolean {
    return !this.#inMeta && this.#levels.length === 0 && bytes.readBigUInt64LE(0) === 0n
  }

  #pad(bytes: Buffer): number {
    this.#padded = true
    return bytes.every(byte => byte === 0) ? bytes.byteLength : this.#lost()
  }

  get #here(): typeof META {
    return this.#levels.at(-1)?.encoding ?? this.#encoding
  }

  #tagIn(bytes: Buffer): number {
    return this.#half(bytes, 0) * 0x1_0000 + this.#half(bytes, 2)
  }

  #half(bytes: Buffer, at: number): number {
    return this.#here.big ? bytes.readUInt16BE(at) : bytes.readUInt16LE(at)
  }

  #word(bytes: Buffer, at: number): number {
    return this.#here.big ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at)
  }

  #lost(): 0 {
    this.#verdict = 'not understood'
    return 0
  }
}

const bufferOf = (chunk: Uint8Array) => Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
