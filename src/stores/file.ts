import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, rmdir, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { type Bytes, checkedRange, contentOf, openWhole, type Range, type Source } from '../bytes.ts'
import { Fault, type FaultCode } from '../fault.ts'
import { folderSync } from './folder-sync.ts'
import type { Stat, Store } from './store.ts'

/** Read in slices of this size, into buffers of our own. */
const SLICE_BYTES = 1024 * 1024
const WRITE_BYTES = 512 * 1024

/** A write under way: `.<name>.<random>.tmp` beside its target. What a crash leaves behind is never listed or read. */
const TEMPORARY = /^\..*\.tmp$/
let writes = Math.floor(Math.random() * 2 ** 32)

export interface DirectoryOptions {
  /** Whether a write has reached the disk when it is acknowledged. Without, a power cut may take what Orthanc believes to have. */
  readonly sync?: boolean
}

/**
 * Objects as files under `root`, each named by its key: on a disk, a NAS, an NFS or FUSE mount. A file appears whole or
 * not at all (temporary name, fsync, rename, fsync of the folder).
 */
export function directoryStore(path: string, { sync = true }: DirectoryOptions = {}): Store {
  const root = resolve(path)
  const name = `directory:${root}`
  const syncFolder = folderSync()

  const pathOf = (key: string): string => {
    const segments = key.split('/')
    if (segments.some(s => s === '' || s === '.' || s === '..' || s.includes('\0') || TEMPORARY.test(s)))
      throw new Fault('BadRequest', 'the key is not one that a file can have')
    return join(root, ...segments)
  }

  async function put(key: string, body: Source, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const path = pathOf(key)
    const folder = dirname(path)
    const temporary = join(folder, `.${basename(path)}.${process.pid.toString(36)}${(writes++).toString(36)}.tmp`)
    try {
      const made = await createFile(temporary, folder)
      try {
        await writeAll(made.file, body, signal)
        if (sync) await made.file.sync()
      } finally {
        await made.file.close()
      }
      signal.throwIfAborted()
      await rename(temporary, path)
      if (!sync) return
      await syncFolder(folder)
      if (made.firstFolder) await syncFolder(dirname(made.firstFolder))
    } catch (error) {
      await unlink(temporary).catch(() => {}) // the first failure is the one to report
      throw error
    }
  }

  /** A parent folder may vanish between mkdir and open, when a removal just pruned it: then it is made again. */
  async function createFile(path: string, folder: string) {
    let firstFolder: string | undefined
    for (let attempt = 1; ; attempt++) {
      try {
        return { file: await open(path, 'wx', 0o640), firstFolder }
      } catch (error) {
        if (!isErrno(error, 'ENOENT') || attempt > 10 || folder === root) throw error
        firstFolder = (await mkdir(folder, { recursive: true, mode: 0o750 })) ?? firstFolder
      }
    }
  }

  async function get(key: string, range: Range | undefined, signal: AbortSignal) {
    signal.throwIfAborted()
    const file = await open(pathOf(key), constants.O_RDONLY | constants.O_NOFOLLOW)
    try {
      const stats = await file.stat()
      if (!stats.isFile()) throw new Fault('NotFound', 'there is a folder where the file should be')
      const part = range ? checkedRange(range, stats.size) : { start: 0, end: stats.size }
      return contentOf(part.end - part.start, translated(root, slices(file, part, signal)))
    } catch (error) {
      await file.close()
      throw error
    }
  }

  async function statOf(key: string): Promise<Stat | undefined> {
    const stats = await stat(pathOf(key)).catch(error => {
      if (isErrno(error, 'ENOENT') || isErrno(error, 'ENOTDIR')) return undefined
      throw error
    })
    return stats?.isFile() ? { key, size: stats.size, modified: stats.mtime } : undefined
  }

  async function remove(key: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const path = pathOf(key)
    await unlink(path).catch(error => {
      if (!isErrno(error, 'ENOENT') && !isErrno(error, 'ENOTDIR')) throw error
    })
    for (let folder = dirname(path); folder.length > root.length; folder = dirname(folder)) {
      // One that is gone already was pruned by another removal, maybe by one that died before it came to the next.
      const pruned = await rmdir(folder).then(
        () => true,
        error => isErrno(error, 'ENOENT'),
      )
      if (!pruned) return // most probably it is not empty
    }
  }

  /** Keys in byte order: in a folder, `a.b` comes before what is in `a`, for `.` is less than `/`. */
  async function* walk(folder: string, keys: string, prefix: string, signal: AbortSignal): AsyncIterable<Stat> {
    const entries = await readdir(folder, { withFileTypes: true }).catch(error => {
      if (isErrno(error, 'ENOENT')) return [] // pruned while we walked
      throw error
    })
    const named = entries
      .filter(entry => !TEMPORARY.test(entry.name) && (entry.isFile() || entry.isDirectory()))
      .map(entry => ({ key: keys + entry.name + (entry.isDirectory() ? '/' : ''), name: entry.name }))
      .filter(({ key }) => key.startsWith(prefix) || (key.endsWith('/') && prefix.startsWith(key)))
      .map(entry => ({ ...entry, order: Buffer.from(entry.key) }))
      .sort((a, b) => Buffer.compare(a.order, b.order))
    for (const { key, name } of named) {
      signal.throwIfAborted()
      if (key.endsWith('/')) yield* walk(join(folder, name), key, prefix, signal)
      else {
        const found = await statOf(key)
        if (found) yield found
      }
    }
  }

  async function check(): Promise<void> {
    await mkdir(root, { mode: 0o750 }).catch(error => {
      if (isErrno(error, 'EEXIST')) return
      const remedy = isErrno(error, 'ENOENT')
        ? `Create the folder ${dirname(root)}, or mount what should be there.`
        : ''
      throw new Fault('BadConfig', `the folder ${root} cannot be made: ${said(error)}`, { cause: error, remedy })
    })
    const probe = join(root, `.check.${process.pid.toString(36)}${(writes++).toString(36)}.tmp`)
    const file = await open(probe, 'wx', 0o640)
    try {
      await file.sync()
    } finally {
      await file.close()
      await unlink(probe)
    }
  }

  return {
    name,
    put: (key, body, signal) => translate(root, () => put(key, body, signal)),
    get: (key, range, signal) => translate(root, () => get(key, range, signal)),
    stat: (key, signal) => {
      signal.throwIfAborted()
      return translate(root, () => statOf(key))
    },
    remove: (key, signal) => translate(root, () => remove(key, signal)),
    list: (prefix, signal) => translated(root, walk(root, '', prefix, signal)),
    check: () => translate(root, check),
    close: async () => {},
  }
}

