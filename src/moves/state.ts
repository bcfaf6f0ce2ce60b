import type { TierName } from '../area/area.ts'
import { Fault, isObject } from '../fault.ts'
import type { JsonObject } from '../orthanc.ts'
import {
  cursorOf,
  type Failure,
  type FileTally,
  failuresOf,
  figure,
  fileTallyOf,
  groupedOf,
  none,
  odd,
  saveCursor,
} from './saved.ts'
import { BEGINNING, type Cursor, type Grouped } from './walk.ts'

/** What `POST /move-storage` asked for. */
export interface MoveRequest {
  /** The ids by level; undefined for everything that Orthanc has. */
  readonly resources: Grouped | undefined
  readonly target: TierName
  /** Only count. */
  readonly dryRun: boolean
  readonly keepSource: boolean
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

const VERSION = 1

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
    Cursor: saveCursor(cursor),
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
  return {
    request: {
      resources: Scope === 'All' ? undefined : groupedOf(state),
      target,
      dryRun: state['DryRun'] === true,
      keepSource: state['KeepSource'] === true,
    },
    cursor: cursorOf(Cursor),
    progress: Math.min(1, figure(Progress, 'Progress')),
    results: resultsOf(Results),
  }
}

function resultsOf({ Moved, AlreadyThere, OnFileSystem, OnObjectStorage, Failed, Failures }: JsonObject): Results {
  return {
    Moved: fileTallyOf(Moved),
    AlreadyThere: fileTallyOf(AlreadyThere),
    OnFileSystem: fileTallyOf(OnFileSystem),
    OnObjectStorage: fileTallyOf(OnObjectStorage),
    Failed: figure(Failed, 'Failed'),
    Failures: failuresOf(Failures),
  }
}

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
