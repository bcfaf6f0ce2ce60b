/** The folder of the journal: made, proven to be ours, and read. */
import { constants } from 'node:fs'
import { access, chmod, mkdir, readdir, readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Fault, isCode, isErrno, messageWithoutPath } from '../fault.ts'
import type { Disk } from '../stores/directory/disk.ts'
import { ifThere } from '../stores/directory/faults.ts'
import { unmountedAbove } from '../stores/directory/mounts.ts'
import { syncOnce } from '../stores/directory/sync.ts'
import { Entries, type Segment } from './entries.ts'
import { LOCK } from './lock.ts'
import { recordOf } from './record.ts'

const SEGMENT = /^(\d{10})\.journal$/
const OURS = new RegExp(`^${LOCK}$|${SEGMENT.source}|^\\d{10}\\.damaged$`)

export const segmentFile = (folder: string, number: number) =>
  join(folder, `${String(number).padStart(10, '0')}.journal`)
export const damagedFile = (folder: string, number: number) =>
  join(folder, `${String(number).padStart(10, '0')}.damaged`)

/**
 * Makes the folder, or proves that it is one of ours. `above`: whether the folders above it are made, too, as Orthanc
 * makes its own.
 */
export async function prepareFolder(disk: Disk, folder: string, above: boolean): Promise<void> {
  try {
    const names = await ifThere(disk.run(() => readdir(folder)))
    if (names?.some(name => !OURS.test(name))) throw foreign(folder)
    if (names && names.length > 0) return await makePrivate(disk, folder)
    const point = await unmountedAbove(folder)
    if (point !== undefined)
      throw new Fault('Unavailable', `/etc/fstab has ${point}, but nothing is mounted on it`, {
        remedy: `Mount ${point}.`,
      })
    if (names) return await makePrivate(disk, folder)
    if (above) await disk.run(() => mkdir(dirname(folder), { recursive: true }))
    await disk.run(() => mkdir(folder, { mode: 0o700 }))
    await syncOnce(disk, dirname(folder))
  } catch (error) {
    throw unusable(folder, error)
  }
}

/** The folder may belong to another user whose group we are in. */
async function makePrivate(disk: Disk, folder: string): Promise<void> {
  await disk
    .run(() => chmod(folder, 0o700))
    .catch(error => {
      if (!isErrno(error, 'EPERM')) throw error
    })
}

/** Rejects when the folder could not be made or written. Changes nothing. */
export async function lookAtFolder(folder: string, above: boolean): Promise<void> {
  let nearest = folder
  const isThere = (path: string) =>
    access(path).then(
      () => true,
      error => !isErrno(error, 'ENOENT'),
    )
  if (!(await isThere(nearest))) nearest = dirname(nearest)
  while (above && !(await isThere(nearest)) && nearest !== '/') nearest = dirname(nearest)
  const names = nearest === folder ? await readdir(folder).catch(() => []) : []
  if (names.some(name => !OURS.test(name))) throw foreign(folder)
  await access(nearest, constants.W_OK | constants.X_OK).catch(error => {
    throw unusable(folder, error)
  })
}

export interface Found {
  readonly entries: Entries
  /** Ascending. */
  readonly segments: readonly Segment[]
  /** One line for each file that is damaged. */
  readonly warnings: readonly string[]
}

/** Everything that is in the journal. Changes nothing. */
export async function readJournal(disk: Disk, folder: string): Promise<Found> {
  const entries = new Entries()
  const segments: Segment[] = []
  const warnings: string[] = []
  const names = (await ifThere(disk.run(() => readdir(folder)))) ?? []
  for (const name of names.sort()) {
    const [, number] = SEGMENT.exec(name) ?? []
    if (number === undefined) continue
    // A file is gone when another process, whose folder is only looked at, has removed it since.
    const text = await ifThere(disk.run(() => readFile(join(folder, name), 'utf8')))
    if (text === undefined) continue
    const segment: Segment = { number: Number(number), live: 0, bytes: Buffer.byteLength(text), damaged: false }
    segments.push(segment)
    const { inside, atEnd } = readSegment(text, segment, entries)
    segment.damaged = inside > 0
    if (inside > 0)
      warnings.push(
        `${inside} lines in the middle of ${join(folder, name)} are damaged, and the removals in them are lost: their objects are orphans. The file is kept as ${basename(damagedFile(folder, segment.number))}`,
      )
    if (atEnd > 0)
      warnings.push(
        `${join(folder, name)} ends in ${atEnd} bytes that were not written whole: a crash cut them off. The removals in them, of the last moment before it, may leave orphans`,
      )
  }
  return { entries, segments, warnings }
}

/** How many lines are damaged with good ones after them, and how many bytes at the end have no good line. */
function readSegment(text: string, segment: Segment, entries: Entries): { inside: number; atEnd: number } {
  let inside = 0
  let bad = 0
  let badBytes = 0
  const lines = text.split('\n')
  const rest = lines.pop() ?? ''
  for (const line of lines) {
    const record = recordOf(line)
    if (!record) {
      bad++
      badBytes += Buffer.byteLength(line) + 1
      continue
    }
    inside += bad
    bad = badBytes = 0
    const { store, key } = record
    if (record.kind === 'done') entries.delete(store, key)
    else if (record.kind === 'removal') entries.set(store, { key, at: record.at, segment })
    else entries.set(store, { key, at: record.at, segment, words: record.words })
  }
  return { inside, atEnd: badBytes + Buffer.byteLength(rest) }
}

const REMEDY =
  'Give it to the user that runs Orthanc, or set another folder as CloudStorage.DeferredDeletion.Path, or turn DeferredDeletion off.'

export function unusable(folder: string, cause: unknown): Fault {
  if (isCode(cause, 'BadConfig') || isCode(cause, 'Unavailable')) return cause
  const absent = isErrno(cause, 'ENOENT', 'ENOTDIR') ? ` The folder ${dirname(folder)} must be there.` : ''
  return new Fault('BadConfig', `the journal of removals cannot be kept in ${folder}: ${messageWithoutPath(cause)}`, {
    cause,
    remedy: `${REMEDY}${absent}`,
  })
}

const foreign = (folder: string) =>
  new Fault('BadConfig', `the folder ${folder} has files that are not of a journal of removals`, {
    remedy: 'Set an empty folder, or one that is not there yet, as CloudStorage.DeferredDeletion.Path.',
  })
