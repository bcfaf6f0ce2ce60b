import { constants, type FileHandle, mkdtemp, open, rmdir, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { addAbortSignal } from 'node:stream'
import type { Bytes } from '../bytes.ts'
import { Fault } from '../fault.ts'
import { fileFault } from './file-fault.ts'

const SLICE_BYTES = 1024 * 1024
/** Where standard input is copied to; a random end is added. */
const SPOOL = join(tmpdir(), 'orthanc-cloud-storage-')

/** Where bytes come from: a file, or standard input (`-`). */
export interface Input {
  readonly name: string
  /** undefined = known only at the end. */
  readonly size: number | undefined
  /** How many bytes have been read, for the progress. */
  readonly position: number
  /** Of standard input, only once. */
  open(): Bytes
  close(): Promise<void>
}

export async function openInput(path: string, signal: AbortSignal): Promise<Input> {
  if (path === '-') return standardInput(signal)
  // Otherwise, opening a pipe without a writer would never end.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(cause => {
    throw fileFault('read', path, cause)
  })
  const stats = await file.stat()
  if (stats.isFile()) return new FileInput(path, file, stats.size, signal)
  await file.close()
  throw new Fault('BadRequest', `${path} is not a file`, { remedy: 'For a pipe, give - and redirect standard input.' })
}

/**
 * An input that can be read twice and has a known size. Standard input is copied into a temporary file. That file loses
 * its name before its first byte is written, so it cannot stay behind.
 */
export async function openTwice(path: string, signal: AbortSignal): Promise<Input & { readonly size: number }> {
  const input = await openInput(path, signal)
  if (input instanceof FileInput) return input
  const spool = await unnamedFile()
  try {
    let size = 0
    for await (const chunk of input.open()) {
      await spool.writeFile(chunk)
      size += chunk.byteLength
    }
    return new FileInput(input.name, spool, size, signal)
  } catch (cause) {
    await spool.close()
    throw fileFault('write', SPOOL, cause)
  }
}

async function unnamedFile(): Promise<FileHandle> {
  try {
    const folder = await mkdtemp(SPOOL)
    const name = join(folder, 'input')
    const file = await open(name, 'wx+', 0o600)
    await unlink(name)
    await rmdir(folder)
    return file
  } catch (cause) {
    throw fileFault('write', SPOOL, cause)
  }
}

class FileInput implements Input {
  readonly name: string
  readonly size: number
  position = 0
  readonly #file: FileHandle
  readonly #signal: AbortSignal

  constructor(name: string, file: FileHandle, size: number, signal: AbortSignal) {
    this.name = name
    this.size = size
    this.#file = file
    this.#signal = signal
  }

  async *open(): Bytes {
    this.position = 0
    for (;;) {
      this.#signal.throwIfAborted()
      const slice = Buffer.allocUnsafeSlow(SLICE_BYTES)
      const { bytesRead } = await this.#file.read(slice, 0, SLICE_BYTES, this.position).catch(cause => {
        throw fileFault('read', this.name, cause)
      })
      if (bytesRead === 0) return
      this.position += bytesRead
      yield slice.subarray(0, bytesRead)
    }
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}

function standardInput(signal: AbortSignal): Input {
  let position = 0
  async function* chunks(): Bytes {
    try {
      for await (const chunk of addAbortSignal(signal, process.stdin)) {
        position += chunk.byteLength
        yield chunk
      }
    } catch (cause) {
      signal.throwIfAborted()
      throw fileFault('read', 'standard input', cause)
    }
  }
  return {
    name: 'standard input',
    size: undefined,
    get position() {
      return position
    },
    open: chunks,
    close: async () => {
      process.stdin.destroy()
    },
  }
}
