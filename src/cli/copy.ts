import { randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import type { Outcome } from '../bulk/alone.ts'
import { identityOf } from '../config/identity.ts'
import { refuseOnePlace } from '../copy/apart.ts'
import { Copy } from '../copy/copy.ts'
import { type Removed, refuseRemoval, removeExtra } from '../copy/extra.ts'
import { planOf, refuseDecryption } from '../copy/plan.ts'
import { BUDGET_BYTES, Transfer } from '../copy/transfer.ts'
import { typesOf } from '../copy/types.ts'
import { Deletions } from '../deletions/deletions.ts'
import { Fault } from '../fault.ts'
import { Budget } from '../seal/budget.ts'
import { Scratch } from '../verify/scratch.ts'
import { type BulkArguments, runBulk } from './bulk.ts'
import { MOST_LINES } from './bulk-report.ts'
import { type GuestOptions, soon } from './compose-guest.ts'
import { copyTally, copyWording, isEqual } from './copy-report.ts'
import { NO_HTTP, type OpenSide, openSide } from './copy-side.ts'
import { JsonLines } from './json-lines.ts'
import { type IndexArguments, openIndex } from './orthanc-index.ts'
import { fail, failWith, interruption, note, objects, say, warn } from './terminal.ts'
import { refuseReadOnly } from './verify-repair.ts'

export interface CopyArguments extends BulkArguments, Omit<IndexArguments, 'config'>, GuestOptions {
  readonly from: readonly string[]
  readonly to: readonly string[]
  readonly dryRun?: true
  readonly deep?: true
  readonly decrypt?: true
  readonly deleteExtra?: true
  readonly yes?: true
  readonly expect?: number
  readonly scratch?: string
}

/** `open`: for tests. */
export async function copy(options: CopyArguments, open = openIndex): Promise<void> {
  failWith(3)
  const { concurrency, dryRun = false, deep = false, decrypt = false } = options
  const from = openSide(options.from, options, false)
  const to = openSide(options.to, options, !dryRun)
  let scratch: Scratch | undefined
  const stop = interruption()
  stop.addEventListener('abort', () => note('interrupted; the objects under way are given up'))
  try {
    refuseSamePlace(from, to)
    if (to.config && !dryRun) refuseReadOnly(to.config)
    const plan = planOf(from, to)
    if (!decrypt) refuseDecryption(plan, from, to)
    await check(from, to, dryRun, stop)
    if (!dryRun && from.bucket === to.bucket)
      await refuseOnePlace(from, to, `.orthanc-cloud-storage-${randomUUID()}`, stop)
    await tellLimits(from, to)
    if (plan.needsTypes) scratch = await readTypes(options, from, to, open, stop)
    const transfer = new Transfer({ from, to, plan, budget: new Budget(BUDGET_BYTES), again: from.again })
    const types = scratch
    const work = new Copy({
      ...{ from, to, plan, transfer, concurrency, dryRun, deep },
      identity: { from: from.identity, to: to.identity, deep },
      typesOf: shard => (types ? typesOf(types, shard) : () => undefined),
    })
    const wording = copyWording({ from: from.store.name, to: to.store.name, dryRun })
    const countedAt = performance.now()
    const outcome = await runBulk(work, { ...options, config: options.from }, wording, stop)
    if (options.deleteExtra) await deleteExtra(options, from, to, outcome, countedAt, stop)
    else if (!dryRun && !isEqual(copyTally(outcome.tally))) process.exitCode ??= 1
  } finally {
    scratch?.close()
    await from.store.close()
    await to.store.close()
  }
}

/** Throws `BadRequest` when the options do not fit together. */
export function checkCopy({ deleteExtra: removes, yes, expect, dryRun, queue }: CopyArguments): void {
  const bad = (message: string, remedy: string) => new Fault('BadRequest', message, { remedy })
  if (!removes && (yes || expect !== undefined))
    throw bad('--yes and --expect belong to --delete-extra, which is not given', 'A copy itself needs neither.')
  if (removes && queue !== undefined)
    throw bad('--delete-extra and --queue are given together', 'Copy first, then remove what is extra on one machine.')
  if (removes && dryRun && yes) throw bad('--dry-run and --yes exclude each other', 'Leave one of them out.')
}

function refuseSamePlace(from: OpenSide, to: OpenSide): void {
  if (from.place !== to.place) return
  throw new Fault('BadRequest', `--from and --to are one place, ${from.store.name}`, {
    remedy: 'Give the target another bucket, container or folder, or another RootPath.',
  })
}

/** An empty folder that should be a mount has nothing to copy, and a store that is away takes nothing. */
async function check(from: OpenSide, to: OpenSide, dryRun: boolean, stop: AbortSignal): Promise<void> {
  await from.store.check(soon(stop), { purpose: 'look', writes: false, warn })
  await to.store.check(soon(stop), { purpose: dryRun ? 'look' : 'start', writes: !dryRun, warn })
}

/** What a copy does not do, and what its target needs to be read. */
async function tellLimits(from: OpenSide, to: OpenSide): Promise<void> {
  for (const { config, store } of [from, to])
    if (config?.hybrid)
      note(`Orthanc's disk, ${config.hybrid.directory}, is no part of this copy: only ${store.name} is`)
  if (from.naming.legacyUnknownFiles && !to.naming.legacyUnknownFiles && to.naming.structure === 'flat')
    warn('EnableLegacyUnknownFiles of the source is on: Orthanc needs it at the target, too')
  const { config } = from
  if (!config?.deletions) return
  try {
    const { entries } = await Deletions.look(config.deletions.folder)
    const { pending } = entries.of(identityOf(config))
    if (pending.size > 0)
      warn(`${objects(pending.size)} wait for their removal and are copied all the same: first run deletions --drain`)
  } catch (error) {
    warn(`removals that wait cannot be counted: ${Fault.from(error).describe()}`)
  }
}

/** The whole index, into a file without a name. */
async function readTypes(
  options: CopyArguments,
  from: OpenSide,
  to: OpenSide,
  open: typeof openIndex,
  stop: AbortSignal,
): Promise<Scratch> {
  const { index } = openIndexOf(options, from, to, open)
  const scratch = new Scratch(options.scratch ?? tmpdir())
  try {
    note(`reading the types of all files from ${index.name}`)
    for await (const batch of index.all(stop)) for (const file of batch) scratch.addIndexed(file)
    return scratch
  } catch (error) {
    scratch.close()
    throw error
  } finally {
    await index.close()
  }
}

function openIndexOf(options: CopyArguments, from: OpenSide, to: OpenSide, open: typeof openIndex) {
  try {
    return open({ ...options, config: options.from }, from.config?.http ?? NO_HTTP)
  } catch (error) {
    if (options.orthanc !== undefined || options.orthancUserFile !== undefined) throw error
    const { message, code } = Fault.from(error)
    throw new Fault(code, `the names in ${from.store.name} do not say the types of files, and ${message}`, {
      cause: error,
      remedy:
        'Give the URL of the running Orthanc, as --orthanc http://localhost:8042, ' +
        `or give ${to.store.name} the StorageStructure "legacy", which needs no types.`,
    })
  }
}

async function deleteExtra(
  options: CopyArguments,
  from: OpenSide,
  to: OpenSide,
  { tally: some, complete }: Outcome,
  countedAt: number,
  stop: AbortSignal,
): Promise<void> {
  const { yes = false, expect, json, concurrency } = options
  const tally = copyTally(some)
  const tell = (line: object, sentence: string) => {
    if (json === '-') say(JSON.stringify(line))
    else say(sentence)
    if (json !== undefined && json !== '-') JsonLines.append(json, line)
  }
  if (tally.extra === 0 && complete) {
    if (!isEqual(tally)) process.exitCode ??= 1
    return
  }
  refuseRemoval(tally, complete, expect)
  if (!yes) {
    process.exitCode ??= 1
    return tell({ kind: 'to be removed', objects: tally.extra }, `to be removed with --yes: ${objects(tally.extra)}`)
  }
  let failures = 0
  const onFailure = (fault: Fault) => {
    if (++failures <= MOST_LINES) fail(fault)
  }
  const done: Removed = { removed: 0, kept: 0, failures: 0 }
  const ended = await removeExtra({ from, to, concurrency, most: tally.extra, countedAt, done, onFailure }, stop).then(
    () => undefined,
    error => Fault.from(error),
  )
  const kept =
    done.kept > 0 ? `; ${objects(done.kept)} stay: the source has them, or they were written since the count` : ''
  const partial = ended ? ', and it did not come to its end' : ''
  tell(
    { kind: 'removed', ...(ended && { complete: false }), ...done },
    `removed from ${to.store.name}: ${objects(done.removed)}${kept}${partial}`,
  )
  if (ended) throw ended
  if (done.failures > 0 || done.kept > 0) process.exitCode = 1
}
