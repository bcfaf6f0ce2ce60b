/** Parts of what a job saves with Orthanc. It comes back from a database: every part of it is checked. */
import { Fault, isObject } from '../fault.ts'
import type { JsonObject } from '../orthanc.ts'
import { type Cursor, type Grouped, levels } from './walk.ts'

export interface FileTally {
  Files: number
  Bytes: number
}

export interface Failure {
  /** `/instances/<id>/attachments/dicom` */
  readonly Attachment: string
  readonly Uuid: string
  readonly Reason: string
}

/** Further failures are only counted. Orthanc writes the whole state to its database, and the log has each failure. */
export const KEPT_FAILURES = 500

export const none = (): FileTally => ({ Files: 0, Bytes: 0 })

export function add(tally: FileTally, bytes: number): void {
  tally.Files++
  tally.Bytes += bytes
}

export function saveCursor({ top, path, before }: Cursor): JsonObject {
  return { Top: top, Path: path, ...(before && { Before: before }) }
}

export function cursorOf(saved: unknown): Cursor {
  if (!isObject(saved)) throw odd('Cursor')
  const { Top, Path, Before } = saved
  return {
    top: figure(Top, 'Top'),
    path: texts(Path, 'Path'),
    ...(Before !== undefined && { before: texts(Before, 'Before') }),
  }
}

export function groupedOf(saved: JsonObject): Grouped {
  return Object.fromEntries(levels.map(level => [level, texts(saved[level] ?? [], level)])) as Record<
    keyof Grouped,
    readonly string[]
  >
}

export function failuresOf(saved: unknown): Failure[] {
  if (!Array.isArray(saved)) throw odd('Failures')
  return saved.map(failure => {
    const [Attachment, Uuid, Reason] = isObject(failure)
      ? texts([failure['Attachment'], failure['Uuid'], failure['Reason']], 'Failures')
      : []
    if (Attachment === undefined || Uuid === undefined || Reason === undefined) throw odd('Failures')
    return { Attachment, Uuid, Reason }
  })
}

export function fileTallyOf(tally: unknown): FileTally {
  if (!isObject(tally)) throw odd('Results')
  return { Files: figure(tally['Files'], 'Files'), Bytes: figure(tally['Bytes'], 'Bytes') }
}

export function figure(value: unknown, name: string): number {
  if (typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER) return value
  throw odd(name)
}

export function texts(value: unknown, name: string): readonly string[] {
  if (Array.isArray(value) && value.every(text => typeof text === 'string')) return value
  throw odd(name)
}

export const odd = (name: string) =>
  new Fault(
    'BadRequest',
    `the job cannot go on: "${name}" in the state that Orthanc saved of it is not what a job writes`,
  )
