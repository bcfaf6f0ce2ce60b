/** npm start: Orthanc in the foreground, on the store that was chosen, with a small study that it makes. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, CommanderError, Option } from 'commander'
import { type OrthancProcess, RefusedToStart, startOrthanc } from '../harness/orthanc.ts'
import { compose } from '../src/compose.ts'
import { parseConfig } from '../src/config/config.ts'
import { logTo } from '../src/log.ts'
import { showCluster } from './demo-cluster.ts'
import { endOfLastRun, free, SLICES, say, shown, slices, TUNED } from './demo-run.ts'
import { type DemoStore, STORES, type StoreName, startStore } from './demo-stores.ts'

const root = join(import.meta.dirname, '..')

const program = new Command('npm start --')
  .description('Starts Orthanc with the plugin and stores a small study, until Ctrl-C.')
  .addOption(new Option('--store <store>', 'where Orthanc keeps its files').choices(STORES).default('directory'))
  .option('--cluster', 'two Orthancs over one database (PostgreSQL) and one object store (MinIO)')
  .option('--reset', 'forget what earlier runs have stored')
  .exitOverride()

async function main(): Promise<number> {
  try {
    program.parse()
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    throw error
  }
  const { store: named, cluster, reset } = program.opts<{ store: StoreName; cluster?: true; reset?: true }>()
  const store = cluster ? 'minio' : named
  const folder = join(root, '.data', cluster ? 'cluster' : store)

  // Listens before anything is started: an early Ctrl-C must leave nothing behind, either.
  const interrupted = new Promise<void>(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve())
  })
  const pidFile = `${folder}.pid`
  if (!(await endOfLastRun(pidFile))) return 1
  if (reset) rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(pidFile, String(process.pid))
  const place = await startStore(store, folder, say)
  let orthanc: OrthancProcess | undefined
  try {
    if (cluster) return await showCluster({ place, folder, interrupted })
    const ports = { http: await free(8042, 'HTTP'), dicom: await free(4242, 'DICOM') }
    orthanc = await startOrthanc({ config: { ...place.config, ...demoConfig }, dir: folder, ports, verbose: false })
    const study = await storeStudy(orthanc)
    await show(orthanc, place, study, join(folder, 'orthanc.log'))
    const ended = await Promise.race([interrupted.then(() => false), orthanc.exited.then(() => true)])
    if (!ended) {
      say('\nStopping ...')
      return 0
    }
    process.stderr.write(`\nOrthanc has ended by itself. Its log is ${shown(join(folder, 'orthanc.log'))}\n`)
    return 1
  } catch (error) {
    if (!(error instanceof RefusedToStart)) throw error
    const errors = error.log.split('\n').filter(line => line.startsWith('E'))
    process.stderr.write(`Orthanc did not start:\n${errors.join('\n')}\nIts whole log is in ${shown(error.file)}\n`)
    return 1
  } finally {
    await orthanc?.stop()
    await place.stop()
    rmSync(pidFile, { force: true })
  }
}

const demoConfig = {
  Name: 'Orthanc on an object store',
  DicomAet: 'ORTHANC',
  DicomServerEnabled: true,
  ...TUNED,
}

/** Stores the study of this demonstration, unless an earlier run has. Returns Orthanc's id and whether it is new. */
async function storeStudy(orthanc: OrthancProcess): Promise<{ id: string; fresh: boolean }> {
  const [known] = await orthanc.getJson('/studies')
  if (known) return { id: known, fresh: false }
  let id = ''
  for (const file of slices()) id = (await orthanc.postJson('/instances', file)).ParentStudy
  return { id, fresh: true }
}

async function show(
  orthanc: OrthancProcess,
  place: DemoStore,
  study: { id: string; fresh: boolean },
  log: string,
): Promise<void> {
  const { config } = parseConfig(JSON.stringify(place.config))
  if (!config) throw new Error('the demonstration has no store')
  const { store } = compose(
    config,
    logTo(() => {}),
  )
  const keys: string[] = []
  for await (const { key, size } of store.list('', new AbortController().signal))
    keys.push(`${key}  ${(size / 1000).toFixed(0)} KB`)
  await store.close()
  say()
  say(`  Orthanc   ${orthanc.url}/  (DICOM port ${orthanc.dicomPort}, AET ${demoConfig.DicomAet})`)
  say(`  Store     ${place.where}`)
  say(`  Study     ${study.fresh ? `${SLICES} made-up CT images, stored just now` : 'still there from the last run'}`)
  say(`  Objects   ${keys[0] ?? 'none'}`)
  for (const key of keys.slice(1, 12)) say(`            ${key}`)
  if (keys.length > 12) say(`            ... and ${keys.length - 12} more`)
  say(`  Log       ${existsSync(log) ? shown(log) : 'none'}`)
  say()
  say(`  Try       curl ${orthanc.url}/studies/${study.id}/archive -o study.zip`)
  if (place.note) say(`\n  ${place.note}`)
  say('\nCtrl-C stops everything.')
}

process.exitCode = await main().catch(error => {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : error}\n`)
  return 1
})
