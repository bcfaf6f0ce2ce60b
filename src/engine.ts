/** Process entry: plugin/engine.cpp runs `node OPTIONS engine.mjs SOCKET` (docs/protocol.md). */
import { setFlagsFromString } from 'node:v8'
import { type Composition, compose } from './compose.ts'
import { type EngineConfig, parseConfig } from './config/config.ts'
import { Deletions } from './deletions/deletions.ts'
import { Fault } from './fault.ts'
import { ensureHome } from './home.ts'
import { logTo } from './log.ts'
import { noDebugger } from './no-debugger.ts'
import { configurationFolder } from './orthanc-folder.ts'
import { servicesOf } from './services.ts'
import { glance, untilReady } from './startup.ts'
import { version } from './version.ts'
import { Server } from './wire/server.ts'

/**
 * Payloads lie beside V8's heap. Once there are 16 MB of new ones (twice this figure), V8 frees those that are not used
 * any more. plugin.cpp sets the options that V8 needs at its start. V8 12 and 13 have this option, so Node.js 22 to 24.
 */
if (/^1[23]\./.test(process.versions.v8)) setFlagsFromString('--scavenger-max-new-space-capacity-mb=8')

const CLOSE_DEADLINE_MS = 1_000
/** How long removals are still sent when Orthanc stops. plugin/launch.cpp waits for this and a little longer. */
const DRAIN_MS = 10_000

const socketPath = process.argv[2]
if (!socketPath) {
  console.error('engine.mjs is started by the Orthanc plugin. For the command line, see cli.mjs --help.')
  process.exit(2)
}

// An unexpected error ends the process. The plugin starts a new one and repeats the calls that were under way.
process.on('uncaughtException', error => {
  console.error(error.stack ?? String(error))
  process.exit(70)
})

/** Aborted when Orthanc stops. */
const stopping = new AbortController()
// The plugin ends the engine, by STOP or by its own end. A signal that stops Orthanc may go to its whole process group.
// If it ended the engine, the engine would be missing while Orthanc still finishes what is under way.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})
noDebugger()
ensureHome()

const server = await Server.connect(socketPath, version)
let serving = false
void server.gone.then(() => serving || process.exit(0))
const log = logTo((level, line) => server.log(level, line))
const composition = await start().catch(error => server.refuse(Fault.from(error)))

if (composition) {
  serving = true
  const asked = await server.serve(composition.services)
  stopping.abort()
  process.once('SIGTERM', () => process.exit(0)) // the plugin waits no longer
  // Without STOP, Orthanc has died. Its next engine needs the journal, and sends the rest.
  await composition.deletions?.close(asked ? DRAIN_MS : 0)
  await Promise.race([
    Promise.all([composition.store.close(), composition.cache?.close()]),
    new Promise(resolve => setTimeout(resolve, CLOSE_DEADLINE_MS).unref()),
  ])
  process.exit(0)
}

async function start() {
  const { json, version: orthanc } = await server.configuration()
  const { config, warnings, notes } = parseConfig(json, configurationFolder(process.ppid), orthanc)
  for (const warning of warnings) log.warn(warning)
  for (const note of notes) log.info(note)
  if (!config) {
    await server.accept(
      'cloud-storage: no section of a storage provider in the configuration: the plugin is disabled',
      undefined,
    )
    return undefined
  }
  const composition = compose(config, log, server.restarts === 0 ? 'owner' : 'successor')
  // Only when Orthanc starts. An engine that follows a dead one serves at once, even if the store is away. Files on
  // Orthanc's disk need no store, and the store may work again in a minute.
  const goOnAsking = config.startupCheck && server.restarts === 0 ? await ready(config, composition) : undefined
  const { store, cache, callDeadlineMs, ranges, description, deletions } = composition
  await cache?.start(server.restarts === 0)
  // Not before: an engine that is refused must not leave a lock behind, on which the next container would wait.
  if (deletions) await deletions.open(store, server.restarts === 0)
  else if (server.restarts === 0) await warnOfEntries(config)
  const services = servicesOf(composition, server.restarts, log)
  log.warn(`orthanc-cloud-storage ${version} ${description}`)
  await server.accept(description, { callDeadlineMs, ranges, services })
  deletions?.begin()
  void goOnAsking?.(stopping.signal)
  return { store, cache, services, deletions }
}

async function warnOfEntries({ deletions, readOnly }: EngineConfig) {
  const left = deletions && (await Deletions.left(deletions.folder))
  if (left)
    log.warn(
      `${deletions.folder} has ${left} removals that nobody carries out, because ${readOnly ? 'ReadOnly is true' : 'DeferredDeletion is off'}: run "orthanc-cloud-storage deletions --drain"`,
    )
}

/** Resolves with the work that is left after Orthanc's start. */
async function ready({ readOnly, startupTimeoutMs }: EngineConfig, { store, hybrid }: Composition) {
  const options = { purpose: 'start', writes: !readOnly, warn: (line: string) => log.warn(line) } as const
  if (hybrid) await untilReady({ store: hybrid.fileSystem, options, log }, startupTimeoutMs)
  // New files go to the disk, so the store may come later.
  if (hybrid?.mode === 'WriteToFileSystem') return glance({ store, options, log })
  await untilReady({ store, options, log }, startupTimeoutMs)
  return undefined
}
