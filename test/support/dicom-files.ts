/** DICOM files of every syntax that matters for where a file ends. */

export type Syntax = keyof typeof syntaxes
export const syntaxes = {
  implicit: '1.2.840.10008.1.2',
  explicit: '1.2.840.10008.1.2.1',
  big: '1.2.840.10008.1.2.2',
  encapsulated: '1.2.840.10008.1.2.4.50',
} as const

type Value = string | Buffer | readonly (readonly Element[])[]
/** `endless`: sequences and their items have no length, only an end. */
export type Element = readonly [tag: number, vr: string, value: Value, endless?: boolean]

const LONG = ['OB', 'OW', 'SQ', 'UN', 'UT']
const UNDEFINED = 0xffff_ffff

class Encoder {
  readonly #implicit: boolean
  readonly #big: boolean

  constructor(syntax: Syntax) {
    this.#implicit = syntax === 'implicit'
    this.#big = syntax === 'big'
  }

  element([tag, vr, value, endless = false]: Element): Buffer {
    if (typeof value === 'string') return this.#with(tag, vr, Buffer.from(value.length % 2 ? `${value}\0` : value))
    if (Buffer.isBuffer(value)) return this.#with(tag, vr, value)
    // CP-246: what has no length and no known VR is a sequence, in implicit VR.
    const inner = vr === 'UN' ? new Encoder('implicit') : this
    const items = value.map(item => {
      const bytes = Buffer.concat(item.map(one => inner.element(one)))
      const head = inner.delimiter(0xfffe_e000, endless ? UNDEFINED : bytes.byteLength)
      return Buffer.concat([head, bytes, ...(endless ? [inner.delimiter(0xfffe_e00d, 0)] : [])])
    })
    const all = Buffer.concat(items)
    if (!endless) return this.#with(tag, vr, all)
    return Buffer.concat([this.#head(tag, vr, UNDEFINED), all, inner.delimiter(0xfffe_e0dd, 0)])
  }

  fragments(tag: number, fragments: readonly Buffer[]): Buffer {
    const items = [Buffer.alloc(0), ...fragments].map(one =>
      Buffer.concat([this.delimiter(0xfffe_e000, one.byteLength), one]),
    )
    return Buffer.concat([this.#head(tag, 'OB', UNDEFINED), ...items, this.delimiter(0xfffe_e0dd, 0)])
  }

  delimiter(tag: number, length: number): Buffer {
    return Buffer.concat([this.#tag(tag), this.#word(length)])
  }

  #with(tag: number, vr: string, value: Buffer): Buffer {
    return Buffer.concat([this.#head(tag, vr, value.byteLength), value])
  }

  #head(tag: number, vr: string, length: number): Buffer {
    if (this.#implicit) return Buffer.concat([this.#tag(tag), this.#word(length)])
    if (LONG.includes(vr)) return Buffer.concat([this.#tag(tag), Buffer.from(`${vr}\0\0`), this.#word(length)])
    return Buffer.concat([this.#tag(tag), Buffer.from(vr), this.#half(length)])
  }

  #tag(tag: number): Buffer {
    return Buffer.concat([this.#half(tag >>> 16), this.#half(tag & 0xffff)])
  }

  #half(value: number): Buffer {
    const bytes = Buffer.alloc(2)
    if (this.#big) bytes.writeUInt16BE(value)
    else bytes.writeUInt16LE(value)
    return bytes
  }

  #word(value: number): Buffer {
    const bytes = Buffer.alloc(4)
    if (this.#big) bytes.writeUInt32BE(value)
    else bytes.writeUInt32LE(value)
    return bytes
  }
}

export function metaOf(syntaxUid: string): Buffer {
  const encoder = new Encoder('explicit')
  const meta = Buffer.concat([
    encoder.element([0x0002_0002, 'UI', '1.2.840.10008.5.1.4.1.1.2']),
    encoder.element([0x0002_0010, 'UI', syntaxUid]),
  ])
  const length = Buffer.alloc(4)
  length.writeUInt32LE(meta.byteLength)
  return Buffer.concat([encoder.element([0x0002_0000, 'UL', length]), meta])
}

export const PREAMBLE = Buffer.concat([Buffer.alloc(128), Buffer.from('DICM')])

/** `pixels`: undefined for a file that has none. */
export function dicomFile(syntax: Syntax, elements: readonly Element[], pixels?: Buffer) {
  const encoder = new Encoder(syntax)
  const head = Buffer.concat([PREAMBLE, metaOf(syntaxes[syntax]), ...elements.map(one => encoder.element(one))])
  const half = pixels && (pixels.byteLength >> 2) << 1
  const last =
    pixels === undefined
      ? []
      : syntax === 'encapsulated'
        ? [encoder.fragments(0x7fe0_0010, [pixels.subarray(0, half), pixels.subarray(half)])]
        : [encoder.element([0x7fe0_0010, 'OW', pixels])]
  return { head, whole: Buffer.concat([head, ...last]) }
}
