import { close, constants, open, read } from 'node:fs'
import type { Bytes, Range } from '../../bytes.ts'
import type { Disk, DiskFile } from '../directory/disk.ts'
import { ifThere } from '../directory/faults.ts'
import { areRight, type CopyHead, mostHeadBytes, readHead, SLICE_BYTES } from './copy-format.ts'

/** What is read at once. A file of this size takes one reading. */
const STEP_BYTES = 4 * SLICE_BYTES

const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW

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
  if (bytes !== undefined && bytes <= STEP_BYTES) {
    const whole = await ifThere(disk.run(() => readSmall(path, bytes)))
    return whole && copyOf(whole, undefined, identity)
  }
  const file = await ifThere(disk.open(path, FLAGS))
  if (!file) return undefined
  try {
    const most = bytes ?? (await file.run(handle => handle.stat())).size
    return copyOf(await readAt(file, 0, mostHeadBytes(identity, most) + SLICE_BYTES), file, identity)
  } catch (error) {
    closeLater(file)
    throw error
  }
}

/** Opens, reads and closes. Handles of node:fs/promises would take a third of the time of a whole read from a copy. */
function readSmall(path: string, bytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    open(path, FLAGS, (error, file) => {
      if (error) return reject(error)
      const buffer = Buffer.allocUnsafeSlow(bytes)
      read(file, buffer, 0, bytes, 0, (failure, count) => {
        close(file, () => {}) // nobody waits for it
        if (failure) reject(failure)
        else resolve(buffer.subarray(0, count))
      })
    })
  })
}

/** `file`: undefined if all of it is in `beginning`. */
function copyOf(beginning: Buffer, file: DiskFile | undefined, identity: Buffer): Copy {
  const head = readHead(beginning, identity)
  if (!head) throw new Damaged('it does not begin as a copy of this object')
  return {
    size: head.size,
    bytes: head.bytes + head.size,
    start: beginning.subarray(head.bytes),
    read: range => slices(head, beginning, file, range),
    close: () => file && closeLater(file),
  }
}

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
