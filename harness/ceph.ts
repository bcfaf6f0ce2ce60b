/**
 * A real S3 service on 127.0.0.1: Ceph with one monitor, in-memory OSDs and its S3 gateway. Needs root and the Debian
 * packages below (61 MB); ready in about 15 s. What is stored is lost when it stops.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { closeSync, existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from './child.ts'
import type { S3Server } from './s3.ts'
import { until } from './until.ts'

const run = promisify(execFile)

const CEPH_PACKAGES = ['ceph-mon', 'ceph-osd', 'ceph-common', 'radosgw']

/** Why Ceph cannot be started here, or undefined when it can. */
export function whyNoCeph(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can start it'
  const missing = ['ceph-mon', 'ceph-osd', 'ceph', 'radosgw', 'radosgw-admin', 'monmaptool'].filter(
    program => !existsSync(`/usr/bin/${program}`),
  )
  return missing.length === 0
    ? undefined
    : `it is not installed: apt-get install --no-install-recommends ${CEPH_PACKAGES.join(' ')}`
}

const OSDS = 1
const STORAGE_CLASSES = ['STANDARD_IA', 'GLACIER_IR'] // the gateway refuses a class that its zone does not have

export async function startCeph(folder: string): Promise<S3Server> {
  const missing = whyNoCeph()
  if (missing) throw new Error(`Ceph cannot be started: ${missing}`)
  const children: ChildProcess[] = []
  const [gatewayPort, monitorPort] = await Promise.all([freePort(), freePort()])
  const fsid = randomUUID()
  for (const name of ['mon', 'run', 'rgw', 'log']) mkdirSync(join(folder, name), { recursive: true })
  const config = join(folder, 'ceph.conf')
  writeFileSync(config, configuration(folder, fsid, gatewayPort, monitorPort))

  const tool = (program: string, ...args: string[]) =>
    run(program, ['-c', config, ...args], { timeout: 120_000, killSignal: 'SIGKILL' })
  const daemon = (program: string, ...args: string[]) => {
    const out = openSync(join(folder, 'log', `${program}.out`), 'a')
    const child = spawn(program, ['-c', config, ...args, '-f'], { detached: true, stdio: ['ignore', out, out] })
    child.on('error', () => {})
    closeSync(out)
    children.push(child)
  }
  const killAll = () => {
    for (const { pid } of children)
      try {
        if (pid) process.kill(-pid, 'SIGKILL')
      } catch {
        // it has ended already
      }
  }
  process.once('exit', killAll)
  const stop = async () => {
    process.off('exit', killAll)
    const ended = children.map(
      child => child.exitCode ?? child.signalCode ?? new Promise(done => child.once('exit', done)),
    )
    killAll()
    await Promise.all(ended)
  }

  try {
    const map = join(folder, 'monmap')
    await run('monmaptool', ['--create', '--fsid', fsid, '--addv', 'a', `[v2:127.0.0.1:${monitorPort}/0]`, map])
    await tool('ceph-mon', '--mkfs', '-i', 'a', '--monmap', map)
    daemon('ceph-mon', '-i', 'a', '--public-addr', '127.0.0.1')
    await comesUp('the monitor', () => tool('ceph', '-s'))
    for (let i = 0; i < OSDS; i++) {
      const uuid = randomUUID()
      mkdirSync(join(folder, `osd${i}`))
      await tool('ceph', 'osd', 'new', uuid)
      await tool('ceph-osd', '-i', String(i), '--mkfs', '--osd-uuid', uuid)
      daemon('ceph-osd', '-i', String(i))
    }
    await comesUp('the OSD', async () => {
      const { stdout } = await tool('ceph', 'osd', 'stat')
      if (!stdout.includes(`${OSDS} up`)) throw new Error(stdout)
    })
    const admin = (...args: string[]) => tool('radosgw-admin', '-n', 'client.admin', ...args)
    const keys = ['--access-key=AKID', '--secret-key=SECRETKEY']
    await comesUp('a user', () => admin('user', 'create', '--uid=test', '--display-name=test', ...keys))
    for (const storageClass of STORAGE_CLASSES) {
      const target = ['--placement-id', 'default-placement', '--storage-class', storageClass]
      await admin('zonegroup', 'placement', 'add', '--rgw-zonegroup', 'default', ...target)
      const pool = ['--data-pool', 'default.rgw.buckets.data']
      await admin('zone', 'placement', 'add', '--rgw-zone', 'default', ...target, ...pool)
    }
    daemon('radosgw', '-n', 'client.admin')
    const endpoint = `http://127.0.0.1:${gatewayPort}`
    await comesUp('the gateway', () => fetch(endpoint))
    return { endpoint, accessKey: 'AKID', secretKey: 'SECRETKEY', region: 'us-east-1', stop }
  } catch (error) {
    await stop()
    throw new Error(`Ceph did not start, see ${folder}/log`, { cause: error })
  }
}

async function comesUp(what: string, works: () => Promise<unknown>): Promise<void> {
  let last: unknown
  const probe = () =>
    works().then(
      () => true,
      error => {
        last = error
        return false
      },
    )
  await until(() => `${what}: ${last}`, probe, 200)
}

function configuration(folder: string, fsid: string, gatewayPort: number, monitorPort: number): string {
  // Without authentication every messenger mode must be "crc", or the gateway loops on error -13.
  const modes = ['ms_mon_client', 'ms_mon_service', 'ms_mon_cluster', 'ms_client', 'ms_service', 'ms_cluster']
  return `[global]
fsid = ${fsid}
mon_host = v2:127.0.0.1:${monitorPort}/0
mon_initial_members = a
public_network = 127.0.0.0/8
cluster_network = 127.0.0.0/8
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
${modes.map(mode => `${mode}_mode = crc`).join('\n')}
run_dir = ${folder}/run
admin_socket = ${folder}/run/$name.asok
log_file = ${folder}/log/$name.log
osd_pool_default_size = ${OSDS}
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
mon_data_avail_warn = 2
[mon]
mon_data = ${folder}/mon
[osd]
osd_data = ${folder}/osd$id
osd_objectstore = memstore
memstore_device_bytes = 8589934592
osd_memory_target = 1073741824
osd_class_update_on_start = false
[client]
rgw_dns_name = s3.localhost
rgw_frontends = beast endpoint=127.0.0.1:${gatewayPort}
rgw_thread_pool_size = 64
rgw_data = ${folder}/rgw
`
}
