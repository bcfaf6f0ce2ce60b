/** The journal of removals in a folder of its own, which a test may open several times, as several engines would. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Deletions, type DeletionsOptions } from '../../src/deletions/deletions.ts'
import { thisProcess } from '../../src/stores/directory/lease-process.ts'
import type { Store } from '../../src/stores/store.ts'
import { undo } from './undo.ts'

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ocs-deletions-'))
  undo.push(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A process that has ended: nobody has this number, or it began at another time. */
export const ended = { ...thisProcess(), started: '1' }

export interface OpenOptions extends Partial<DeletionsOptions> {
  readonly lines?: string[]
  /** Not the engine that follows a dead one. */
  readonly isFirst?: boolean
}

/** Not yet sending. `lines`: gets the warnings. */
export async function openDeletions(
  folder: string,
  store: Pick<Store, 'name' | 'removeMany'>,
  { lines = [], isFirst, ...more }: OpenOptions = {},
): Promise<Deletions> {
  const log = { info: () => {}, warn: (line: string) => void lines.push(line) }
  const deletions = new Deletions({
    folder,
    makeAbove: false,
    identity: 'test here bucket',
    log,
    ...more,
    lock: { waitMs: 0, self: ended, ...more.lock },
    sender: {
      gatherMs: 1,
      pausesMs: { first: 1, longest: 2 },
      refusedPausesMs: { first: 1, longest: 2 },
      ...more.sender,
    },
  })
  await deletions.open(store, isFirst)
  undo.push(() => deletions.close(0))
  return deletions
}

/** Polls until `holds`: progress is waited for, not time. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise(resolve => setTimeout(resolve, 2))
}
