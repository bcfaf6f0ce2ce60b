import type { TierName } from '../area/area.ts'
import { Fault, isObject } from '../fault.ts'
import type { JsonObject } from '../orthanc.ts'
import { BEGINNING, type Cursor, levels, type ResourceLevel } from './walk.ts'

/** What `POST /move-storage` asked for. */
export interface MoveRequest {
  /** The ids by level; undefined for everything that Orthanc has. */
  readonly resources: Readonly<Record<ResourceLevel, readonly string[]>> | undefined
  readonly target: TierName
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

export interface FileTally {
  Files: number
  Bytes: number
}

/** What a job has done up to its cursor. */
export interface Results {
  readonly Moved: FileTally
  readonly AlreadyThere: FileTally
  /** Of a dry run: where the files are. A file on both tiers counts on both. */
  readonly OnFileSystem: FileTally
  readonly OnObjectStorage: FileTally
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

/** Further failures are only counted. Orthanc writes the whole state to its database, and the log has each failure. */
export const KEPT_FAILURES = 500
const VERSION = 1

const none = (): FileTally => ({ Files: 0, Bytes: 0 })

export function begun(request: MoveRequest): MoveState {
  const results = { Moved: none(), AlreadyThere: none(), OnFileSystem: none(), OnObjectStorage: none() }
  return { request, cursor: BEGINNING, progress: 0, results: { ...results, Failed: 0, Failures: [] } }
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

/** From what serialize() gave, maybe in an older version. It comes from a database: every part of it is checked. */
export function restore(state: JsonObject): MoveState {
  const { Version, Scope, TargetStorage: target, Cursor, Progress, Results } = state
  if (Version !== VERSION || !isObject(Cursor) || !isObject(Results))
    throw new Fault(
      'BadRequest',
      'a saved move is dropped: another version of this plugin, or another plugin, made it',
      {
        remedy: 'Its files are where they were, and can be read; start the move again.',
      },
    )
  if (target !== 'file-system' && target !== 'object-storage') throw odd('TargetStorage')
  const { Top, Path, Before } = Cursor
  const ids = Object.fromEntries(levels.map(level => [level, texts(state[level] ?? [], level)]))
  return {
    request: {
      resources: Scope === 'All' ? undefined : (ids as Record<ResourceLevel, string[]>),
      target,
      dryRun: state['DryRun'] === true,
      keepSource: state['KeepSource'] === true,
    },
    cursor: {
      top: figure(Top, 'Top'),
      path: texts(Path, 'Path'),
      ...(Before !== undefined && { before: texts(Before, 'Before') }),
    },
    progress: Math.min(1, figure(Progress, 'Progress')),
    results: resultsOf(Results),
  }
}

function resultsOf({ Moved, AlreadyThere, OnFileSystem, OnObjectStorage, Failed, Failures }: JsonObject): Results {
  if (!Array.isArray(Failures)) throw odd('Failures')
  return {
    Moved: fileTallyOf(Moved),
    AlreadyThere: fileTallyOf(AlreadyThere),
    OnFileSystem: fileTallyOf(OnFileSystem),
    OnObjectStorage: fileTallyOf(OnObjectStorage),
    Failed: figure(Failed, 'Failed'),
    Failures: Failures.map(failure => {
      const [Attachment, Uuid, Reason] = isObject(failure)
        ? texts([failure['Attachment'], failure['Uuid'], failure['Reason']], 'Failures')
        : []
      if (Attachment === undefined || Uuid === undefined || Reason === undefined) throw odd('Failures')
      return { Attachment, Uuid, Reason }
    }),
  }
}

function fileTallyOf(tally: unknown): FileTally {
  if (!isObject(tally)) throw odd('Results')
  return { Files: figure(tally['Files'], 'Files'), Bytes: figure(tally['Bytes'], 'Bytes') }
}

function figure(value: unknown, name: string): number {
  if (typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER) return value
  throw odd(name)
}

function texts(value: unknown, name: string): readonly string[] {
  if (Array.isArray(value) && value.every(text => typeof text === 'string')) return value
  throw odd(name)
}

const odd = (name: string) =>
  new Fault(
    'BadRequest',
    `the job cannot go on: "${name}" in the state that Orthanc saved of it is not what a job writes`,
  )

/** `Content` of `GET /jobs/{id}`: the ids by level, as the official plugins show them, and what has been done. */
export function jobContent({ request, results }: MoveState): JsonObject {
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
