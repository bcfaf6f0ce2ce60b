import { readFileSync, readlinkSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

/**
 * Where relative paths of Orthanc's configuration begin: in the folder of the configuration file, or in the folder that
 * was named instead of a file, or in Orthanc's working directory if none was named. No function of Orthanc returns this
 * folder: OrthancPluginGetConfigurationPath gives the parent of a folder that is named without a slash at its end
 * (tried with 1.10.1). Orthanc's command line has it: the only argument that is not an option. `orthanc`: process id.
 * undefined: the folder is not known.
 */
export function configurationFolder(orthanc: number): string | undefined {
  try {
    const workingDirectory = readlinkSync(`/proc/${orthanc}/cwd`)
    const [, ...args] = readFileSync(`/proc/${orthanc}/cmdline`, 'utf8').split('\0')
    const [path, ...more] = args.filter(arg => arg !== '' && !arg.startsWith('-'))
    if (path === undefined) return workingDirectory
    if (more.length > 0) return undefined // that is no Orthanc
    return folderOf(resolve(workingDirectory, path))
  } catch {
    return undefined
  }
}

/** `path`: of a configuration, a file or a folder. */
export function folderOf(path: string): string {
  const absolute = resolve(path)
  return statSync(absolute, { throwIfNoEntry: false })?.isDirectory() ? absolute : dirname(absolute)
}