/** Closes the file at the end, at a fault, and when the reader goes away. */
async function* slices(file: FileHandle, { start, end }: Range, signal: AbortSignal): Bytes {
  let closing: Promise<void> | undefined
  try {
    for (let at = start; at < end; ) {
      signal.throwIfAborted()
      const slice = Buffer.allocUnsafeSlow(Math.min(SLICE_BYTES, end - at))
      const { bytesRead } = await file.read(slice, 0, slice.byteLength, at)
      if (bytesRead === 0) return // shorter than it was: contentOf() makes a fault of it
      at += bytesRead
      if (at === end) {
        closing = file.close() // while the last slice is on its way: most files are one slice
        closing.catch(() => {}) // heard below
      }
      yield slice.subarray(0, bytesRead)
    }
  } finally {
    await (closing ?? file.close())
  }
}

/** Small chunks leave together: each write is a trip to another thread. */
async function writeAll(file: FileHandle, body: Source, signal: AbortSignal): Promise<void> {
  let waiting: Uint8Array[] = []
  let bytes = 0
  const flush = async () => {
    while (bytes > 0) {
      signal.throwIfAborted()
      const { bytesWritten } = await file.writev(waiting)
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

interface Row {
  readonly code: FaultCode
  readonly remedy?: (folder: string) => string
}

const full: Row = { code: 'TooLarge', remedy: folder => `Make room on the disk or in the quota of ${folder}.` }
const denied: Row = {
  code: 'Denied',
  remedy: folder => `The user that runs Orthanc must own ${folder} or be allowed to write there.`,
}
const table: Readonly<Record<string, Row>> = {
  ENOENT: { code: 'NotFound' },
  ENOTDIR: { code: 'NotFound' },
  EISDIR: { code: 'NotFound' },
  ELOOP: { code: 'Denied', remedy: () => 'Symbolic links are not followed.' },
  EACCES: denied,
  EPERM: denied,
  EROFS: denied,
  ENOSPC: full,
  EDQUOT: full,
  EFBIG: full,
  EMFILE: { code: 'Unavailable', remedy: () => 'Raise the limit of open files (ulimit -n) of Orthanc.' },
  ENFILE: { code: 'Unavailable' },
  EIO: { code: 'Unavailable', remedy: folder => `Look at the disk, or at the network mount, of ${folder}.` },
  ESTALE: { code: 'Unavailable' },
  ETIMEDOUT: { code: 'Unavailable' },
  ENOTCONN: { code: 'Unavailable', remedy: folder => `The mount of ${folder} is gone.` },
  ENAMETOOLONG: { code: 'BadRequest' },
}

async function translate<T>(root: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw faultOf(error, root)
  }
}

async function* translated<T>(root: string, items: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* items
  } catch (error) {
    throw faultOf(error, root)
  }
}

function faultOf(error: unknown, folder: string): Fault {
  if (error instanceof Fault) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (error instanceof Error && error.name === 'AbortError') return new Fault('Canceled', 'given up', { cause: error })
  const row = table[code]
  return new Fault(row?.code ?? 'Internal', said(error), { cause: error, remedy: row?.remedy?.(folder) })
}

/** Node's message without the path, which the fault's place already names. */
function said(error: unknown): string {
  return error instanceof Error ? error.message.replace(/, \w+ '.*$/s, '') : String(error)
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
