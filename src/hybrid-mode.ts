/** What a hybrid mode adds to the object storage: Orthanc's own disk as a second tier, and moves between the two. */
import { resolve } from 'node:path'
import type { Again, TierName } from './area/area.ts'
import { type HybridArea, hybridArea } from './area/hybrid.ts'
import { diskNaming } from './area/naming.ts'
import { type ObjectTierOptions, objectTier } from './area/object-tier.ts'
import type { Tier } from './area/tier.ts'
import type { MoveTurns } from './area/turns.ts'
import { VerifiedCache } from './area/verified-cache.ts'
import type { EngineConfig, HybridConfig } from './config/config.ts'
import { Fault, isCode } from './fault.ts'
import type { Logger } from './log.ts'
import { type MoveJobs, moveJobs } from './moves/job.ts'
import { Budget } from './seal/budget.ts'
import { newDigest } from './seal/digest.ts'
import { type Apart, apart } from './stores/apart.ts'
import type { Store } from './stores/store.ts'

export interface Hybrid {
  readonly mode: 'WriteToFileSystem' | 'WriteToObjectStorage'
  readonly area: HybridArea
  readonly fileSystem: Store
  readonly jobs: MoveJobs
  /** Rejects unless both tiers are proven to be two places. */
  apart(signal: AbortSignal): Promise<void>
  /** Of all processes that remove one of two copies. */
  readonly turns: MoveTurns
}

/** `raw`: without wrappers, to prove that the tiers are two places. */
export interface HybridParts extends Pick<ObjectTierOptions, 'sealing' | 'again'> {
  readonly objectStorage: { readonly raw: Store; readonly tier: Tier; readonly forOrthanc: Tier }
  readonly disk: { readonly raw: Store & Settling; readonly store: Store; readonly turns: MoveTurns }
  /** Repeats the proof before a move as the object storage repeats everything else. */
  readonly retried: Again
  readonly log: Logger
}

interface Settling {
  /** Resolves when a file that is there is safe from a power cut, also when another program wrote it. */
  settle(key: string, signal: AbortSignal): Promise<void>
}

const TWO_PLACES = "Give the object storage (DirectoryStorage.Path) another folder than Orthanc's StorageDirectory."
/** When Orthanc starts, the proof that the object store is not the disk may take so long. */
const APART_MS = 10_000

export function composeHybrid(config: EngineConfig, { writesTo }: HybridConfig, parts: HybridParts): Hybrid {
  refuseSameFolder(config)
  const { objectStorage, disk, sealing, again, retried, log } = parts
  const { rootPath } = config.naming
  const proveApart = apart({ disk: disk.raw, store: objectStorage.raw, rootPath, remedy: TWO_PLACES })
  const fileSystem = withProof(disk.store, disk.raw, proveApart, writesTo)
  // A move uses both tiers at once. It may wait for memory on one of them only.
  const budget = new Budget(Number.MAX_SAFE_INTEGER)
  const files = objectTier({
    name: 'file-system',
    store: fileSystem,
    naming: diskNaming,
    sealing,
    budget,
    cache: new VerifiedCache(),
    again,
  })
  const onDisk: Tier = {
    ...files,
    async settle(attachment, signal) {
      const found = await files.find(attachment, signal)
      if (found) await disk.raw.settle(found.key, signal)
    },
  }
  // A start does not wait for a broken network. A move does, as for everything else.
  const surelyApart = (signal: AbortSignal) => retried(() => proveApart(signal), signal)
  const area = hybridArea({
    tiers: { 'object-storage': objectStorage.tier, 'file-system': onDisk },
    forOrthanc: { 'object-storage': objectStorage.forOrthanc, 'file-system': onDisk },
    primary: writesTo,
    digests: newDigest,
    apart: surelyApart,
    turns: disk.turns,
    warn: line => log.warn(line),
  })
  const jobs = moveJobs({
    area,
    turns: disk.turns,
    concurrency: config.moveConcurrency,
    warn: line => log.warn(line),
    error: line => log.error(line),
  })
  const mode = writesTo === 'file-system' ? 'WriteToFileSystem' : 'WriteToObjectStorage'
  return { mode, area, fileSystem, jobs, apart: surelyApart, turns: disk.turns }
}

/** The disk, whose check proves also that it is not the object storage. `raw`: the disk without wrappers. */
function withProof(disk: Store, raw: Store, proveApart: Apart, writesTo: TierName): Store {
  return {
    ...disk,
    async check(signal, options = {}) {
      const { purpose = 'start', writes = true, warn = () => {} } = options
      try {
        await disk.check(signal, options)
      } catch (error) {
        // If new files go to the object store, it is enough that the old ones on the disk can be read.
        if (writesTo === 'file-system' || !(isCode(error, 'Denied') || isCode(error, 'BadConfig'))) throw error
        await disk.check(signal, { ...options, writes: false }).catch(() => {
          throw error
        })
        return warn(`moves to Orthanc's disk will fail, and probably removals from it: ${error.describe()}`)
      }
      if (purpose === 'status' || !writes) return
      if (purpose === 'look' && !(await isThere(raw, signal))) return // the proof would make the folder
      // A store that is away, or that has no bucket or container yet, proves nothing. The check of that store reports
      // it, and may make the container. Then the proof is made before the first move.
      await proveApart(AbortSignal.any([signal, AbortSignal.timeout(APART_MS)]), true).catch(error => {
        if (isCode(error, 'BadConfig')) throw error
      })
    },
  }
}

const isThere = (folder: Store, signal: AbortSignal) =>
  folder.check(signal, { purpose: 'status' }).then(
    () => true,
    () => false,
  )

/** The paths alone show this, without a look at the disk. apart() finds the rest. */
function refuseSameFolder({ provider, hybrid, naming }: EngineConfig): void {
  if (!hybrid || provider.kind !== 'directory') return
  const { path } = provider
  if (![path, resolve(path, naming.rootPath)].some(folder => resolve(folder) === resolve(hybrid.directory))) return
  throw new Fault('BadConfig', `DirectoryStorage.Path and StorageDirectory lead to one folder, ${hybrid.directory}`, {
    remedy: `A move would remove the only copy. ${TWO_PLACES}`,
  })
}
