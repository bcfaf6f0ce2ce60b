/** When a file counts as absent: only where that is proven. */
import { lstat } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { Fault } from '../../fault.ts'
import { ifThere } from './faults.ts'
import type { FolderRoot } from './root.ts'
import { danglingLink, statIfThere } from './walk.ts'

/** For files that others make and remove at the same moment. */
export const MOST_ATTEMPTS = 10

/** What `look` finds; undefined only for an absence that is proven: the root was there before and after. */
export async function unlessAbsent<T>(
  root: FolderRoot,
  path: string,
  look: () => Promise<T | undefined>,
): Promise<T | undefined> {
  for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt++) {
    const found = await look()
    if (found !== undefined) return found
    await root.prove()
    if (!(await isAbsent(root, path))) continue
    await root.prove()
    return undefined
  }
  throw new Fault('Unavailable', 'something else keeps creating and removing the file')
}

/** A link on the way that leads nowhere does not prove an absence, but hides what may be there. */
async function isAbsent({ disk, path: root }: FolderRoot, path: string): Promise<boolean> {
  const names = relative(root, path).split(sep)
  for (let i = 1; i <= names.length; i++) {
    const next = join(root, ...names.slice(0, i))
    const found = await statIfThere(disk, next)
    if (!found && (await ifThere(disk.run(() => lstat(next))))?.isSymbolicLink()) throw danglingLink(next)
    if (!found || (i < names.length && !found.isDirectory())) return true
  }
  return false
}
