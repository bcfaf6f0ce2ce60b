import { makeImage } from '../harness/dicom.ts'

export interface BenchImage {
  readonly seed: number
  readonly rows: number
  readonly columns: number
  readonly frames?: number
  /** Without it, a hundred images are a study. */
  readonly study?: number
  readonly series?: number
}

/** Shared by all images of a size: what varies is the header. */
const pixels = new Map<number, Buffer>()

export function imageOf({ seed, rows, columns, frames, ...rest }: BenchImage): Buffer {
  const size = rows * columns * (frames ?? 1) * 2
  const made =
    pixels.get(size) ?? Buffer.alloc(size, Buffer.from(Array.from({ length: 65_537 }, (_, i) => (i * 31) & 0xff)))
  pixels.set(size, made)
  const study = 1 + Math.floor(seed / 100)
  return makeImage({ seed, rows, columns, study, ...rest, ...(frames && { frames }) }, () => made)
}
