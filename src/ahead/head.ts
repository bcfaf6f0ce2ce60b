/** What the first bytes of a DICOM file say about it. */
import { constants, inflateRawSync, inflateSync } from 'node:zlib'
import dicomParser from 'dicom-parser'
import type { Bytes } from '../bytes.ts'

export interface Identity {
  /** SeriesInstanceUID. */
  readonly series: string
  /** SOPInstanceUID. */
  readonly instance: string
  /** Whether Orthanc stored the file compressed (`StorageCompression`). It is then never read in part. */
  readonly compressed: boolean
}

/** The UIDs lie far in front of this in nearly all files: only private groups with much in them come before. */
const HEAD_BYTES = 32 * 1024

/** In front of compressed bytes, Orthanc writes their uncompressed size. */
const SIZE_BYTES = 8
/**
 * So many compressed bytes are tried, one after the other. Black pixels shrink to a thousandth, so more bytes could
 * become more than `MOST_INFLATED`.
 */
const COMPRESSED_HEADS = [1024, 4096]
const MOST_INFLATED = 1024 * 1024 + 16 * 1024

const SERIES_INSTANCE_UID = 'x0020000e'
const SOP_INSTANCE_UID = 'x00080018'
const IS_UID = /^[0-9.]{1,64}$/

/** A copy of the first bytes of a body that passes. */
export class Head {
  readonly #bytes = Buffer.allocUnsafe(HEAD_BYTES)
  #size = 0

  async *watch(body: Bytes): Bytes {
    this.#size = 0 // a body that was wrong is delivered again
    for await (const chunk of body) {
      if (this.#size < HEAD_BYTES) {
        const some = chunk.subarray(0, HEAD_BYTES - this.#size)
        this.#bytes.set(some, this.#size)
        this.#size += some.byteLength
      }
      yield chunk
    }
  }

  identity(): Identity | undefined {
    return identify(this.#bytes.subarray(0, this.#size))
  }
}

/** Undefined when these bytes do not say it: cut too early, damaged, or no DICOM at all. Never throws. */
export function identify(head: Uint8Array): Identity | undefined {
  if (!isCompressed(head)) return uidsOf(head, false)
  for (const size of COMPRESSED_HEADS) {
    const plain = inflated(head.subarray(SIZE_BYTES, SIZE_BYTES + size), inflateSync)
    const found = plain && uidsOf(plain.subarray(0, HEAD_BYTES), true)
    if (found) return found
  }
  return undefined
}

/** The head of zlib: a method, a window, and a check of the two. A plain file begins with 128 bytes and `DICM`. */
function isCompressed(head: Uint8Array): boolean {
  const [method = 0, flags = 0] = head.subarray(SIZE_BYTES)
  return method === 0x78 && (method * 256 + flags) % 31 === 0 && !isPlain(head)
}

const isPlain = (head: Uint8Array) => Buffer.from(head.subarray(128, 132)).toString('latin1') === 'DICM'

function inflated(bytes: Uint8Array, inflate: typeof inflateSync): Buffer | undefined {
  try {
    return inflate(bytes, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: MOST_INFLATED })
  } catch {
    return undefined
  }
}

function uidsOf(head: Uint8Array, compressed: boolean): Identity | undefined {
  // The parser would look at every byte of something else.
  if (!isPlain(head)) return undefined
  try {
    const found = dicomParser.parseDicom(head, { untilTag: SERIES_INSTANCE_UID, inflater })
    const [series, instance] = [found.string(SERIES_INSTANCE_UID), found.string(SOP_INSTANCE_UID)]
    if (!series || !instance || !IS_UID.test(series) || !IS_UID.test(instance)) return undefined
    return { series, instance, compressed }
  } catch {
    return undefined
  }
}

/** For the transfer syntax that is deflated itself, from `position` on. */
function inflater(bytes: Uint8Array, position: number): Uint8Array {
  const [most = 0] = COMPRESSED_HEADS
  return inflated(bytes.subarray(position, position + most), inflateRawSync)?.subarray(0, HEAD_BYTES) ?? Buffer.alloc(0)
}
