/** Options of Orthanc that hold its storage up. Nothing of ours can change them, so whoever runs it is told. */

export interface Situation {
  /** Orthanc's version, such as `1.13.0`; undefined = not known. */
  readonly orthanc: string | undefined
  /** Most connections to the object store; undefined = the files are in a directory. */
  readonly connections: number | undefined
  /** Whether jobs may move files. */
  readonly moves: boolean
}

/** Orthanc's own default. */
const USUAL_LOADERS = 4
/** So many clients can read at once without one waiting for another (docs/tuning.md). */
const ENOUGH_LOADERS = 16
const FEW_HTTP_THREADS = 20
const INDEXES = ['PostgreSQL', 'MySQL', 'Odbc']

/** One line for all, which ends with what to set; undefined = all is well. `root`: Orthanc's whole configuration. */
export function hintOf(root: Record<string, unknown>, { orthanc, connections, moves }: Situation): string | undefined {
  const better: Record<string, number | boolean> = {}
  const why: string[] = []
  if (connections !== undefined) {
    const loaders = numberOf(root, 'StorageLoaderThreadsCount') ?? USUAL_LOADERS
    const enough = Math.min(connections, ENOUGH_LOADERS)
    if (hasLoaders(orthanc) && loaders < enough) {
      better['StorageLoaderThreadsCount'] = enough
      why.push(`it reads no more than ${loaders} at a time`)
    }
    if (numberOf(root, 'MaximumStorageCacheSize') === 0) {
      better['MaximumStorageCacheSize'] = 128
      why.push('it keeps none in memory and fetches each one every time')
    }
    const threads = numberOf(root, 'HttpThreadsCount')
    if (threads !== undefined && threads < FEW_HTTP_THREADS) {
      better['HttpThreadsCount'] = 50
      why.push(`it answers no more than ${threads} requests at a time, and each waits for the store`)
    }
  }
  // Several Orthancs on one index must not save their jobs there: Orthanc's own advice.
  if (moves && isOff(root['SaveJobs']) && !INDEXES.some(name => sharesIndex(root[name]))) {
    better['SaveJobs'] = true
    why.push('its restart drops the moves under way')
  }
  if (why.length === 0) return undefined
  const options = Object.entries(better).map(([option, value]) => `"${option}": ${value}`)
  return `Orthanc does less with its files than it could: ${why.join('; ')}. Set in its configuration: {${options.join(', ')}}`
}

/** Before 1.13 each thread of Orthanc reads for itself. "mainline" is newer than any release. */
function hasLoaders(orthanc = ''): boolean {
  const [, major, minor] = /^(\d+)\.(\d+)\./.exec(orthanc) ?? []
  return orthanc === 'mainline' || Number(major) > 1 || (Number(major) === 1 && Number(minor) >= 13)
}

/** undefined = not given, or nothing that Orthanc takes: Orthanc says so itself. */
function numberOf(root: Record<string, unknown>, option: string): number | undefined {
  const value = root[option]
  return typeof value === 'number' && value >= 0 ? value : undefined
}

const isOff = (value: unknown) => value === false || value === 'false'

const sharesIndex = (section: unknown) =>
  ![undefined, false, 'false'].includes(Object(section).EnableIndex as boolean | string | undefined)
