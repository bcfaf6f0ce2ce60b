/** Process entry: plugin/engine.cpp runs `node OPTIONS engine.mjs SOCKET` (docs/protocol.md). */
import { setFlagsFromString } from 'node:v8'
import { compose } from './compose.ts'
import { parseConfig } from './config/config.ts'
import { Fault } from './fault.ts'
import { logTo } from './log.ts'
import { configurationFolder } from './orthanc-folder.ts'
import { servicesOf } from './services.ts'
import { version } from './version.ts'
import { Server } from './wire/server.ts'

/**
 * Payloads lie beside V8's heap. Once 16 MB of new ones are there, twice this figure, those nobody holds any more are let go
 * of; plugin.cpp sets what must be known before V8 starts. The name is one of V8 12 and 13, that is Node.js 22 to 24.
 */
if (/^1[23]\./.test(process.versions.v8)) setFlagsFromString('--scavenger-max-new-space-capacity-mb=8')

/** A store that does not answer must not keep Orthanc from saying so. */
const CHECK_DEADLINE_MS = 60_000
const CLOSE_DEADLINE_MS = 5_000

const socketPath = process.argv[2]
if (!socketPath) {
  console.error('engine.mjs is started by the Orthanc plugin. For the command line, see cli.mjs --help.')
  process.exit(2)
}

// Whatever nobody foresaw ends the process: the plugin starts a new one and repeats the calls that were under way.
process.on('uncaughtException', error => {
  console.error(error.stack ?? String(error))
  process.exit(70)
})

const server = await Server.connect(socketPath, version)
const log = logTo((level, line) => server.log(level, line))
const composition = await start().catch(async error => {
  await server.refuse(Fault.from(error))
})

if (composition) {
  process.once('SIGTERM', () => process.exit(0))
  await server.serve(composition.services)
  await Promise.race([
    composition.store.close(),
    new Promise(resolve => setTimeout(resolve, CLOSE_DEADLINE_MS).unref()),
  ])
  process.exit(0)
}

async function start() {
  const { config, warnings } = parseConfig(await server.configuration(), configurationFolder(process.ppid))
  for (const warning of warnings) log.warn(warning)
  if (!config) {
    await server.accept('no section of a storage provider in the configuration: the plugin is disabled', undefined)
    return undefined
  }
  const composition = compose(config, log, server.restarts === 0 ? 'owner' : 'successor')
  // Only when Orthanc starts. An engine that follows one that died serves whatever the store does just now: what is on
  // Orthanc's disk, or works again in a minute, may not wait for it.
  if (config.startupCheck && server.restarts === 0)
    for (const checked of [composition.store, composition.hybrid?.disk])
      await checked?.check(AbortSignal.timeout(CHECK_DEADLINE_MS))
  const { store, callDeadlineMs, ranges, description } = composition
  const services = servicesOf(composition, server.restarts)
  log.warn(`orthanc-cloud-storage ${version} ${description}`)
  await server.accept(description, { callDeadlineMs, ranges, services })
  return { store, services }
}
