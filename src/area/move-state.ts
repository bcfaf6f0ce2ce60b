import { Fault } from '../fault.ts'
import type { Tier } from './area.ts'
import type { JsonObject } from './host.ts'
import { type Cursor, isObject, type Level, levels, start } from './walk.ts'

/** What `POST /move-storage` asked for. */
export interface MoveRequest {
  /** The ids by level; undefined for everything that Orthanc has. */
  readonly resources: Readonly<Record<Level, readonly string[]>> | undefined
  readonly target: Tier
  /** Only count. */
  readonly dryRun: boolean
  readonly keepSource: boolean
}

export interface Failure {
  /** `/instances/<id>/attachments/dicom` */
  readonly Attachment: string
  readonly Uuid: string
  readonly Reason: string
}

export interface Tally {
  Files: number
  Bytes: number
}

/** What a job has done up to its cursor. */
export interface Results {
  readonly Moved: Tally
  readonly AlreadyThere: Tally
  /** Of a dry run: where the files are. A file on both sides counts on both. */
  readonly OnFileSystem: Tally
  readonly OnObjectStorage: Tally
  Failed: number
  /** The first of them. */
  readonly Failures: Failure[]
}

export interface MoveState {
  readonly request: MoveRequest
  cursor: Cursor
  progress: number
  results: Results
}

/** More failures than these are only counted: Orthanc writes the whole state to its database, and the log has the same. */
export const KEPT_FAILURES = 500
const VERSION = 1

const none = (): Tally => ({ Files: 0, Bytes: 0 })

export function begun(request: MoveRequest): MoveState {
  const results = { Moved: none(), AlreadyThere: none(), OnFileSystem: none(), OnObjectStorage: none() }
  return { request, cursor: start, progress: 0, results: { ...results, Failed: 0, Failures: [] } }
}

export function serialize({ request, cursor, progress, results }: MoveState): JsonObject {
  return {
    Version: VERSION,
    ...(request.resources ?? { Scope: 'All' }),
    TargetStorage: request.target,
    DryRun: request.dryRun,
    KeepSource: request.keepSource,
    Cursor: { Top: cursor.top, Path: cursor.path, ...(cursor.before && { Before: cursor.before }) },
    Progress: progress,
    Results: results as unknown as JsonObject,
  }
}

export function restore(state: JsonObject): MoveState {
  const { Version, Scope, TargetStorage: target, Cursor, Results } = state
  if (Version !== VERSION || !isObject(Cursor) || !isObject(Results))
    throw new Fault('BadRequest', 'the job was made by another version of this plugin, or by another plugin')
  const ids = Object.fromEntries(levels.map(level => [level, state[level] ?? []])) as Record<Level, string[]>
  return {
    request: {
      resources: Scope === 'All' ? undefined : ids,
      target: target as Tier,
      dryRun: state['DryRun'] === true,
      keepSource: state['KeepSource'] === true,
    },
    cursor: {
      top: Number(Cursor['Top']),
      path: Cursor['Path'] as string[],
      ...(Array.isArray(Cursor['Before']) && { before: Cursor['Before'] as string[] }),
    },
    progress: Number(state['Progress']),
    results: structuredClone(Results) as unknown as Results,
  }
}

/** `Content` of `GET /jobs/{id}`: the ids by level, as the official plugins show them, and what has been done. */
export function contentOf({ request, results }: MoveState): JsonObject {
  const { Moved, AlreadyThere, OnFileSystem, OnObjectStorage, Failed, Failures } = results
  const shown = request.dryRun ? { OnFileSystem, OnObjectStorage } : { Moved, AlreadyThere }
  return {
    ...(request.resources ?? { Scope: 'All' }),
    TargetStorage: request.target,
    ...(request.dryRun && { DryRun: true }),
    ...(request.keepSource && { KeepSource: true }),
    ...(shown as unknown as JsonObject),
    Failed,
    Failures: Failures as unknown as JsonObject[],
  }
}
