/** npm run soak: on one store, as long as wanted; a table in the end. The exit code is 1 when a claim is broken. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import logUpdate from 'log-update'
import { startAzurite } from '../../harness/azurite.ts'
import { startCeph } from '../../harness/ceph.ts'
import { startFakeGcs } from '../../harness/fake-gcs.ts'
import { startMinio } from '../../harness/minio.ts'
import { azurePlace, directoryPlace, gcsPlace, type Place, s3Place } from '../live/support/places.ts'
import { type Report, soak } from './soak.ts'
import { setStage } from './stage.ts'
import { median, VITALS } from './vitals.ts'

interface Ground {
  readonly place: Place
  readonly origin?: string
  stop(): Promise<void>
}

/** With encryption also in parts, which are compared only then. */
const grounds: Readonly<Record<string, (folder: string, encrypted: boolean) => Promise<Ground>>> = {
  async ceph(folder, UseTransferManager) {
    const server = await startCeph(folder)
    return { place: await s3Place({ UseTransferManager }, server), origin: server.endpoint, stop: server.stop }
  },
  async minio(folder, UseTransferManager) {
    const server = await startMinio(folder)
    const place = await s3Place({ UseTransferManager, VirtualAddressing: false }, server)
    return { place, origin: server.endpoint, stop: server.stop }
  },
  async azurite(folder) {
    const server = await startAzurite(folder)
    return { place: await azurePlace(server), origin: new URL(server.endpoint).origin, stop: server.stop }
  },
  async gcs(folder) {
    const server = await startFakeGcs(folder)
    return { place: await gcsPlace(server), origin: server.endpoint, stop: server.stop }
  },
  async directory() {
    return { place: await directoryPlace(), stop: async () => {} }
  },
}

const options = new Command('npm run soak --')
  .addOption(new Option('--store <name>', 'where files go').choices(Object.keys(grounds)).default('ceph'))
  .option('--minutes <n>', 'as long as this at least', '15')
  .option('--operations <n>', 'as many as this at least, with one engine', '20000')
  .option('--seed <n>', 'the same choices as in another run', String(Date.now() % 1_000_000))
  .option('--encrypted', 'seal what is stored, and store in parts what is large')
  .option('--hybrid', 'files on the disk as well, which move')
  .parse()
  .opts<{
    store: string
    minutes: string
    operations: string
    seed: string
    encrypted?: boolean
    hybrid?: boolean
  }>()

const { store, encrypted = false, hybrid = false } = options
const [seed, minutes, operations] = [options.seed, options.minutes, options.operations].map(Number) as [
  number,
  number,
  number,
]
const tells = process.stdout.isTTY
let told = 0
const progress = (line: string) => {
  if (performance.now() - told < (tells ? 200 : 30_000)) return
  told = performance.now()
  if (tells) logUpdate(line)
  else console.log(line)
}

// What it started ends with it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))

const what = [encrypted && 'encrypted', hybrid && 'hybrid'].filter(Boolean).join(', ')
console.log(`A soak on ${store}${what && ` (${what})`}, --seed ${seed}`)
const servers = mkdtempSync(join(tmpdir(), 'ocs-soak-server-'))
const { place, origin, stop } = await (grounds[store] as (typeof grounds)[string])(servers, encrypted)
let broken: readonly string[] = ['it did not end']
const stage = await setStage({ place, ...(origin && { origin }), encrypted, hybrid })
try {
  const report = await soak(stage, {
    seed,
    encrypted,
    storm: { operations: operations / 4, minutes: minutes / 3 },
    haul: { operations, minutes: (minutes * 2) / 3 },
    instances: 800,
    apart: 200,
    longestMs: 4000,
    flat: true,
    progress,
  })
  if (tells) logUpdate.clear()
  tell(report)
  broken = report.broken
} finally {
  await stage.close(broken.length > 0)
  await place.dispose()
  await stop()
  rmSync(servers, { recursive: true, force: true })
}
if (broken.length > 0) console.log(`What Orthanc had is in ${stage.folder}`)
process.exit(broken.length > 0 ? 1 : 0)

function tell({
  operations: all,
  clients,
  faults,
  vitals,
  instances,
  leftovers,
  reported,
  broken: lines,
}: Report): void {
  const { done, failures, cut } = clients.counts
  const row = (name: string, value: unknown) => console.log(`  ${name.padEnd(28)}${value}`)
  console.log('\nOperations')
  for (const [name, times] of [...done, ['in all', all] as const]) row(name, times)
  row('failures reported', failures)
  row('cut off by resets', cut)
  console.log('Faults')
  for (const [name, times] of faults.counts) row(name, times)
  console.log('In the long haul, medians of its quarters')
  for (const vital of VITALS) {
    const samples = vitals.samples[vital]
    const quarters = [0, 1, 2, 3].map(i => samples.slice((i * samples.length) / 4, ((i + 1) * samples.length) / 4))
    row(vital, quarters.map(part => median(part).toFixed(vital.match(/memory|heap|buffers/) ? 1 : 0)).join('  '))
  }
  console.log('In the end')
  row('instances, all read', instances)
  row('files left behind', leftovers)
  row('files reported as failed', reported)
  for (const line of lines) console.log(`  BROKEN: ${line}`)
  console.log(lines.length === 0 ? 'All claims hold.' : `${lines.length} claims are broken.`)
}
