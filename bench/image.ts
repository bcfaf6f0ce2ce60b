import { makeImage } from '../harness/dicom.ts'

export interface BenchImage {
  readonly seed: number
  readonly rows: number
  readonly columns: number
  readonly frames?: number
  /** Without it, a hundred images are a study. */
  readonly study?: number
  readonly series?: number
  /** Compresses about as well as a slice of a scanner: to a half. Others are nearly nothing in an archive. */
  readonly slice?: true
}

/** Shared by all images of a size: what varies is the header. */
const pixels = new Map<number, Buffer>()

const slices = new Map<number, Buffer>()

export function imageOf({ seed, frames, slice, ...rest }: BenchImage): Buffer {
  const size = rest.rows * rest.columns * (frames ?? 1) * 2
  const of = slice ? slices : pixels
  const made = of.get(size) ?? (slice ? sliceOf(rest.rows, rest.columns) : patternOf(size))
  of.set(size, made)
  const study = 1 + Math.floor(seed / 100)
  return makeImage({ seed, study, ...rest, ...(frames && { frames }) }, () => made)
}

function patternOf(size: number): Buffer {
  return Buffer.alloc(size, Buffer.from(Array.from({ length: 65_537 }, (_, i) => (i * 31) & 0xff)))
}

/** A noisy disc in air. */
function sliceOf(rows: number, columns: number): Buffer {
  let state = 1
  const values = Uint16Array.from({ length: rows * columns }, (_, i) => {
    state = (state * 48_271) % 2_147_483_647
    const [x, y] = [(i % columns) / columns - 0.5, Math.floor(i / columns) / rows - 0.5]
    return x * x + y * y < 0.16 ? 1000 + (state & 0x7f) : state & 7
  })
  return Buffer.from(values.buffer)
}
