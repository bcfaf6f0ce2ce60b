/** `verify --repair`: what was asked for, and the proofs that are needed. */

import { prefixOf } from '../area/naming.ts'
import type { Tier } from '../area/tier.ts'
import type { Composition } from '../compose.ts'
import type { EngineConfig } from '../config/config.ts'
import { Fault, isObject } from '../fault.ts'
import type { MovesRun } from '../repair/doubles.ts'
import type { Away } from '../repair/orphans.ts'
import { repair } from '../repair/repair.ts'
import type { Place } from '../verify/place.ts'
import type { Scratch } from '../verify/scratch.ts'
import type { Verification } from '../verify/verify.ts'
import { MOST_LINES } from './bulk-report.ts'
import { composeGuest, type GuestOptions } from './compose-guest.ts'
import { readConfig } from './orthanc-config.ts'
import type { OpenedIndex } from './orthanc-index.ts'
import { note } from './terminal.ts'
import type { VerifyReport } from './verify-report.ts'

/** As it was written on the command line. */
export interface AskedRepairs {
  readonly orphans?: Away
  readonly doubles?: Away
  readonly leftovers?: true
  /** Orthanc's configuration of the store that has the missing files. */
  readonly fetchFrom?: string
}

const FORMS = 'orphans=trash, orphans=delete, doubles, doubles=trash, leftovers, missing=fetch-from FILE'

export function refuseReadOnly({ readOnly }: Pick<EngineConfig, 'readOnly'>): void {
  if (!readOnly) return
  throw new Fault('BadRequest', 'the configuration is ReadOnly, so nothing is changed', {
    remedy: 'Give the configuration of the Orthanc that writes.',
  })
}

/** The words of `--repair`, which are separated by blanks or commas. Throws `BadRequest`. */
export function parseRepairs(words: readonly string[]): AskedRepairs {
  let asked: AskedRepairs = {}
  const left = words.flatMap((word, i) => (words[i - 1] === 'missing=fetch-from' ? [word] : word.split(',')))
  for (let word = left.shift(); word !== undefined; word = left.shift()) {
    if (word === '') continue
    if (word === 'orphans=trash') asked = { ...asked, orphans: 'trash' }
    else if (word === 'orphans=delete') asked = { ...asked, orphans: 'delete' }
    else if (word === 'doubles' || word === 'doubles=delete') asked = { ...asked, doubles: 'delete' }
    else if (word === 'doubles=trash') asked = { ...asked, doubles: 'trash' }
    else if (word === 'leftovers') asked = { ...asked, leftovers: true }
    else if (word === 'missing=fetch-from') {
      const fetchFrom = left.shift()
      if (!fetchFrom) throw notUnderstood('missing=fetch-from needs a file')
      asked = { ...asked, fetchFrom }
    } else throw notUnderstood(`${word} is not known`)
  }
  return asked
}

/** Throws `BadRequest` when the options do not fit together. */
export function checkRepairs(options: {
  readonly repair?: readonly string[]
  readonly emptyTrash?: true
  readonly yes?: true
  readonly expect?: number
}): void {
  const { repair: words, emptyTrash, yes, expect } = options
  const asked = words && parseRepairs(words)
  const wrong = (what: string) => new Fault('BadRequest', what)
  if (asked && emptyTrash) throw wrong('--repair and --empty-trash are two commands')
  if (yes && !asked && !emptyTrash) throw wrong('--yes is given without --repair or --empty-trash')
  if (expect !== undefined && !asked?.orphans) throw wrong('--expect is given without --repair orphans=…')
}

const notUnderstood = (what: string) => new Fault('BadRequest', `--repair: ${what}`, { remedy: `Give ${FORMS}.` })

/**
 * The index is that of the store when it is the database that the same configuration names, or when the Orthanc that
 * was asked says that its files are in this store, below this root path.
 */
export function proofOfBelonging(
  { orthanc }: OpenedIndex,
  { identity, rootPath }: Pick<Composition, 'identity' | 'rootPath'>,
): (signal: AbortSignal) => Promise<void> {
  return async signal => {
    if (!orthanc) return
    const status = await orthanc.get('/cloud-storage/status', signal)
    if (!isObject(status) || typeof status['StoreIdentity'] !== 'string')
      throw new Fault('BadRequest', `${orthanc.name} does not say where its files are, so nothing is repaired`, {
        remedy: 'Its plugin must be ours, and of this version (GET /cloud-storage/status).',
      })
    const [theirs, ours] = [
      [status['StoreIdentity'], String(status['RootPath'])],
      [identity, rootPath],
    ]
    if (theirs.join('\n') === ours.join('\n')) return
    const shown = ([store, root]: readonly (string | undefined)[]) => `${store}${root ? `, below ${root}` : ''}`
    throw new Fault(
      'BadRequest',
      `${orthanc.name} has its files in ${shown(theirs)}, and the configuration names ${shown(ours)}: nothing is repaired`,
      { remedy: "Give that Orthanc's own configuration with --config." },
    )
  }
}

/** Of our plugin and of the official one. */
const MOVES = /^MoveStorage/
const OVER = ['Success', 'Failure']

export function movesOf({ orthanc }: OpenedIndex): MovesRun | undefined {
  if (!orthanc) return undefined
  return async signal => {
    const jobs = await orthanc.get('/jobs?expand', signal)
    if (!Array.isArray(jobs)) throw new Fault('Internal', `${orthanc.name} does not tell its jobs`)
    return jobs.some(job => isObject(job) && MOVES.test(String(job['Type'])) && !OVER.includes(String(job['State'])))
  }
}

/** The store of another configuration, to be read from. */
export interface Replica {
  readonly tiers: readonly Tier[]
  close(): Promise<void>
}

export function openReplica(file: string, options: GuestOptions, own: EngineConfig & { identity: string }): Replica {
  const config = readConfig([file])
  if (!config) throw new Fault('BadConfig', `${file} has no section of a storage provider`)
  const composition = composeGuest(config, options)
  if (composition.identity === own.identity && prefixOf(config.naming) === prefixOf(own.naming)) {
    void composition.store.close()
    throw new Fault('BadRequest', `${file} names the same store as --config`, {
      remedy: 'Name the configuration of the store that has the missing files.',
    })
  }
  return { tiers: Object.values(composition.tiers), close: () => composition.store.close() }
}

export interface HowToRepair extends Pick<AskedRepairs, 'orphans' | 'doubles' | 'leftovers'> {
  readonly replica: readonly Tier[] | undefined
  readonly yes: boolean
  readonly expect: number | undefined
  readonly concurrency: number
  readonly places: readonly Place[]
}

/** Rejects when a repair may not be made, or could not be finished. What fails alone is told. */
export async function repairFound(
  { replica, orphans, doubles, leftovers, ...how }: HowToRepair,
  verification: Verification,
  scratch: Scratch,
  opened: OpenedIndex,
  composition: Composition,
  report: VerifyReport,
  signal: AbortSignal,
): Promise<void> {
  const repairs = {
    ...(orphans && { orphans }),
    ...(doubles && { doubles }),
    ...(leftovers && { leftovers }),
    ...(replica && { missing: replica }),
  }
  const options = {
    ...how,
    repairs,
    index: opened.index,
    tiers: composition.hybrid,
    proveBelonging: proofOfBelonging(opened, composition),
    movesRun: movesOf(opened),
    onRepaired: report.repaired,
    onSettled: report.settled,
    onFailure: (error: unknown) => {
      if (report.notRepaired() <= MOST_LINES) note(Fault.from(error).describe())
    },
  }
  await repair(verification, scratch, options, signal)
}
