import { type Bytes, openWhole, type Range, type Source } from '../../bytes.ts'
import { throwIfAborted } from '../../fault.ts'
import type { DiskFile } from './disk.ts'

/** Read in slices of this size, into buffers of our own. */
const SLICE_BYTES = 1024 * 1024
const WRITE_BYTES = 512 * 1024

/** Closes the file at the end, at a fault, and when the reader goes away. */
export async function* slices(file: DiskFile, { start, end }: Range, signal: AbortSignal): Bytes {
  let closing: Promise<void> | undefined
  try {
    for (let at = start; at < end; ) {
      throwIfAborted(signal)
      const slice = Buffer.allocUnsafeSlow(Math.min(SLICE_BYTES, end - at))
      const position = at
      const { bytesRead } = await file.run(handle => handle.read(slice, 0, slice.byteLength, position))
      if (bytesRead === 0) return // the file became shorter: checkedContent() makes a fault of it
      throwIfAborted(signal) // it may have hung
      at += bytesRead
      if (at === end) {
        closing = file.close() // while the last slice is on its way: most files are one slice
        closing.catch(() => {}) // the error is thrown below; before that it must not end the process
      }
      yield slice.subarray(0, bytesRead)
    }
  } finally {
    await (closing ?? file.close())
  }
}

/** Small chunks leave together: each write is a trip to another thread. */
export async function writeAll(file: DiskFile, body: Source, signal: AbortSignal): Promise<void> {
  let waiting: Uint8Array[] = []
  let bytes = 0
  const flush = async () => {
    while (bytes > 0) {
      throwIfAborted(signal)
      const { bytesWritten } = await file.run(handle => handle.writev(waiting))
      bytes -= bytesWritten
      waiting = beyond(waiting, bytesWritten)
    }
  }
  for await (const chunk of openWhole(body)) {
    waiting.push(chunk)
    bytes += chunk.byteLength
    if (bytes >= WRITE_BYTES) await flush()
  }
  await flush()
}

/** What is left of `chunks` behind their first `bytes` bytes. */
function beyond(chunks: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let skip = bytes
  return chunks.flatMap(chunk => {
    const skipped = Math.min(skip, chunk.byteLength)
    skip -= skipped
    return skipped < chunk.byteLength ? [chunk.subarray(skipped)] : []
  })
}
