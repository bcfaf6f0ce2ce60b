import { isAbsolute, join, relative } from 'node:path'
import { z } from 'zod'
import { DEFAULT_DIRECTORY } from './hybrid.ts'
import { bad } from './reading.ts'
import { shown } from './shown.ts'
import { flag, requiredText } from './values.ts'

/** `CloudStorage.DeferredDeletion`: removals are noted in a journal and sent later. */
export interface DeletionsConfig {
  readonly enabled: boolean
  /** Where the journal is, or was when this was turned on. */
  readonly folder: string
  /** Whether the folders above may be made: Orthanc makes its own. */
  readonly makeAbove: boolean
}

/** Below Orthanc's `StorageDirectory`. It is no folder of files there: see stores/directory/names.ts. */
export const DELETIONS_FOLDER = 'cloud-storage-deletions'

const OPTION = 'CloudStorage.DeferredDeletion.Path'
const ALLOWED = 'true, false, or an object with the Path of a folder, such as {"Path": "/var/lib/orthanc/deletions"}'

export const deferredDeletion = z
  .union([z.strictObject({ Path: requiredText('the path of a folder') }), flag], { error: ALLOWED })
  .default(false)

/**
 * `objects`: the folder of a `DirectoryStorage`; `folder`: where relative paths begin, if that is known. undefined =
 * nobody knows where the journal would be.
 */
export function readDeletions(
  given: z.output<typeof deferredDeletion>,
  storageDirectory: string | undefined,
  objects: string | undefined,
  folder: string | undefined,
): DeletionsConfig | undefined {
  const enabled = given !== false
  const own = typeof given === 'object' ? given.Path : undefined
  const path = own ?? join(storageDirectory ?? DEFAULT_DIRECTORY, DELETIONS_FOLDER)
  const absolute = isAbsolute(path) ? path : folder && join(folder, path)
  if (absolute === undefined) {
    if (!enabled) return undefined
    throw bad(
      own === undefined
        ? 'StorageDirectory must be an absolute path for CloudStorage.DeferredDeletion: the journal lies below it'
        : `${OPTION} is ${shown(OPTION, own)}, but must be an absolute path`,
    )
  }
  if (own !== undefined) refuseInside(absolute, objects, storageDirectory)
  return { enabled, folder: absolute, makeAbove: own === undefined }
}

/** Among files that are listed, the journal would be taken for one of them. */
function refuseInside(path: string, objects: string | undefined, storageDirectory: string | undefined): void {
  const places: [string, string | undefined][] = [
    ['DirectoryStorage.Path', objects],
    ['StorageDirectory', storageDirectory],
  ]
  for (const [option, place] of places) {
    if (place === undefined || !isAbsolute(place)) continue
    const within = relative(place, path)
    if (within.startsWith('..') || isAbsolute(within) || within === DELETIONS_FOLDER) continue
    throw bad(`${OPTION} is ${shown(OPTION, path)}, but must not be inside ${option}, among the files`)
  }
}
