/**
 * An engine's services over a real socket, with the plugin's side played by peer.ts and everything stored in memory.
 */

import { moveJobs } from '../../src/moves/job.ts'
import { moveStorageRoute } from '../../src/routes/move-storage.ts'
import { metricsOf, type Status, statusRoute } from '../../src/routes/status.ts'
import { verifyRoute } from '../../src/routes/verify.ts'
import { whereRoute } from '../../src/routes/where.ts'
import { verifyJobs } from '../../src/verify-job/job.ts'
import { serveCalls } from '../../src/wire/call.ts'
import { Connection } from '../../src/wire/connection.ts'
import { httpReplies } from '../../src/wire/http-replies.ts'
import { Jobs } from '../../src/wire/jobs.ts'
import type { Services } from '../../src/wire/service-calls.ts'
import { type Outcome, type PeerConnection, PluginPeer } from '../support/peer.ts'
import { fileSystem, makeHybrid } from '../support/tiers.ts'
import { makeSite } from '../support/verify-stage.ts'

/** Steps of jobs are this short. */
const STEP_MS = 5

const noCache = {
  ...{ CacheHits: 0, CacheMisses: 0, CacheFiles: 0, CacheBytes: 0, CacheEvictions: 0, CacheDropped: 0 },
  Cache: 'Disabled',
} as const

export function servicesInMemory(): Services {
  const { area } = makeHybrid(fileSystem)
  const kind = moveJobs({ area, concurrency: 2, error: () => {}, stepMs: STEP_MS })
  const { places, keyIds } = makeSite()
  const silent = { info: () => {}, warn: () => {}, error: () => {} }
  const promised = async () => () => false
  const policy = { maxRetries: 1, firstDelayMs: 1 }
  const verifications = verifyJobs({ places, keyIds, concurrency: 2, promised, log: silent, policy, stepMs: STEP_MS })
  const jobs = new Jobs(kind, verifications)
  const status = (): Status => ({
    Version: '0',
    Store: area.name,
    StoreIdentity: 'memory',
    RootPath: '',
    HybridMode: 'WriteToFileSystem',
    EngineRestarts: 0,
    RunningMoves: jobs.running.length,
    Reads: 0,
    Writes: 0,
    Removals: 0,
    Errors: 0,
    BytesRead: 0,
    BytesWritten: 0,
    PendingDeletions: 0,
    OldestDeletionSeconds: 0,
    DeletionFindings: 0,
    ...noCache,
    FetchedAhead: 0,
    FetchedAheadUsed: 0,
    FetchedAheadUnused: 0,
    BytesFetchedAhead: 0,
    BytesHeldAhead: 0,
  })
  const routes = [
    statusRoute(status, async () => {}),
    whereRoute(area.tiers),
    moveStorageRoute(kind),
    verifyRoute(verifications),
  ]
  return { area, routes, jobs, metrics: () => metricsOf(status()) }
}

/** One worker connection of an engine, for as long as `use` lasts. */
export async function withWorker<T>(services: Services, use: (peer: PeerConnection) => Promise<T>): Promise<T> {
  const plugin = await new PluginPeer().listen()
  const served = Connection.open(plugin.path).then(connection => serveCalls(connection, services))
  const peer = await plugin.accept()
  try {
    return await use(peer)
  } finally {
    peer.socket.destroy()
    plugin.close()
    await served
  }
}

/** A fault that nobody foresaw, but for what is said of Orthanc. */
export function isDefect({ status, text }: Outcome): boolean {
  return status === httpReplies.Internal.number && !/Orthanc's answer|Orthanc answered/.test(text)
}
