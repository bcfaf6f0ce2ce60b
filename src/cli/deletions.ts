import { compose } from '../compose.ts'
import { identityOf } from '../config/identity.ts'
import { Deletions } from '../deletions/deletions.ts'
import { Fault } from '../fault.ts'
import { logTo } from '../log.ts'
import type { Removals, Store } from '../stores/store.ts'
import { readConfig } from './orthanc-config.ts'
import { fail, interruption, note, say, sayJson, warn } from './terminal.ts'

export interface DeletionsArguments {
  readonly config: readonly string[]
  readonly drain?: true
  readonly json?: true
}

/** With more failures, the rest is counted. */
const MOST_LINES = 20

export async function deletions({ config: paths, drain, json }: DeletionsArguments): Promise<void> {
  const config = readConfig(paths)
  if (!config) throw new Fault('BadConfig', 'the configuration has no section of a storage provider')
  if (!config.deletions)
    throw new Fault('BadConfig', 'the configuration does not say where the journal of removals is', {
      remedy: 'Write StorageDirectory, or CloudStorage.DeferredDeletion.Path, as an absolute path.',
    })
  if (drain && config.readOnly)
    throw new Fault('BadConfig', "Orthanc's ReadOnly is true, so nothing is removed", {
      remedy: 'Use a configuration without it.',
    })
  const { folder } = config.deletions
  const identity = identityOf(config)
  const { store } = compose(
    config,
    logTo(() => {}),
    'guest',
  ) // what fails is reported below
  // What it finds at its beginning is in the report.
  let found = false
  const log = { info: () => {}, warn: (line: string) => found && warn(line) }
  const opened = () => {
    found = true
  }
  const journal = new Deletions({ folder, makeAbove: false, identity, log, lock: { waitMs: 0, warn } })
  try {
    const drained = drain ? await carryOut(journal, folder, store, opened) : undefined
    const report = reportOf(folder, store.name, identity, await Deletions.look(folder))
    if (json) sayJson({ ...report, ...(drained && { Removed: drained.removed }) })
    else sayReport(report, drained?.removed)
    if (drained) reportFailures(drained.failed, report.Pending + report.Findings.length)
  } finally {
    await store.close()
  }
}

async function carryOut(journal: Deletions, folder: string, store: Store, opened: () => void) {
  if ((await Deletions.left(folder)) === 0) return { removed: 0, failed: new Map() as Removals }
  const stop = interruption()
  stop.addEventListener('abort', () => note('interrupted; what is left stays in the journal'))
  await journal.open(store)
  opened()
  try {
    const before = journal.entries.pending.size + journal.entries.findings.size
    const failed = await journal.drain(stop)
    const { pending, findings } = journal.entries
    return { removed: before - pending.size - findings.size, failed }
  } finally {
    await journal.close(0)
  }
}

type Report = ReturnType<typeof reportOf>

function reportOf(
  folder: string,
  name: string,
  identity: string,
  { entries, warnings }: Awaited<ReturnType<typeof Deletions.look>>,
) {
  const { pending, findings } = entries.of(identity)
  const [oldest] = pending.values()
  const others = [...entries.stores].filter(([store]) => store !== identity)
  return {
    Folder: folder,
    Store: name,
    Pending: pending.size,
    OldestSeconds: oldest ? Math.max(0, Math.floor((Date.now() - oldest.at) / 1000)) : 0,
    Findings: [...findings.values()].map(({ key, at, words = '' }) => ({
      Key: key,
      RemovedAt: new Date(at).toISOString(),
      Message: words,
    })),
    OtherStores: Object.fromEntries(others.map(([store, all]) => [store, all.pending.size + all.findings.size])),
    Damage: warnings,
  }
}

function sayReport(report: Report, removed: number | undefined): void {
  const { Folder, Store: store, Pending, OldestSeconds, Findings, OtherStores, Damage } = report
  if (removed !== undefined) say(`${counted(removed)} carried out on ${store}`)
  say(`${Folder}: ${counted(Pending)} for ${store} left${Pending > 0 ? `, the oldest for ${OldestSeconds} s` : ''}`)
  for (const { Key, RemovedAt, Message } of Findings)
    say(`refused, removed by Orthanc at ${RemovedAt}: '${Key}': ${Message}`)
  for (const [other, count] of Object.entries(OtherStores)) say(`${counted(count)} for another store, ${other}, left`)
  for (const line of Damage) warn(line)
}

function reportFailures(failed: Removals, left: number): void {
  const faults = [...failed.values()].filter(removal => removal !== 'gone')
  for (const fault of faults.slice(0, MOST_LINES)) fail(fault)
  if (left > 0)
    fail(
      new Fault('Unavailable', `${counted(left)} could not be carried out`, {
        remedy: 'They stay in the journal: remove the cause, then run the same command again.',
      }),
    )
}

const counted = (count: number) => (count === 1 ? '1 removal' : `${count} removals`)
