/** What the operating system says about files, as Faults. */
import { errnoOf, Fault, type FaultCode, isErrno, messageWithoutPath, rowFor, sameRow } from '../../fault.ts'

interface Row {
  readonly code: FaultCode
  readonly remedy?: (folder: string) => string
}

const full: Row = { code: 'TooLarge', remedy: folder => `Make room on the disk or in the quota of ${folder}.` }
const denied: Row = {
  code: 'Denied',
  remedy: folder => `The user that runs Orthanc must own ${folder} or be allowed to write there.`,
}
/** The disk, or the way to it. */
const away: Row = { code: 'Unavailable', remedy: folder => `Check the disk or the network mount of ${folder}.` }
const unable: Row = {
  code: 'BadConfig',
  remedy: folder =>
    `${folder} must be on a file system that can do this. For a bucket, use its own section, such as AwsS3Storage.`,
}

const table: Readonly<Record<string, Row>> = {
  // A proven absence does not come here. The folder above is gone, or something else changes files at the same time.
  ENOENT: { code: 'Unavailable' },
  ENOTDIR: { code: 'BadConfig', remedy: folder => `There is a file below ${folder} where a folder should be.` },
  EISDIR: { code: 'BadConfig', remedy: folder => `There is a folder below ${folder} where a file should be.` },
  ELOOP: { code: 'BadConfig', remedy: folder => `Symbolic links below ${folder} lead in a circle: remove them.` },
  ...sameRow(denied, 'EACCES', 'EPERM', 'EROFS'),
  ...sameRow(full, 'ENOSPC', 'EDQUOT', 'EFBIG'),
  ...sameRow(unable, 'EINVAL', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EXDEV'),
  ...sameRow(away, 'EIO', 'ESTALE', 'ETIMEDOUT', 'ENODEV', 'ENXIO', 'EBUSY', 'EAGAIN', 'EINTR', 'ENOMEM', 'ENOLINK'),
  ...sameRow(away, 'EREMOTEIO', 'ENOTCONN', 'ECONNABORTED', 'ECONNREFUSED', 'ECONNRESET'),
  ...sameRow(away, 'EHOSTDOWN', 'EHOSTUNREACH', 'ENETDOWN', 'ENETUNREACH'),
  EMFILE: { code: 'Unavailable', remedy: () => 'Raise the limit of open files (ulimit -n) of Orthanc.' },
  ENFILE: { code: 'Unavailable' },
  ENAMETOOLONG: { code: 'BadRequest' },
}

export function faultOf(error: unknown, folder: string): Fault {
  if (error instanceof Fault) return error
  const row = rowFor(table, errnoOf(error))
  return new Fault(row?.code ?? 'Internal', messageWithoutPath(error), { cause: error, remedy: row?.remedy?.(folder) })
}

export async function withFaults<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw faultOf(error, folder)
  }
}

export async function* itemsWithFaults<T>(folder: string, items: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* items
  } catch (error) {
    throw faultOf(error, folder)
  }
}

/** The name is not there, or a part of the path to it. */
export const isAbsence = (error: unknown) => isErrno(error, 'ENOENT', 'ENOTDIR')

/** Undefined for what is not there. */
export async function ifThere<T>(work: Promise<T>): Promise<T | undefined> {
  return await work.catch(error => {
    if (isAbsence(error)) return undefined
    throw error
  })
}
