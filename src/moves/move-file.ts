import type { Attachment } from '../area/area.ts'
import type { HybridArea } from '../area/hybrid.ts'
import { Fault } from '../fault.ts'
import { add } from './saved.ts'
import type { MoveRequest, MoveState } from './state.ts'
import type { KnownFile } from './walk.ts'

/** What became of one file. */
export type FileOutcome =
  | { readonly kind: 'moved' | 'there' | 'counted'; apply(state: MoveState): void }
  | { readonly kind: 'failed'; readonly fault: Fault }

/** Does what is asked for with one file: moves it, copies it, or only counts it. */
export async function moveFile(
  area: HybridArea,
  { target, keepSource, dryRun }: MoveRequest,
  { attachment, known }: KnownFile,
  signal: AbortSignal,
): Promise<FileOutcome> {
  if (dryRun) return await countFile(area, attachment, known.size, signal)
  const moved = await area.move(attachment, target, { keepSource, known }, signal)
  if (moved === 'missing') throw missing(attachment.uuid)
  const there = moved === 'already-there'
  return {
    kind: there ? 'there' : 'moved',
    apply: ({ results }) => add(there ? results.AlreadyThere : results.Moved, known.size),
  }
}

async function countFile(
  area: HybridArea,
  attachment: Attachment,
  size: number,
  signal: AbortSignal,
): Promise<FileOutcome> {
  const found = await area.locate(attachment, signal)
  if (!found['file-system'] && !found['object-storage']) throw missing(attachment.uuid)
  return {
    kind: 'counted',
    apply({ results }) {
      if (found['file-system']) add(results.OnFileSystem, size)
      if (found['object-storage']) add(results.OnObjectStorage, size)
    },
  }
}

function missing(uuid: string): Fault {
  return new Fault('NotFound', 'the file is neither on the file system nor in the object storage', {
    where: { verb: 'move', key: uuid },
    remedy: "It is in Orthanc's database, but its bytes are lost. Look for it in a backup.",
  })
}
