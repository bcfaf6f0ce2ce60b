/** Other plugins that would store Orthanc's files. Orthanc uses one of them and does not say which. */
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { isObject } from '../fault.ts'
import { bad } from './reading.ts'

/** The names of libraries, by the section that turns them on. */
const LIBRARIES: Readonly<Record<string, RegExp>> = {
  AwsS3Storage: /^libOrthancAwsS3Storage.*\.so/i,
  AzureBlobStorage: /^libOrthancAzureBlobStorage.*\.so/i,
  GoogleCloudStorage: /^libOrthancGoogleCloudStorage.*\.so/i,
}
const ADVANCED = /^lib(Orthanc)?AdvancedStorage.*\.so|^OrthancAdvancedStorage.*\.so/i

/** Our own library may have replaced an official one under its name. It is small and contains our name. */
const LARGEST_OURS = 4 * 1024 * 1024
const OUR_NAME = 'orthanc-cloud-storage'

/** `section`: of the provider; `folder`: where Orthanc takes relative paths from, if that is known. */
export function refuseOthers(root: Record<string, unknown>, section: string, folder: string | undefined): void {
  const { Plugins: given, AdvancedStorage: advanced } = root
  const paths = Array.isArray(given) ? given.filter(path => typeof path === 'string') : []
  const others = [LIBRARIES[section]]
  if (isObject(advanced) && [true, 'true'].includes(advanced['Enable'] as boolean | string)) others.push(ADVANCED)
  for (const library of paths.flatMap(path => librariesAt(resolve(folder ?? '.', path))))
    if (others.some(name => name?.test(basename(library))) && !isOurs(library))
      throw bad(
        `Plugins has ${library}, which also stores files when ${section} is configured; remove it or this plugin from there: with both, Orthanc does not say which one stores`,
      )
}

/** As Orthanc does: a file, or what is directly in a folder. Orthanc itself reports what cannot be read. */
function librariesAt(path: string): readonly string[] {
  try {
    return statSync(path).isDirectory() ? readdirSync(path).map(name => join(path, name)) : [path]
  } catch {
    return []
  }
}

function isOurs(library: string): boolean {
  let file: number | undefined
  try {
    file = openSync(library, 'r')
    const bytes = Buffer.alloc(LARGEST_OURS)
    const size = readSync(file, bytes)
    return size < LARGEST_OURS && bytes.subarray(0, size).includes(OUR_NAME)
  } catch {
    return false
  } finally {
    if (file !== undefined) closeSync(file)
  }
}
