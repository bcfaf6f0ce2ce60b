import { randomBytes } from 'node:crypto'
import { link, lstat, open, rename, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Bytes } from '../bytes.ts'
import { Fault, isErrno } from '../fault.ts'
import { fileFault } from './file-fault.ts'

export interface OutputOptions {
  readonly force: boolean
  /** Of the new file. */
  readonly mode: number
}

/** Where bytes go: `-` is standard output, everything else a file that appears whole or not at all. */
export async function writeOutput(path: string, body: Bytes, options: OutputOptions): Promise<void> {
  if (path === '-') return pipeline(Readable.from(body), process.stdout, { end: false })
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)
  const file = await open(temporary, 'wx', options.mode).catch(cause => {
    throw fileFault('write', path, cause)
  })
  try {
    try {
      for await (const chunk of body) await file.writeFile(chunk)
      await file.sync()
    } finally {
      await file.close()
    }
    await publish(temporary, path, options.force)
  } catch (cause) {
    await unlink(temporary).catch(() => {}) // the first failure is the one to report
    throw fileFault('write', path, cause)
  }
  await syncFolder(dirname(path)).catch(cause => {
    throw fileFault('write', path, cause)
  })
}

/** Not every file system can sync a folder, and not every user may read one. The file is there all the same. */
async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(path, 'r')
    await folder.sync().finally(() => folder.close())
  } catch (error) {
    if (!isErrno(error, 'EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EACCES')) throw error
  }
}

/** Refuses what can be refused before hours of work. */
export async function checkOutput(path: string, { force }: { readonly force: boolean }): Promise<void> {
  if (path === '-') {
    if (process.stdout.isTTY)
      throw new Fault('BadRequest', 'standard output is a terminal, which cannot show these bytes', {
        remedy: 'Name a file, or redirect standard output.',
      })
    return
  }
  const found = await lstat(path).catch(() => undefined)
  if (found && !found.isFile()) throw new Fault('BadRequest', `${path} is there and is not a file`)
  if (found && !force) throw exists(path)
}

async function publish(temporary: string, path: string, force: boolean): Promise<void> {
  if (!force)
    try {
      // Unlike rename(), link() fails when something else has made the file meanwhile.
      await link(temporary, path)
      return await unlink(temporary)
    } catch (error) {
      if (isErrno(error, 'EEXIST')) throw exists(path)
      // A file system without hard links: look, then rename.
      await checkOutput(path, { force })
    }
  await rename(temporary, path)
}

function exists(path: string): Fault {
  return new Fault('BadRequest', `${path} exists and is left as it is`, { remedy: 'To overwrite it, give --force.' })
}
