import { constants } from 'node:fs'
import type { Bytes, Range } from '../../bytes.ts'
import type { Disk, DiskFile } from '../directory/disk.ts'
import { ifThere } from '../directory/faults.ts'
import { areRight, type CopyHead, mostHeadBytes, readHead, SLICE_BYTES } from './copy-format.ts'

/** What is read at once. A file of this size takes one reading. */
const STEP_BYTES = 4 * SLICE_BYTES

/** The file is not the copy that it should be. */
export class Damaged extends Error {}

export interface Copy {
  /** Of the object. */
  readonly size: number
  /** Of the file. */
  readonly bytes: number
  /** The first bytes of the object, not verified. */
  readonly start: Buffer
  /** Only verified bytes. Rejects with `Damaged`, or as the disk does. Closes the file at its end. */
  read(range: Range): Bytes
  /** Without a reading. */
  close(): void
}

/** Undefined: there is no such file. `bytes`: of the file, or a little more, if that is known. */
export async function openCopy(
  disk: Disk,
  path: string,
  bytes: number | undefined,
  identity: Buffer,
): Promise<Copy | undefined> {
  const file = await ifThere(disk.open(path, constants.O_RDONLY | constants.O_NOFOLLOW))
  if (!file) return undefined
  try {
    const most = bytes ?? (await file.run(handle => handle.stat())).size
    const small = most <= STEP_BYTES
    const beginning = await readAt(file, 0, small ? most : mostHeadBytes(identity, most) + SLICE_BYTES)
    const head = readHead(beginning, identity)
    if (!head) throw new Damaged('it does not begin as a copy of this object')
    if (small) closeLater(file)
    return {
      size: head.size,
      bytes: head.bytes + head.size,
      start: beginning.subarray(head.bytes),
      read: range => slices(head, beginning, small ? undefined : file, range),
      close: () => small || closeLater(file),
    }
  } catch (error) {
    closeLater(file)
    throw error
  }
}

/** `file`: undefined if all of it is in `beginning`. */
async function* slices(head: CopyHead, beginning: Buffer, file: DiskFile | undefined, { start, end }: Range): Bytes {
  try {
    const last = Math.min(Math.ceil(end / SLICE_BYTES) * SLICE_BYTES, head.size)
    for (let at = Math.floor(start / SLICE_BYTES) * SLICE_BYTES; at < end; ) {
      const to = Math.min(at + STEP_BYTES, last)
      const bytes = file
        ? await readAt(file, head.bytes + at, to - at)
        : beginning.subarray(head.bytes + at, head.bytes + to)
      if (bytes.byteLength < to - at || !areRight(head, at, bytes)) throw new Damaged('its bytes are not those it had')
      yield bytes.subarray(Math.max(start - at, 0), Math.min(end, to) - at)
      at = to
    }
  } finally {
    if (file) closeLater(file)
  }
}

async function readAt(file: DiskFile, position: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(bytes)
  // The system reads less only at the end of the file. If not, the checksums show it.
  const { bytesRead } = await file.run(handle => handle.read(buffer, 0, bytes, position))
  return buffer.subarray(0, bytesRead)
}

/** The reader does not wait for it. */
function closeLater(file: DiskFile): void {
  file.close().catch(() => {})
}
